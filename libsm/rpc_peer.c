/*
 * One connection between processes: reads frames, gathers and sends them, and ends exactly once.
 *
 * Every connection that has something to do before the loop sleeps (bytes to send, frames left
 * unread, its end) is in the list `todo`, which one hook works off: so all frames of a turn go out
 * in one write, and no connection is ever freed while a callback of its own is on the stack.
 * Invariant: `in` never holds more than one frame that is not complete. Thread: the loop's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/rand.h"
#include "libsm/rpc_int.h"

#define KEEP_BYTES                                                                     \
	(1024 * 1024) /* a buffer that has grown beyond is given back when it is empty \
	               */

static struct {
	enum sm_role role;
	uint8_t proc;
	uint64_t incarnation;
} self;

static unsigned users;
static struct sm_hook hook;
static struct sm_list todo = SM_LIST_INIT(todo);
static struct sm_list gone = SM_LIST_INIT(gone); /* ended, but answers are still owed to them */

void sm_rpc_self(enum sm_role role, uint8_t proc)
{
	self.role = role;
	self.proc = proc;
}

/* ---- life ---- */

void sm_peer_todo(struct sm_peer *p)
{
	if (!sm_list_linked(&p->todo))
		sm_list_push(&todo, &p->todo);
}

static void free_if_unneeded(struct sm_peer *p)
{
	if (p->state != RPC_GONE || p->busy > 0)
		return;
	sm_buf_fini(&p->in);
	if (p->owed > 0)
		return;
	sm_list_remove(&p->todo);
	sm_list_remove(&p->siblings);
	sm_free(p);
}

void sm_peer_close(struct sm_peer *p, const char *why)
{
	if (p->state >= RPC_CLOSING)
		return;
	p->state = RPC_CLOSING;
	snprintf(p->why, sizeof(p->why), "%s", why);
	sm_peer_todo(p);
}

const char *sm_role_name(enum sm_role role)
{
	static const char *const names[] = {"unknown", "smtps", "qmgr", "smtpc", "smar", "ctl"};

	return (size_t)role < SM_ARRAY_SIZE(names) ? names[role] : names[0];
}

void sm_peer_end(struct sm_peer *p)
{
	if (p->state == RPC_GONE)
		return;
	sm_peer_close(p, "ended by its owner");
	p->state = RPC_GONE;
	p->busy++;
	sm_fd_close(&p->f);
	sm_timer_cancel(&p->timer);
	sm_buf_fini(&p->out);
	/* An operator's question is no event; what it does has a line of its own. */
	sm_log(p->ops->tells || p->role == SM_ROLE_CTL ? SM_DEBUG : SM_INFO,
	       p->was_up ? "rpc.down" : "rpc.failed", "role=%s peer_proc=%d peer_pid=%d why=%s",
	       sm_role_name(p->role), (int)p->proc, (int)p->pid, p->why);
	sm_calls_fail(p, SM_E_PEER);
	p->ops->down(p, p->owner);
	sm_list_remove(&p->siblings);
	sm_list_push(&gone, &p->siblings);
	sm_hash_fini(&p->calls);
	sm_list_remove(&p->todo);
	p->busy--;
	sm_rpc_unuse();
	free_if_unneeded(p);
}

/* ---- sending ---- */

int sm_peer_put(struct sm_peer *p, uint16_t type, uint16_t flags, uint64_t tag, const void *m)
{
	int rc;

	if (p->state >= RPC_CLOSING)
		return 0;
	if (p->out.len > RPC_UNSENT_MAX) {
		sm_peer_close(p, "does not read what is sent to it");
		return 0;
	}
	rc = sm_frame_put(&p->out, type, flags, tag, m);
	sm_peer_todo(p);
	if (sm_log_on(SM_DEBUG))
		sm_log(SM_DEBUG, "rpc.send", "peer_pid=%d msg=%s flags=%x tag=%llu", (int)p->pid,
		       sm_msg_info(type)->name, (unsigned)flags, (unsigned long long)tag);
	return rc;
}

void sm_peer_send(struct sm_peer *p, uint16_t type, const void *m)
{
	if (sm_peer_put(p, type, 0, 0, m) != 0)
		sm_peer_close(p, sm_diag());
}

void sm_peer_reply(struct sm_peer *p, uint64_t tag, uint16_t flags, uint16_t type, const void *m)
{
	sm_assert(tag != 0 && (flags & ~(SM_FRAME_REPLY | SM_FRAME_MORE)) == 0);
	if (sm_peer_put(p, type, flags | SM_FRAME_REPLY, tag, m) != 0)
		sm_peer_close(p, sm_diag());
	if ((flags & SM_FRAME_MORE) == 0 && p->owed > 0)
		p->owed--;
	free_if_unneeded(p);
}

static void watch_writing(struct sm_peer *p, bool on)
{
	if (sm_fd_edges(&p->f, on ? SM_RD | SM_WR : SM_RD) != 0)
		sm_peer_close(p, sm_diag());
}

