/* The pool of threads.h on POSIX threads: waiting is sleeping, never spinning. */

#include "threads.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct {
    thread_pool *pool;
    int index; /* the caller is 0 */
    pthread_t thread;
} worker;

struct thread_pool {
    pthread_mutex_t owner; /* held by the caller whose job runs */
    pthread_mutex_t lock;  /* guards everything below */
    pthread_cond_t wake, done;
    part_function function;
    void *job;
    int parts, next, running; /* of the job: all, the first not yet taken, those not finished */
    int ending;
    int worker_count;
    worker workers[];
};

/* Takes parts until none is left; the lock is held on entry and on return. */
static void take_parts(thread_pool *pool, int thread)
{
    while (pool->next < pool->parts) {
        const int part = pool->next++;
        pthread_mutex_unlock(&pool->lock);
        pool->function(pool->job, part, thread);
        pthread_mutex_lock(&pool->lock);
        if (--pool->running == 0)
            pthread_cond_signal(&pool->done);
    }
}

static void *work(void *argument)
{
    const worker *self = argument;
    thread_pool *pool = self->pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->ending) {
        take_parts(pool, self->index);
        if (!pool->ending)
            pthread_cond_wait(&pool->wake, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

thread_pool *thread_pool_new(int threads)
{
    thread_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof(worker));
    if (pool == NULL)
        return NULL;
    pthread_mutex_init(&pool->owner, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    while (pool->worker_count < threads - 1) {
        worker *w = &pool->workers[pool->worker_count];
        w->pool = pool;
        w->index = pool->worker_count + 1;
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            thread_pool_free(pool);
            return NULL;
        }
        ++pool->worker_count;
    }
    return pool;
}

void thread_pool_free(thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->ending = 1;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->worker_count; ++i)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->owner);
    free(pool);
}

void thread_pool_run(thread_pool *pool, part_function function, void *job, int parts)
{
    if (parts < 2 || pool == NULL || pthread_mutex_trylock(&pool->owner) != 0) {
        for (int part = 0; part < parts; ++part)
            function(job, part, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->function = function;
    pool->job = job;
    pool->parts = pool->running = parts;
    pool->next = 0;
    pthread_cond_broadcast(&pool->wake);
    take_parts(pool, 0);
    while (pool->running > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pool->parts = pool->next = 0;
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->owner);
}
