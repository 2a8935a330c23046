/*
 * The event loop: one epoll descriptor, a heap of timers, hooks before each sleep, signals by
 * signalfd, posts from other threads.
 *
 * A turn is: run what is ready (at most READY_ROUNDS rounds), hooks, epoll_wait (not sleeping when
 * work is left), the clock, events, timers. Nothing is allocated for an event. Invariant: `batch`
 * holds the events of this turn that are not dispatched yet; whoever forgets a descriptor takes its
 * events out of there, so that a callback may close and free any other descriptor. Thread: the one
 * that called sm_loop_init; only sm_loop_post is for all.
 */
#include "libsm/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "libsm/co.h"

#define TURN_EVENTS  256 /* most a turn: the rest comes next turn, in the kernel's order */
#define READY_ROUNDS 4   /* of ready coroutines between two looks at the kernel */
#define SIGNAL_MAX   65

struct sm_fd_wait {
	struct sm_co *co;
	bool closed; /* the descriptor, and maybe its struct, is gone */
};

struct signal_handler {
	void (*cb)(int sig, void *arg);
	void *arg;
};

static int epoll = -1;
static bool stopping;
static int stop_status;
static int64_t now_ms;
static struct sm_heap timers;
static struct sm_list hooks;
static struct epoll_event batch[TURN_EVENTS];
static int batch_at, batch_count;
static sigset_t signals;
static struct sm_fd signal_fd = {.fd = -1};
static struct signal_handler handlers[SIGNAL_MAX];

/* ---- posts from other threads ---- */

/* Newest first; the loop takes all and turns them round. A writer that finds it empty is the one to
 * wake the loop. */
static _Atomic(struct sm_post *) posted;
static struct sm_fd post_fd = {.fd = -1};

void sm_loop_post(struct sm_post *job)
{
	struct sm_post *head = atomic_load_explicit(&posted, memory_order_relaxed);

	do
		job->next = head;
	while (!atomic_compare_exchange_weak_explicit(&posted, &head, job, memory_order_release,
	                                              memory_order_relaxed));
	if (head == NULL) {
		uint64_t one = 1;
		/* Cannot fail: the counter would have to overflow 64 bits. */
		while (write(post_fd.fd, &one, sizeof(one)) == -1 && errno == EINTR)
			continue;
	}
}

/* Edge-triggered, each write is an edge: the counter need not be read. */
static void on_posted(struct sm_fd *f SM_UNUSED, unsigned events SM_UNUSED, void *arg SM_UNUSED)
{
	struct sm_post *job = atomic_exchange_explicit(&posted, NULL, memory_order_acquire);
	struct sm_post *ordered = NULL;

	while (job != NULL) {
		struct sm_post *next = job->next;
		job->next = ordered;
		ordered = job;
		job = next;
	}
	while (ordered != NULL) {
		struct sm_post *next = ordered->next;
		ordered->cb(ordered->arg); /* may free it */
		ordered = next;
	}
}

/* ---- descriptors ---- */

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1)
		return sm_fail_sys(errno, "fcntl of descriptor %d", fd);
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return sm_fail_sys(errno, "fcntl of descriptor %d", fd);
	return 0;
}

static int control(struct sm_fd *f, int op, unsigned events)
{
	struct epoll_event e = {.events = events, .data.ptr = f};

	if (epoll_ctl(epoll, op, f->fd, &e) == -1)
		return sm_fail_sys(errno, "epoll_ctl of descriptor %d", f->fd);
	f->events = events;
	return 0;
}

static int enroll(struct sm_fd *f, int fd, unsigned events, sm_fd_cb *cb, void *arg)
{
	/* Whatever there is to read by now is reported as an edge; a write is worth a try at once.
	 */
	*f = (struct sm_fd){.fd = fd, .ready = SM_WR, .cb = cb, .arg = arg};
	int rc = control(f, EPOLL_CTL_ADD, events);
	if (rc != 0)
		f->fd = -1;
	return rc;
}

static int open_owned(struct sm_fd *f, int fd, unsigned events, sm_fd_cb *cb, void *arg)
{
	int rc = set_nonblocking(fd);

	if (rc != 0)
		f->fd = -1;
	else
		rc = enroll(f, fd, events, cb, arg);
	if (rc != 0)
		close(fd);
	return rc;
}

int sm_fd_open(struct sm_fd *f, int fd, sm_fd_cb *cb, void *arg)
{
	return open_owned(f, fd, EPOLLIN | EPOLLRDHUP | EPOLLET | (cb != NULL ? EPOLLOUT : 0U), cb,
	                  arg);
}