static void flush(struct sm_peer *p)
{
	while (p->out.len > 0) {
		ssize_t n =
		    send(p->f.fd, sm_buf_p(&p->out), p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			sm_buf_consume(&p->out, (size_t)n);
			p->cut = p->out.len > 0;
		} else if (errno == EAGAIN) {
			sm_fd_drained(&p->f, SM_WR);
			watch_writing(p, true);
			return;
		} else if (errno != EINTR) {
			sm_peer_close(p, strerror(errno));
			return;
		}
	}
	watch_writing(p, false);
	if (p->out.cap > KEEP_BYTES)
		sm_buf_trim(&p->out);
}

void sm_peer_on_drain(struct sm_peer *p, size_t below, sm_peer_cb *cb, void *arg)
{
	p->drain_below = below;
	p->drain_cb = cb;
	p->drain_arg = arg;
	sm_peer_todo(p);
}

static void tell_drained(struct sm_peer *p)
{
	sm_peer_cb *cb = p->drain_cb;

	if (cb == NULL || p->out.len > p->drain_below || p->state != RPC_UP)
		return;
	p->drain_cb = NULL;
	cb(p, p->drain_arg);
}

/* ---- reading ---- */

static int take_hello(struct sm_peer *p, const struct sm_frame *f)
{
	struct sm_msg_hello h;

	if (f->type != SM_MSG_hello || f->flags != 0 || sm_msg_hello_decode(f->body, NULL, &h) != 0)
		return sm_fail(SM_E_PROTO, "no hello came first");
	if (h.table != sm_msg_table_hash())
		return sm_fail(SM_E_VERSION, "other build: " SM_STR_FMT " (this is %s)",
		               SM_STR_ARG(h.build), PACKAGE_STRING);
	p->role = (enum sm_role)h.role;
	p->proc = h.proc;
	p->incarnation = h.incarnation;
	return p->ops->hello(p, p->owner);
}

static int take_frame(struct sm_peer *p, const struct sm_frame *f)
{
	uint64_t owed = p->owed;
	int rc;

	if (sm_log_on(SM_DEBUG))
		sm_log(SM_DEBUG, "rpc.got", "peer_pid=%d msg=%s flags=%x tag=%llu", (int)p->pid,
		       sm_msg_info(f->type)->name, (unsigned)f->flags, (unsigned long long)f->tag);
	if (p->state == RPC_HELLO) {
		rc = take_hello(p, f);
		if (rc != 0)
			return rc;
		p->state = RPC_UP;
		p->was_up = true;
		sm_timer_cancel(&p->timer);
		p->timer_ms = SM_NEVER;
		p->ops->up(p, p->owner);
		return 0;
	}
	if (f->flags & SM_FRAME_REPLY) {
		sm_calls_answer(p, f);
		return 0;
	}
	if (f->tag != 0)
		p->owed++;
	rc = p->ops->frame(p, f, p->owner);
	if (rc == 0)
		return 0;
	/* Who refuses a request does not answer it any more. */
	p->owed = SM_MIN(p->owed, owed);
	return sm_fail_in(rc, "message %s", sm_msg_info(f->type)->name);
}

static void take_frames(struct sm_peer *p)
{
	while (p->state < RPC_CLOSING) {
		struct sm_frame f;
		ssize_t n = sm_frame_get(sm_buf_view(&p->in), &f);
		int rc = n < 0 ? (int)n : 0;

		if (n == 0)
			return;
		if (n > 0)
			rc = take_frame(p, &f);
		if (rc != 0) {
			if (p->state < RPC_CLOSING)
				sm_log(SM_WARN, "rpc.refused",
				       "role=%s peer_pid=%d uid=%d error=%E", sm_role_name(p->role),
				       (int)p->pid, (int)p->uid, rc);
			sm_peer_close(p, sm_diag());
			return;
		}
		sm_buf_consume(&p->in, (size_t)n);
	}
}

static void read_slice(struct sm_peer *p)
{
	for (size_t got = 0; p->state < RPC_CLOSING && got < RPC_READ_SLICE;) {
		char *to = sm_buf_reserve(&p->in, RPC_READ_BYTES);
		ssize_t n = recv(p->f.fd, to, RPC_READ_BYTES, MSG_DONTWAIT);

		if (n > 0) {
			sm_buf_commit(&p->in, (size_t)n);
			got += (size_t)n;
			take_frames(p);
			if (n < RPC_READ_BYTES && p->state < RPC_CLOSING) {
				sm_fd_drained(&p->f, SM_RD);
				if (!p->f.hup)
					break;
			}
		} else if (n == 0) {
			sm_peer_close(p, p->state == RPC_HELLO
			                     ? "closed by the other side before its hello"
			                     : "closed by the other side");
		} else if (errno == EAGAIN) {
			sm_fd_drained(&p->f, SM_RD);
			break;
		} else if (errno != EINTR) {
			sm_peer_close(p, strerror(errno));
		}
	}
	if (p->state >= RPC_CLOSING)
		return;
	if (p->in.len == 0 && p->in.cap > KEEP_BYTES)
		sm_buf_trim(&p->in);
	if (p->f.ready & SM_RD)
		sm_peer_todo(p);
}

