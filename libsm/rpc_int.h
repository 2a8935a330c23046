/*
 * What the files of rpc share and nobody else sees: one connection (rpc_peer.c), its calls
 * (rpc_call.c), and what a server or a link (rpc_server.c, rpc_link.c) is told of it.
 */
#ifndef SM_RPC_INT_H
#define SM_RPC_INT_H

#include "libsm/rpc.h"

enum {
	RPC_HEADER_BYTES = 4 + 2 + 2 + 8, /* length, type, flags, tag */
	RPC_LEAST_LENGTH = 2 + 2 + 8,     /* what the length of an empty body says */
	RPC_READ_BYTES = 64 * 1024,       /* asked of the kernel at a time */
	RPC_READ_SLICE = 512 * 1024,      /* read of one peer in a turn */
	RPC_UNSENT_MAX = 64 * 1024 * 1024,
	RPC_HELLO_MS = 10 * 1000,
	RPC_WHY_MAX = 160
};

/* ---- frames (rpc_frame.c) ---- */

/* Append a frame. 0, or SM_E_TOOBIG and nothing appended: a field above its maximum, or the frame
 * above SM_FRAME_MAX. */
int sm_frame_put(struct sm_buf *b, uint16_t type, uint16_t flags, uint64_t tag,
                 const void *m) SM_MUST_CHECK;
/* The frame at the start of `in`, its body a view of `in`: gives its bytes, 0 when it is not there
 * as a whole yet, or SM_E_PROTO as soon as its head is wrong. Looks at no byte of the body. */
ssize_t sm_frame_get(struct sm_str in, struct sm_frame *f) SM_MUST_CHECK;

/* ---- a connection (rpc_peer.c) ---- */

enum rpc_state {
	RPC_HELLO, /* ours is sent, theirs has not come */
	RPC_UP,
	RPC_CLOSING, /* says nothing and hears nothing; the loop will end it */
	RPC_GONE     /* closed; the memory stays until the owner's answers are through */
};

/* Whom a connection belongs to. */
struct rpc_owner {
	/* Its identity is filled: accept it? 0, or an error with diag. */
	int (*hello)(struct sm_peer *p, void *owner);
	void (*up)(struct sm_peer *p, void *owner);
	int (*frame)(struct sm_peer *p, const struct sm_frame *f, void *owner);
	/* Exactly once, whatever happened before; p->why says why. */
	void (*down)(struct sm_peer *p, void *owner);
	bool tells; /* it logs itself what became of the connection */
};

struct sm_peer {
	struct sm_fd f;
	enum rpc_state state;
	bool was_up;
	bool cut;      /* what `out` begins with is the rest of a frame */
	unsigned busy; /* callbacks of ours on the stack: not to be freed */
	const struct rpc_owner *ops;
	void *owner;
	struct sm_list siblings; /* owner's list of connections */
	struct sm_list todo; /* in the list of those with something to do before the loop sleeps */
	struct sm_buf in, out;

	/* Calls of ours. The timer stands at the earliest deadline or before it; it is not moved
	 * back when a call ends, so that a call that is answered in time costs no heap operation.
	 */
	struct sm_hash calls; /* by tag */
	struct sm_list calls_in_order;
	uint64_t last_tag;
	struct sm_timer timer; /* of the hello, then of the calls */
	int64_t timer_ms;      /* SM_NEVER: not set */

	/* Requests from there that have not got their last answer: their handlers hold a pointer.
	 */
	uint64_t owed;
	size_t drain_below;
	sm_peer_cb *drain_cb;
	void *drain_arg;

	enum sm_role role;
	uint8_t proc;
	uint64_t incarnation;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool trusted;
	void *data;
	char why[RPC_WHY_MAX];
};

/* Take over a connected descriptor (also on failure, NULL) and send our hello. No callback before
 * the loop runs. */
struct sm_peer *sm_peer_new(int fd, const struct rpc_owner *ops, void *owner);
/* End it now: down() comes before this returns. The memory goes as soon as nobody needs it. */
void sm_peer_end(struct sm_peer *p);
/* Append a frame for it. SM_E_TOOBIG: a field of *m is above its maximum. */
int sm_peer_put(struct sm_peer *p, uint16_t type, uint16_t flags, uint64_t tag, const void *m);
/* Have it looked at before the loop sleeps. */
void sm_peer_todo(struct sm_peer *p);

/* ---- calls (rpc_call.c) ---- */

void sm_calls_answer(struct sm_peer *p, const struct sm_frame *f);
void sm_calls_timer(struct sm_peer *p);         /* the timer fired */
void sm_calls_fail(struct sm_peer *p, int err); /* all of them, with their callbacks */
bool sm_calls_run_failed(
    void); /* callbacks of calls that failed at once; true when there are more */

/* root, our own user, or one of these. */
bool sm_rpc_uid_ok(uid_t uid, const uid_t *uids, size_t count);

/* The connection layer needs its hook while anybody uses it: counted by connections, links and
 * servers. */
void sm_rpc_use(void);
void sm_rpc_unuse(void);

#endif
