/* The pool of threads.h on POSIX threads: waiting is sleeping, never spinning. */

#include "threads.h"

#include <pthread.h>
#include <stdlib.h>

struct thread_pool {
    pthread_mutex_t owner; /* held by the caller whose job runs */
    pthread_mutex_t lock;  /* guards everything below */
    pthread_cond_t work, done;
    part_function function;
    void *job;
    int parts, next, running; /* of the job: all, the first not yet taken, those not finished */
    int ending;
    int workers;
    pthread_t threads[];
};

/* Takes parts until none is left; the lock is held on entry and on return. */
static void take_parts(thread_pool *pool)
{
    while (pool->next < pool->parts) {
        const int part = pool->next++;
        pthread_mutex_unlock(&pool->lock);
        pool->function(pool->job, part);
        pthread_mutex_lock(&pool->lock);
        if (--pool->running == 0)
            pthread_cond_signal(&pool->done);
    }
}

static void *worker(void *argument)
{
    thread_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    while (!pool->ending) {
        take_parts(pool);
        if (!pool->ending)
            pthread_cond_wait(&pool->work, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

thread_pool *thread_pool_new(int threads)
{
    thread_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof(pthread_t));
    if (pool == NULL)
        return NULL;
    pthread_mutex_init(&pool->owner, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    while (pool->workers < threads - 1) {
        if (pthread_create(&pool->threads[pool->workers], NULL, worker, pool) != 0) {
            thread_pool_free(pool);
            return NULL;
        }
        ++pool->workers;
    }
    return pool;
}

void thread_pool_free(thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->ending = 1;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->workers; ++i)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->owner);
    free(pool);
}

void thread_pool_run(thread_pool *pool, part_function function, void *job, int parts)
{
    if (parts < 2 || pool == NULL || pthread_mutex_trylock(&pool->owner) != 0) {
        for (int part = 0; part < parts; ++part)
            function(job, part);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->function = function;
    pool->job = job;
    pool->parts = pool->running = parts;
    pool->next = 0;
    pthread_cond_broadcast(&pool->work);
    take_parts(pool);
    while (pool->running > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pool->parts = pool->next = 0;
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->owner);
}
