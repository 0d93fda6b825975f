/* The threads of a step: a caller and some helpers that take pieces of work from one counter.
 *
 * Whoever is free takes the next piece, so that a thread whose core is busy with something else does less and
 * holds nobody up for longer than a piece takes. Between pieces a helper spins for a moment, then yields its
 * core, then sleeps until the next step: an idle engine uses no processor time. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

typedef void (*Work)(void *context, int piece, int thread);

#define MOST_THREADS 64
#define SPIN_NS 50000
#define JOBS 8

typedef struct {
    Work work;
    void *context;
    int pieces;
} Job;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, finished;
    int started;                /* helpers that exist */
    atomic_int wanted;          /* helpers that take part */
    atomic_int asleep;
    Job jobs[JOBS];
    _Atomic uint64_t ticket;    /* the job's number in the upper half, its next piece in the lower */
    atomic_int done;
    atomic_int awaited;         /* the caller sleeps until all pieces are done */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .finished = PTHREAD_COND_INITIALIZER};

/* Take pieces of the current job until none is left; whether there was any. */
static int take_pieces(int thread) {
    int took = 0;
    for (;;) {
        uint64_t ticket = atomic_load_explicit(&pool.ticket, memory_order_acquire);
        Job job = pool.jobs[(ticket >> 32) % JOBS];
        const int piece = (int)(uint32_t)ticket;
        if (piece >= job.pieces) return took;
        /* success means that the job is still the current one, so what was read of it was whole */
        if (!atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket + 1)) continue;
        job.work(job.context, piece, thread);
        if (atomic_fetch_add(&pool.done, 1) + 1 == job.pieces && atomic_load(&pool.awaited)) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.finished);
            pthread_mutex_unlock(&pool.lock);
        }
        took = 1;
    }
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Spin a moment; 0 when that was long enough since `*since`, which the first call sets. */
static int may_spin(int64_t *since) {
    if (!*since) *since = nanoseconds();
    for (int i = 0; i < 50; i++) __builtin_ia32_pause();
    return nanoseconds() - *since < SPIN_NS;
}

static void *help(void *number) {
    const int thread = (int)(intptr_t)number;
    for (;;) {
        int64_t since = 0;
        uint64_t seen = atomic_load(&pool.ticket) >> 32;
        while (thread <= atomic_load_explicit(&pool.wanted, memory_order_relaxed)) {
            seen = atomic_load(&pool.ticket) >> 32;
            if (take_pieces(thread)) since = 0;
            else if (!may_spin(&since)) break;
        }
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_add(&pool.asleep, 1);
        while (atomic_load(&pool.ticket) >> 32 == seen ||
               thread > atomic_load_explicit(&pool.wanted, memory_order_relaxed))
            pthread_cond_wait(&pool.wake, &pool.lock);
        atomic_fetch_sub(&pool.asleep, 1);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

/* After a fork the helpers are the parent's: the child starts its own. */
static void forget_helpers(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.finished, NULL);
    pool.started = 0;
    atomic_store(&pool.asleep, 0);
}

/* Let `threads` threads, the caller among them, take part from now on. */
static void use_threads(int threads) {
    static int guarded;
    if (!guarded) guarded = !pthread_atfork(NULL, NULL, forget_helpers);
    const int helpers = (threads < MOST_THREADS ? threads : MOST_THREADS) - 1;
    atomic_store(&pool.wanted, helpers);
    while (pool.started < helpers) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, help, (void *)(intptr_t)(pool.started + 1))) return;
        pthread_detach(thread);
        pool.started++;
    }
}

/* Do all pieces of the work, on all threads; returns when the last one is done. */
static void run_pieces(Work work, void *context, int pieces) {
    if (pieces <= 1 || !atomic_load_explicit(&pool.wanted, memory_order_relaxed)) {
        for (int piece = 0; piece < pieces; piece++) work(context, piece, 0);
        return;
    }
    const uint64_t number = (atomic_load(&pool.ticket) >> 32) + 1;
    pool.jobs[number % JOBS] = (Job){work, context, pieces};
    atomic_store(&pool.done, 0);
    atomic_store(&pool.ticket, number << 32);
    if (atomic_load(&pool.asleep)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    take_pieces(0);
    int64_t since = 0;
    while (atomic_load_explicit(&pool.done, memory_order_acquire) < pieces) {
        if (may_spin(&since)) continue;
        pthread_mutex_lock(&pool.lock);
        atomic_store(&pool.awaited, 1);
        while (atomic_load(&pool.done) < pieces) pthread_cond_wait(&pool.finished, &pool.lock);
        atomic_store(&pool.awaited, 0);
        pthread_mutex_unlock(&pool.lock);
    }
}