/* ---- the loop ---- */

static void work(struct sm_peer *p)
{
	p->busy++;
	if (p->state < RPC_CLOSING && (p->f.ready & SM_RD))
		read_slice(p);
	/* A connection about to end says its last words, as far as they can be said at once. */
	if (p->state != RPC_GONE && p->out.len > 0 && (p->f.ready & SM_WR))
		flush(p);
	tell_drained(p);
	p->busy--;
	if (p->state == RPC_CLOSING)
		sm_peer_end(p);
	else
		free_if_unneeded(p);
}

static bool before_sleep(void *arg SM_UNUSED)
{
	struct sm_list now = SM_LIST_INIT(now);
	struct sm_list *e;
	bool more = sm_calls_run_failed();

	sm_list_splice(&now, &todo);
	while ((e = sm_list_shift(&now)) != NULL)
		work(SM_LIST_ENTRY(e, struct sm_peer, todo));
	/* What was asked of nobody in a callback of a connection that ended just now: no other turn
	 * may come for it. */
	more = sm_calls_run_failed() || more;
	return more || !sm_list_empty(&todo);
}

/* Read at once: what handlers send then goes out with everything else of the turn. */
static void on_event(struct sm_fd *f SM_UNUSED, unsigned events, void *arg)
{
	struct sm_peer *p = arg;

	p->busy++;
	if (events & SM_RD)
		read_slice(p);
	if (p->out.len > 0)
		sm_peer_todo(p);
	p->busy--;
	free_if_unneeded(p);
}

static void on_timer(void *arg)
{
	struct sm_peer *p = arg;

	p->timer_ms = SM_NEVER;
	if (p->state == RPC_HELLO)
		sm_peer_close(p, "no hello in time");
	else
		sm_calls_timer(p);
}

void sm_rpc_use(void)
{
	if (users++ == 0)
		sm_loop_before_sleep_at(&hook, SM_HOOK_SEND, before_sleep, NULL);
}

void sm_rpc_unuse(void)
{
	if (--users == 0)
		sm_hook_remove(&hook);
}

static void send_hello(struct sm_peer *p)
{
	struct sm_msg_hello h = {
	    .role = (uint8_t)self.role,
	    .proc = self.proc,
	    .pid = (uint32_t)getpid(),
	    .table = sm_msg_table_hash(),
	    .build = SM_STR(PACKAGE_STRING),
	};

	if (self.incarnation == 0)
		sm_rand_secret(&self.incarnation, sizeof(self.incarnation));
	h.incarnation = self.incarnation;
	(void)sm_peer_put(p, SM_MSG_hello, 0, 0, &h);
}

struct sm_peer *sm_peer_new(int fd, const struct rpc_owner *ops, void *owner)
{
	struct sm_peer *p = sm_calloc(1, sizeof(*p));

	p->ops = ops;
	p->owner = owner;
	sm_list_init(&p->siblings);
	sm_list_init(&p->todo);
	sm_buf_init(&p->in, SM_FRAME_MAX + sizeof(uint32_t) + RPC_READ_BYTES);
	/* The limit is checked before a frame is put; the frame then fits in any case. */
	sm_buf_init(&p->out, RPC_UNSENT_MAX + 4 * SM_FRAME_MAX);
	sm_hash_init(&p->calls);
	sm_list_init(&p->calls_in_order);
	if (sm_net_peercred(fd, &p->pid, &p->uid, &p->gid) != 0) {
		close(fd);
		sm_free(p);
		return NULL;
	}
	if (sm_fd_open(&p->f, fd, on_event, p) != 0) {
		sm_free(p);
		return NULL;
	}
	sm_rpc_use();
	watch_writing(p, false);
	p->timer_ms = sm_now_ms() + RPC_HELLO_MS;
	sm_timer_set(&p->timer, p->timer_ms, on_timer, p);
	send_hello(p);
	return p;
}

/* ---- what others may ask ---- */

enum sm_role sm_peer_role(const struct sm_peer *p)
{
	return p->role;
}

uint8_t sm_peer_proc(const struct sm_peer *p)
{
	return p->proc;
}

uint64_t sm_peer_incarnation(const struct sm_peer *p)
{
	return p->incarnation;
}

pid_t sm_peer_pid(const struct sm_peer *p)
{
	return p->pid;
}

uid_t sm_peer_uid(const struct sm_peer *p)
{
	return p->uid;
}

bool sm_peer_trusted(const struct sm_peer *p)
{
	return p->trusted;
}

void *sm_peer_data(const struct sm_peer *p)
{
	return p->data;
}

void sm_peer_set_data(struct sm_peer *p, void *data)
{
	p->data = data;
}

size_t sm_peer_unsent(const struct sm_peer *p)
{
	return p->out.len;
}

const char *sm_peer_why(const struct sm_peer *p)
{
	return p->why;
}
