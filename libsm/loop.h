/*
 * The event loop: epoll, timers, signals, hooks. One a process, in its main thread; nothing here is
 * thread-safe but sm_loop_post.
 *
 * Descriptors are registered once, edge-triggered. A coroutine parks (sm_fd_wait) until there was
 * an edge and then calls until the kernel has nothing more; a callback gets told of every edge and
 * must drain. After a read shorter than asked for, the stream is known to be drained:
 * sm_fd_drained saves the read that would only say EAGAIN.
 */
#ifndef SM_LOOP_H
#define SM_LOOP_H

#include "libsm/err.h"
#include "libsm/heap.h"
#include "libsm/list.h"
#include "libsm/time.h"

enum { SM_RD = 1, SM_WR = 2 };

struct sm_co;
struct sm_fd;
/* `events`: SM_RD and/or SM_WR; errors and hang-ups come as both. It may close and free `f`. */
typedef void sm_fd_cb(struct sm_fd *f, unsigned events, void *arg);

struct sm_fd_wait; /* a parked coroutine, on its own stack */
struct sm_fd {
	int fd;          /* -1: closed */
	unsigned ready;  /* directions that may not block: set by edges, cleared by sm_fd_drained */
	unsigned events; /* registered with epoll */
	bool sole;       /* nobody else has its open file: closing it is enough for epoll, too */
	bool hup;        /* the peer is done: reading never blocks again */
	struct sm_fd_wait *waiter[2]; /* one reader, one writer at the most (asserted) */
	sm_fd_cb *cb;                 /* NULL: for coroutines */
	void *arg;
};

/* Once a process, before anything else here. Gives 0 or an error. */
int sm_loop_init(void) SM_MUST_CHECK;
void sm_loop_fini(void);
/* Run until sm_loop_stop. Gives what was passed to it. */
int sm_loop_run(void);
void sm_loop_stop(int status);

/*
 * Register `fd` (made non-blocking here) in caller's memory `f`, which must stay in place until
 * sm_fd_close. The descriptor is f's from now on, and is closed if this fails. With a cb: events
 * are delivered on the loop's stack; without: for sm_fd_wait. Then writing is watched from the
 * first time on that it has to wait: sockets between processes would report it all the time.
 */
int sm_fd_open(struct sm_fd *f, int fd, sm_fd_cb *cb, void *arg) SM_MUST_CHECK;
/* The same for coroutines, for a descriptor fresh from accept4: non-blocking already, and shared
 * with nobody. Two system calls less in its life. */
int sm_fd_adopt(struct sm_fd *f, int fd) SM_MUST_CHECK;
/* The same, level-triggered, for the directions given, the descriptor staying its library's
 * (c-ares); change them with sm_fd_level. */
int sm_fd_open_level(struct sm_fd *f, int fd, unsigned directions, sm_fd_cb *cb,
                     void *arg) SM_MUST_CHECK;
int sm_fd_level(struct sm_fd *f, unsigned directions);
/* Which edges of a descriptor of sm_fd_open are reported from now on; one that has come already is
 * reported again. For callbacks, which begin with both: a socket between processes would tell of
 * each read at its other end. */
int sm_fd_edges(struct sm_fd *f, unsigned directions) SM_MUST_CHECK;
void sm_fd_forget(struct sm_fd *f); /* deregister, do not close */
/* Deregister and close; waiters wake with SM_E_EOF. Harmless when closed already. */
void sm_fd_close(struct sm_fd *f);
/* Several processes share a listening descriptor: wake only one. Opens as sm_fd_open does, for
 * reading. */
int sm_fd_open_exclusive(struct sm_fd *f, int fd, sm_fd_cb *cb, void *arg) SM_MUST_CHECK;
/* A system call in `dir` said EAGAIN, or did less than asked. After a hang-up, reading stays ready:
 * its end has yet to be read. */
static inline void sm_fd_drained(struct sm_fd *f, unsigned dir)
{
	f->ready &= f->hup ? ~dir | SM_RD : ~dir;
}
/* Let a coroutines' descriptor tell a callback instead, while nobody waits for it; cb NULL gives it
 * back. For reading only. */
static inline void sm_fd_callback(struct sm_fd *f, sm_fd_cb *cb, void *arg)
{
	f->cb = cb;
	f->arg = arg;
}
/* Park until `dir` may not block. 0, SM_E_TIMEOUT, SM_E_CANCEL, SM_E_EOF (closed meanwhile).
 * Returns at once when f->ready says so. */
int sm_fd_wait(struct sm_fd *f, unsigned dir, const char *doing,
               int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

struct sm_timer {
	struct sm_heap_node node;
	void (*cb)(void *arg);
	void *arg;
};
/* Fire once at `when_ms` (monotonic), on the loop's stack; setting again moves it. Zeroed memory is
 * a valid unset timer. */
void sm_timer_set(struct sm_timer *t, int64_t when_ms, void (*cb)(void *arg), void *arg);
void sm_timer_cancel(struct sm_timer *t);
bool sm_timer_is_set(const struct sm_timer *t);

/* Called before each sleep. Returns true when it made work (then no sleep). First those that
 * decide, then those that send what was decided, last the log; each group in order of registration.
 */
enum sm_hook_when { SM_HOOK_WORK, SM_HOOK_SEND, SM_HOOK_LOG };
struct sm_hook {
	struct sm_list link;
	enum sm_hook_when when;
	bool (*cb)(void *arg);
	void *arg;
};
void sm_loop_before_sleep(struct sm_hook *h, bool (*cb)(void *arg), void *arg); /* SM_HOOK_WORK */
void sm_loop_before_sleep_at(struct sm_hook *h, enum sm_hook_when when, bool (*cb)(void *arg),
                             void *arg);
void sm_hook_remove(struct sm_hook *h);

/* `cb` on the loop's stack for each arrival of `sig` (signalfd; the signal is blocked in the
 * process). */
int sm_loop_signal(int sig, void (*cb)(int sig, void *arg), void *arg) SM_MUST_CHECK;

/* From any thread: run `job->cb(job->arg)` on the loop soon. The job's memory is the caller's until
 * then. Ordered. */
struct sm_post {
	struct sm_post *next;
	void (*cb)(void *arg);
	void *arg;
};
void sm_loop_post(struct sm_post *job);

/* Time at the start of this turn (one clock call a turn). For deadlines good enough; never behind
 * by more than a turn. */
int64_t sm_loop_now_ms(void);

#endif
