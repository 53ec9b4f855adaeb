/* The pool of threads.h: waiting is sleeping, never spinning. */

/* for system.h */
#define _POSIX_C_SOURCE 200809L

#include "threads.h"

#include <stdlib.h>

#include "system.h"

typedef struct {
    thread_pool *pool;
    int index; /* the caller is 0 */
    thread thread;
} worker;

struct thread_pool {
    mutex owner; /* held by the caller whose job runs */
    mutex lock;  /* guards everything below */
    condition wake, done;
    part_function function;
    void *job;
    int parts, next, running; /* of the job: all, the first not yet taken, those not finished */
    int status;               /* of a part that has failed, or 0 */
    int ending;
    int worker_count;
    worker workers[];
};

/* Takes parts until none is left; the lock is held on entry and on return. */
static void take_parts(thread_pool *pool, int thread)
{
    while (pool->next < pool->parts) {
        const int part = pool->next++;
        mutex_unlock(&pool->lock);
        const int status = pool->function(pool->job, part, thread);
        mutex_lock(&pool->lock);
        if (status != 0)
            pool->status = status;
        if (--pool->running == 0)
            condition_signal(&pool->done);
    }
}

THREAD_FUNCTION(work, argument)
{
    const worker *self = argument;
    thread_pool *pool = self->pool;
    mutex_lock(&pool->lock);
    while (!pool->ending) {
        take_parts(pool, self->index);
        if (!pool->ending)
            condition_wait(&pool->wake, &pool->lock);
    }
    mutex_unlock(&pool->lock);
    return 0;
}

thread_pool *thread_pool_new(int threads)
{
    thread_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof(worker));
    if (pool == NULL)
        return NULL;
    mutex_init(&pool->owner);
    mutex_init(&pool->lock);
    condition_init(&pool->wake);
    condition_init(&pool->done);
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
    mutex_lock(&pool->lock);
    pool->ending = 1;
    condition_broadcast(&pool->wake);
    mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->worker_count; ++i)
        thread_join(&pool->workers[i].thread);
    condition_destroy(&pool->done);
    condition_destroy(&pool->wake);
    mutex_destroy(&pool->lock);
    mutex_destroy(&pool->owner);
    free(pool);
}

int thread_pool_run(thread_pool *pool, part_function function, void *job, int parts)
{
    int status = 0;
    if (parts < 2 || pool == NULL || !mutex_try_lock(&pool->owner)) {
        for (int part = 0; part < parts; ++part) {
            const int ended = function(job, part, 0);
            if (ended != 0)
                status = ended;
        }
        return status;
    }
    mutex_lock(&pool->lock);
    pool->function = function;
    pool->job = job;
    pool->parts = pool->running = parts;
    pool->next = 0;
    pool->status = 0;
    condition_broadcast(&pool->wake);
    take_parts(pool, 0);
    while (pool->running > 0)
        condition_wait(&pool->done, &pool->lock);
    pool->parts = pool->next = 0;
    status = pool->status;
    mutex_unlock(&pool->lock);
    mutex_unlock(&pool->owner);
    return status;
}