int sm_fd_adopt(struct sm_fd *f, int fd)
{
	int rc = enroll(f, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, NULL, NULL);

	f->sole = true;
	if (rc != 0)
		close(fd);
	return rc;
}

int sm_fd_open_exclusive(struct sm_fd *f, int fd, sm_fd_cb *cb, void *arg)
{
	return open_owned(f, fd, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, cb, arg);
}

static unsigned level_events(unsigned directions)
{
	return (directions & SM_RD ? EPOLLIN | EPOLLRDHUP : 0U) |
	       (directions & SM_WR ? EPOLLOUT : 0U);
}

int sm_fd_open_level(struct sm_fd *f, int fd, unsigned directions, sm_fd_cb *cb, void *arg)
{
	return enroll(f, fd, level_events(directions), cb, arg);
}

int sm_fd_level(struct sm_fd *f, unsigned directions)
{
	unsigned events = level_events(directions);

	return events == f->events ? 0 : control(f, EPOLL_CTL_MOD, events);
}

int sm_fd_edges(struct sm_fd *f, unsigned directions)
{
	unsigned events = EPOLLET | level_events(directions);

	return events == f->events ? 0 : control(f, EPOLL_CTL_MOD, events);
}

static void detach(struct sm_fd *f)
{
	for (int i = batch_at; i < batch_count; i++)
		if (batch[i].data.ptr == f)
			batch[i].data.ptr = NULL;
	f->fd = -1;
	f->ready = 0;
	for (int i = 0; i < 2; i++) {
		struct sm_fd_wait *w = f->waiter[i];
		f->waiter[i] = NULL;
		if (w != NULL) {
			w->closed = true;
			sm_co_wake(w->co);
		}
	}
}

void sm_fd_forget(struct sm_fd *f)
{
	if (f->fd == -1)
		return;
	/* The library may have closed it before it told us: then epoll has forgotten it already. */
	(void)epoll_ctl(epoll, EPOLL_CTL_DEL, f->fd, NULL);
	detach(f);
}

void sm_fd_close(struct sm_fd *f)
{
	int fd = f->fd;

	if (fd == -1)
		return;
	if (!f->sole)
		(void)epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
	detach(f);
	close(fd);
}

int sm_fd_wait(struct sm_fd *f, unsigned dir, const char *doing, int64_t deadline_ms)
{
	struct sm_fd_wait wait = {.co = sm_co_self(), .closed = false};
	int rc, side = dir == SM_RD ? 0 : 1;

	sm_assert(wait.co != NULL && (dir == SM_RD || dir == SM_WR));
	if (sm_co_cancelled())
		return sm_fail(SM_E_CANCEL, "%s: cancelled", doing);
	if (f->fd == -1)
		return sm_fail(SM_E_EOF, "%s: closed", doing);
	if (f->ready & dir)
		return 0;
	sm_assert(f->waiter[side] == NULL);
	if (dir == SM_WR && !(f->events & EPOLLOUT)) {
		/* Registering reports the present state again: no edge is lost in between. */
		rc = control(f, EPOLL_CTL_MOD, f->events | EPOLLOUT);
		if (rc != 0)
			return rc;
	}
	f->waiter[side] = &wait;
	do
		rc = sm_co_park(doing, deadline_ms);
	while (rc == 0 && !wait.closed && !(f->ready & dir));
	if (wait.closed)
		return sm_fail(SM_E_EOF, "%s: closed", doing);
	f->waiter[side] = NULL;
	return rc;
}

