/* What the runtime asks of the operating system, POSIX or Windows: threads, a clock, a process. */

#ifndef EDGEINFER_SYSTEM_H
#define EDGEINFER_SYSTEM_H

#include <stdint.h>

#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#include <process.h>
#include <windows.h>

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
typedef HANDLE thread;

/* How a thread begins: THREAD_FUNCTION(name, argument) { ...; return 0; } */
#define THREAD_FUNCTION(name, argument) static unsigned __stdcall name(void *argument)
typedef unsigned(__stdcall *thread_function)(void *argument);

static inline void mutex_init(mutex *m)
{
    InitializeSRWLock(m);
}

static inline void mutex_destroy(mutex *m)
{
    (void)m; /* it holds nothing */
}

static inline void mutex_lock(mutex *m)
{
    AcquireSRWLockExclusive(m);
}

/* Whether it is had; does not wait. */
static inline int mutex_try_lock(mutex *m)
{
    return TryAcquireSRWLockExclusive(m);
}

static inline void mutex_unlock(mutex *m)
{
    ReleaseSRWLockExclusive(m);
}

static inline void condition_init(condition *c)
{
    InitializeConditionVariable(c);
}

static inline void condition_destroy(condition *c)
{
    (void)c;
}

static inline void condition_wait(condition *c, mutex *m)
{
    SleepConditionVariableSRW(c, m, INFINITE, 0);
}

static inline void condition_broadcast(condition *c)
{
    WakeAllConditionVariable(c);
}

/* Whether it runs. */
static inline int thread_start(thread *t, thread_function function, void *argument)
{
    *t = (HANDLE)_beginthreadex(NULL, 0, function, argument, 0, NULL);
    return *t != NULL;
}

static inline void thread_join(thread *t)
{
    WaitForSingleObject(*t, INFINITE);
    CloseHandle(*t);
}

/* Of a clock that is never set. */
static inline int64_t nanoseconds_now(void)
{
    LARGE_INTEGER ticks, rate;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&rate);
    return ticks.QuadPart / rate.QuadPart * 1000000000 +
           ticks.QuadPart % rate.QuadPart * 1000000000 / rate.QuadPart;
}

static inline int64_t process_number(void)
{
    return GetCurrentProcessId();
}

/* A number that threads change at once; every access is ordered with every other. */
typedef volatile LONG counter;

static inline long counter_add(counter *c, long amount)
{
    return InterlockedExchangeAdd(c, amount);
}

static inline long counter_read(counter *c)
{
    return InterlockedCompareExchange(c, 0, 0);
}

static inline void counter_set(counter *c, long value)
{
    InterlockedExchange(c, value);
}

/* Lets the core rest for some ten cycles, or another thread have it. */
static inline void pause_core(void)
{
    YieldProcessor();
}

static inline void yield_core(void)
{
    SwitchToThread();
}

#else

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
typedef pthread_t thread;

#define THREAD_FUNCTION(name, argument) static void *name(void *argument)
typedef void *(*thread_function)(void *argument);

static inline void mutex_init(mutex *m)
{
    pthread_mutex_init(m, NULL);
}

static inline void mutex_destroy(mutex *m)
{
    pthread_mutex_destroy(m);
}

static inline void mutex_lock(mutex *m)
{
    pthread_mutex_lock(m);
}

static inline int mutex_try_lock(mutex *m)
{
    return pthread_mutex_trylock(m) == 0;
}

static inline void mutex_unlock(mutex *m)
{
    pthread_mutex_unlock(m);
}

static inline void condition_init(condition *c)
{
    pthread_cond_init(c, NULL);
}

static inline void condition_destroy(condition *c)
{
    pthread_cond_destroy(c);
}

static inline void condition_wait(condition *c, mutex *m)
{
    pthread_cond_wait(c, m);
}

static inline void condition_broadcast(condition *c)
{
    pthread_cond_broadcast(c);
}

static inline int thread_start(thread *t, thread_function function, void *argument)
{
    return pthread_create(t, NULL, function, argument) == 0;
}

static inline void thread_join(thread *t)
{
    pthread_join(*t, NULL);
}

static inline int64_t nanoseconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t process_number(void)
{
    return getpid();
}

typedef long counter;

static inline long counter_add(counter *c, long amount)
{
    return __atomic_fetch_add(c, amount, __ATOMIC_SEQ_CST);
}

static inline long counter_read(counter *c)
{
    return __atomic_load_n(c, __ATOMIC_SEQ_CST);
}

static inline void counter_set(counter *c, long value)
{
    __atomic_store_n(c, value, __ATOMIC_SEQ_CST);
}

static inline void pause_core(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline void yield_core(void)
{
    sched_yield();
}

#endif

#endif
