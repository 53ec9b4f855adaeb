/* A small pool of threads for jobs that follow each other closely; a step is a job of a few parts.
 */

#ifndef EDGEINFER_THREADS_H
#define EDGEINFER_THREADS_H

typedef struct thread_pool thread_pool;

/* Computes part `part` of `job`; `thread` is below the pool's size and no one else's meanwhile.
 * Returns 0, or why it has failed. */
typedef int (*part_function)(void *job, int part, int thread);

/* A pool in which `threads` threads work, the caller one of them; NULL where none can be made. */
thread_pool *thread_pool_new(int threads);

/* Ends the threads. A child of fork must not call it on its parent's pool: nobody is there. */
void thread_pool_free(thread_pool *pool);

/* Calls `function` for every part below `parts`, and returns after the last, with 0 or what one of
 * them has returned. A thread takes neighbouring parts, the same of every job, and then those that
 * others have not begun, so more parts than threads even out what a busy machine delays. A caller
 * that finds the pool at work for another does all parts itself. `pool` may be NULL. */
int thread_pool_run(thread_pool *pool, part_function function, void *job, int parts);

#endif
