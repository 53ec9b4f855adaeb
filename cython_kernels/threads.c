/* The pool of threads.h: who waits spins while there is work now and then, and sleeps afterwards.
 *
 * A job is handed out by a counter for each thread, `tickets`, which begins with that thread's
 * share of the parts and is taken down, by the thread itself and then by those that have finished
 * theirs: what a core has in its caches from one job is what it works on in the next. A ticket
 * above 0 is a part that is the taker's alone; the job's fields do not change before all parts are
 * finished, so who holds a ticket may read them. Who comes too late gets 0 or less, and has read
 * nothing.
 */

/* for system.h */
#define _POSIX_C_SOURCE 200809L

#include "threads.h"

#include <stdlib.h>

#include "float_mode.h"
#include "system.h"

/* What a worker spins for after its last part: a few runs of a small model. */
#define SPIN_NANOSECONDS 50000

/* Turns without a look at the clock; after them, others may have the core. */
#define SPINS 64

typedef struct {
    thread_pool *pool;
    int index; /* the caller is 0 */
    thread thread;
} worker;

/* What cores change in turn has a cache line to itself. */
#define LINE 64

typedef struct {
    counter tickets;
    char rest[LINE - sizeof(counter)];
} queue;

struct thread_pool {
    mutex owner; /* held by the caller whose job runs */
    part_function function;
    void *job;
    int parts;
    counter status; /* of a part that has failed, or 0 */
    char before_finished[LINE];
    counter finished;
    char after_finished[LINE];
    mutex lock; /* held to fall asleep, and to wake who has */
    condition wake;
    counter asleep, ending;
    int threads, worker_count;
    queue *queues; /* of the caller and each worker */
    worker workers[];
};

/* Where the parts of a thread begin; a job of few parts leaves some threads without any. */
static int first_part(const thread_pool *pool, int thread)
{
    return (pool->parts * thread + pool->threads - 1) / pool->threads;
}

/* Takes parts until none is left, its own first. */
static void take_parts(thread_pool *pool, int thread)
{
    for (int i = 0; i < pool->threads; ++i) {
        const int from = (thread + i) % pool->threads;
        counter *tickets = &pool->queues[from].tickets;
        long ticket;
        while (counter_read(tickets) > 0 && (ticket = counter_add(tickets, -1)) > 0) {
            const int part = first_part(pool, from + 1) - (int)ticket;
            const int status = pool->function(pool->job, part, thread);
            if (status != 0)
                counter_set(&pool->status, status);
            counter_add(&pool->finished, 1);
        }
    }
}

/* Whether there are parts for a thread, or the end; waits for either, at first awake. */
static void await_parts(thread_pool *pool, int thread)
{
    counter *tickets = &pool->queues[thread].tickets;
    const int64_t until = nanoseconds_now() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < SPINS; ++i) {
            if (counter_read(tickets) > 0 || counter_read(&pool->ending))
                return;
            pause_core();
        }
        yield_core();
    } while (nanoseconds_now() < until);
    mutex_lock(&pool->lock);
    /* announced before the last look, as a caller looks for sleepers after it has put up a job */
    counter_add(&pool->asleep, 1);
    while (counter_read(tickets) <= 0 && !counter_read(&pool->ending))
        condition_wait(&pool->wake, &pool->lock);
    counter_add(&pool->asleep, -1);
    mutex_unlock(&pool->lock);
}

THREAD_FUNCTION(work, argument)
{
    const worker *self = argument;
    write_float_mode(PLAIN_FLOATS); /* instead of that of who has made it */
    while (!counter_read(&self->pool->ending)) {
        take_parts(self->pool, self->index);
        await_parts(self->pool, self->index);
    }
    return 0;
}

static void wake_all(thread_pool *pool)
{
    if (counter_read(&pool->asleep) > 0) {
        mutex_lock(&pool->lock);
        condition_broadcast(&pool->wake);
        mutex_unlock(&pool->lock);
    }
}

thread_pool *thread_pool_new(int threads)
{
    thread_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof(worker));
    if (pool == NULL)
        return NULL;
    pool->threads = threads;
    pool->queues = calloc((size_t)threads, sizeof *pool->queues);
    if (pool->queues == NULL) {
        free(pool);
        return NULL;
    }
    mutex_init(&pool->owner);
    mutex_init(&pool->lock);
    condition_init(&pool->wake);
    while (pool->worker_count < threads - 1) {
        worker *w = &pool->workers[pool->worker_count];
        w->pool = pool;
        w->index = pool->worker_count + 1;
        if (!thread_start(&w->thread, work, w)) {
            thread_pool_free(pool);
            return NULL;
        }
        ++pool->worker_count;
    }
    return pool;
}

void thread_pool_free(thread_pool *pool)
{
    counter_set(&pool->ending, 1);
    wake_all(pool);
    for (int i = 0; i < pool->worker_count; ++i)
        thread_join(&pool->workers[i].thread);
    condition_destroy(&pool->wake);
    mutex_destroy(&pool->lock);
    mutex_destroy(&pool->owner);
    free(pool->queues);
    free(pool);
}

int thread_pool_run(thread_pool *pool, part_function function, void *job, int parts)
{
    if (parts < 2 || pool == NULL || !mutex_try_lock(&pool->owner)) {
        int status = 0;
        for (int part = 0; part < parts; ++part) {
            const int ended = function(job, part, 0);
            if (ended != 0)
                status = ended;
        }
        return status;
    }
    pool->function = function;
    pool->job = job;
    pool->parts = parts;
    counter_set(&pool->status, 0);
    counter_set(&pool->finished, 0);
    for (int i = 0; i < pool->threads; ++i)
        counter_set(&pool->queues[i].tickets, first_part(pool, i + 1) - first_part(pool, i));
    wake_all(pool);
    take_parts(pool, 0);
    for (int i = 1; counter_read(&pool->finished) < parts; ++i) {
        if (i % SPINS == 0)
            yield_core(); /* whoever has the last part may wait for this core */
        else
            pause_core();
    }
    const int status = (int)counter_read(&pool->status);
    mutex_unlock(&pool->owner);
    return status;
}