static void dispatch(struct sm_fd *f, uint32_t got)
{
	unsigned events = 0;

	if (got & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
		events |= SM_RD;
	if (got & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		events |= SM_WR;
	if (got & (EPOLLRDHUP | EPOLLHUP))
		f->hup = true;
	f->ready |= events;
	for (unsigned i = 0; i < 2; i++)
		if (f->waiter[i] != NULL && (events & (1U << i)))
			sm_co_wake(f->waiter[i]->co);
	if (f->cb != NULL)
		f->cb(f, events, f->arg);
}

/* ---- timers, hooks, signals ---- */

void sm_timer_set(struct sm_timer *t, int64_t when_ms, void (*cb)(void *arg), void *arg)
{
	t->cb = cb;
	t->arg = arg;
	sm_heap_set(&timers, &t->node, when_ms);
}

void sm_timer_cancel(struct sm_timer *t)
{
	if (t->node.at != 0)
		sm_heap_remove(&timers, &t->node);
}

bool sm_timer_is_set(const struct sm_timer *t)
{
	return t->node.at != 0;
}

static void fire_timers(void)
{
	/* A callback that sets a timer to now is served next turn. */
	for (size_t most = timers.count; most > 0; most--) {
		struct sm_heap_node *top = sm_heap_top(&timers);
		if (top == NULL || top->key > now_ms)
			return;
		struct sm_timer *t = SM_CONTAINER_OF(top, struct sm_timer, node);
		sm_heap_remove(&timers, top);
		t->cb(t->arg); /* may free it */
	}
}

void sm_loop_before_sleep_at(struct sm_hook *h, enum sm_hook_when when, bool (*cb)(void *arg),
                             void *arg)
{
	struct sm_list *before = hooks.prev;

	*h = (struct sm_hook){.when = when, .cb = cb, .arg = arg};
	while (before != &hooks && SM_LIST_ENTRY(before, struct sm_hook, link)->when > when)
		before = before->prev;
	sm_list_insert_(&h->link, before, before->next);
}

void sm_loop_before_sleep(struct sm_hook *h, bool (*cb)(void *arg), void *arg)
{
	sm_loop_before_sleep_at(h, SM_HOOK_WORK, cb, arg);
}

void sm_hook_remove(struct sm_hook *h)
{
	sm_list_remove(&h->link);
}

static bool run_hooks(void)
{
	bool work = false;

	SM_LIST_FOR_SAFE (h, &hooks, struct sm_hook, link) {
		if (h->cb(h->arg))
			work = true;
	}
	return work;
}

static void on_signals(struct sm_fd *f, unsigned events SM_UNUSED, void *arg SM_UNUSED)
{
	struct signalfd_siginfo info[8];
	ssize_t n;

	while ((n = read(f->fd, info, sizeof(info))) > 0) {
		for (size_t i = 0; i < (size_t)n / sizeof(info[0]); i++) {
			unsigned sig = info[i].ssi_signo;
			if (sig < SIGNAL_MAX && handlers[sig].cb != NULL)
				handlers[sig].cb((int)sig, handlers[sig].arg);
		}
	}
}

int sm_loop_signal(int sig, void (*cb)(int sig, void *arg), void *arg)
{
	sm_assert(sig > 0 && sig < SIGNAL_MAX);
	handlers[sig] = (struct signal_handler){cb, arg};
	sigaddset(&signals, sig);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) == -1)
		return sm_fail_sys(errno, "sigprocmask");
	int fd = signalfd(signal_fd.fd, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd == -1)
		return sm_fail_sys(errno, "signalfd");
	return signal_fd.fd == -1 ? sm_fd_open(&signal_fd, fd, on_signals, NULL) : 0;
}

/* ---- the loop ---- */

int sm_loop_init(void)
{
	sm_assert(epoll == -1);
	sm_heap_init(&timers);
	sm_list_init(&hooks);
	sigemptyset(&signals);
	batch_at = batch_count = 0;
	stopping = false;
	now_ms = sm_now_ms();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll == -1)
		return sm_fail_sys(errno, "epoll_create1");
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd == -1)
		return sm_fail_sys(errno, "eventfd");
	return sm_fd_open(&post_fd, fd, on_posted, NULL);
}

void sm_loop_fini(void)
{
	if (epoll == -1)
		return;
	sm_fd_close(&signal_fd);
	sm_fd_close(&post_fd);
	close(epoll);
	epoll = -1;
	sm_heap_fini(&timers);
}

void sm_loop_stop(int status)
{
	stopping = true;
	stop_status = status;
}

int64_t sm_loop_now_ms(void)
{
	return now_ms;
}

static int sleep_ms(void)
{
	const struct sm_heap_node *top = sm_heap_top(&timers);

	if (top == NULL)
		return -1;
	int64_t left = top->key - sm_now_ms();
	return left <= 0 ? 0 : (int)SM_MIN(left, INT_MAX);
}

static void turn(void)
{
	bool more = sm_co_any_ready();

	for (int i = 0; more && i < READY_ROUNDS; i++)
		more = sm_co_run_ready();
	if (run_hooks() || sm_co_any_ready())
		more = true;
	if (stopping)
		return;
	int n = epoll_wait(epoll, batch, TURN_EVENTS, more ? 0 : sleep_ms());
	sm_assert(n >= 0 || errno == EINTR);
	now_ms = sm_now_ms();
	batch_count = SM_MAX(n, 0);
	for (batch_at = 0; batch_at < batch_count;) {
		struct epoll_event *e = &batch[batch_at++];
		if (e->data.ptr != NULL)
			dispatch(e->data.ptr, e->events);
	}
	fire_timers();
}

int sm_loop_run(void)
{
	now_ms = sm_now_ms();
	stopping = false;
	while (!stopping)
		turn();
	return stop_status;
}
