/*
 * Calls between processes over Unix sockets: frames, hello, tags, reconnect.
 *
 * Frame: u32 length of what follows (at most SM_FRAME_MAX), u16 type, u16 flags, u64 tag, body as
 * msg.def says; little-endian. Frames to be sent gather and go out once per loop turn. Both ends
 * check SO_PEERCRED and the hello. Either side may ask. A frame that is malformed closes its
 * connection and nothing else. Requests get their answer in any order. One-way messages have tag 0.
 *
 * Files: rpc_frame.c (bytes), rpc_peer.c (a connection), rpc_call.c (tags and deadlines),
 * rpc_server.c, rpc_link.c. Frames go out in an SM_HOOK_SEND hook: what other hooks send too.
 */
#ifndef SM_RPC_H
#define SM_RPC_H

#include "libsm/co.h"
#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/msg.h"

enum { SM_FRAME_REPLY = 1, SM_FRAME_MORE = 2 };

struct sm_frame {
	uint16_t type, flags;
	uint64_t tag;
	struct sm_str body; /* valid during the callback */
};

/*
 * One connection whose hello has been accepted. The handle is good from on_open/on_up until
 * on_close/on_down has returned, and beyond that for as long as a request from there has not got
 * its (last) answer: who answers late may always do so; an answer to a closed peer is dropped.
 */
struct sm_peer;

/* A request or a one-way message came in. Called on the loop's stack; decode, act, answer with
 * sm_peer_reply now or later. Returning an error closes the peer; this request is not answered
 * then. */
typedef int sm_frame_cb(struct sm_peer *p, const struct sm_frame *f, void *arg);
typedef void sm_peer_cb(struct sm_peer *p, void *arg);

/* What a process says of itself in every hello. Set once at start. */
void sm_rpc_self(enum sm_role role, uint8_t proc);

/* ---- server ---- */
struct sm_rpc_server;
struct sm_rpc_server_conf {
	const char *path;
	unsigned umask;    /* of the socket: 0007 gives 0770 */
	const uid_t *uids; /* who may connect: these, root, and the own user */
	size_t uid_count;
	/* Members of this group may connect as well (it may be a supplementary one of theirs), but
	 * sm_peer_trusted is false for them. (gid_t)-1: none. */
	gid_t read_gid;
	unsigned roles; /* bit mask 1 << SM_ROLE_*: whom to accept */
	size_t max_peers;
	/* After both hellos; and exactly once for each that was opened: no sending any more,
	 * pending replies are void. Either may be NULL. */
	sm_peer_cb *on_open, *on_close;
	sm_frame_cb *on_frame;
	void *arg;
};
/* Refuses (SM_E_BUSY) when another living process listens on the path; replaces a stale socket. */
int sm_rpc_listen(const struct sm_rpc_server_conf *conf, struct sm_rpc_server **out) SM_MUST_CHECK;
void sm_rpc_server_free(struct sm_rpc_server **s);

/* ---- client: a link that reconnects for ever with back-off (10 ms .. 1 s) ---- */
struct sm_link;
struct sm_link_conf {
	const char *path;
	enum sm_role role; /* whom we expect there */
	const uid_t *uids; /* who may be listening there: these, root, and the own user */
	size_t uid_count;
	/* After both hellos: send what has to be first; and exactly once after each on_up. Either
	 * may be NULL. */
	sm_peer_cb *on_up, *on_down;
	sm_frame_cb *on_frame; /* requests and one-way messages from there; NULL: none expected */
	void *arg;
};
struct sm_link *sm_link_open(const struct sm_link_conf *conf);
void sm_link_free(struct sm_link **l);
struct sm_peer *sm_link_peer(struct sm_link *l); /* NULL while down */
/* Wait until it is up. 0, SM_E_TIMEOUT, SM_E_CANCEL. */
int sm_link_wait(struct sm_link *l, int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* This process ends, and maybe the peer does: from now on who waits, or would, gets SM_E_CANCEL
 * while the link is down. */
void sm_link_wait_no_more(struct sm_link *l);
/*
 * sm_rpc over a link: waits until it is up, and asks again when the peer went away, up to the
 * deadline. As sm_rpc; SM_E_TIMEOUT with the link's trouble while it is down. For questions that
 * may be asked twice.
 */
int sm_link_rpc(struct sm_link *l, uint16_t type, const void *m, uint16_t reply_type,
                struct sm_arena *a, void *reply, int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* What was in the way the last time: for logs ("connect: ...", "other build ..."). Never NULL. */
const char *sm_link_trouble(struct sm_link *l);

/* ---- both ---- */
const char *sm_role_name(enum sm_role role); /* "qmgr", for logs */
enum sm_role sm_peer_role(const struct sm_peer *p);
uint8_t sm_peer_proc(const struct sm_peer *p);
uint64_t sm_peer_incarnation(const struct sm_peer *p);
pid_t sm_peer_pid(const struct sm_peer *p);
uid_t sm_peer_uid(const struct sm_peer *p);
/* Root, the own user or one of conf.uids; false: only of the reading group. */
bool sm_peer_trusted(const struct sm_peer *p);
void *sm_peer_data(const struct sm_peer *p); /* owner's pointer, NULL at first */
void sm_peer_set_data(struct sm_peer *p, void *data);
/* Soon: on_close comes from the loop, also when called from a callback of this peer. What was sent
 * before goes out as far as the socket takes it at once. */
void sm_peer_close(struct sm_peer *p, const char *why);
const char *sm_peer_why(const struct sm_peer *p); /* in on_close and after: why it ended */
/* Bytes gathered: for back-pressure of streams, such as answers of the control socket. */
size_t sm_peer_unsent(const struct sm_peer *p);
/* Tell me once when no more than `below` bytes wait to be sent. */
void sm_peer_on_drain(struct sm_peer *p, size_t below, sm_peer_cb *cb, void *arg);

/* `m` is the struct of `type`. One-way; lost when the peer goes away. */
void sm_peer_send(struct sm_peer *p, uint16_t type, const void *m);
/* Answer the request with `tag`. SM_FRAME_MORE: more of them follow. */
void sm_peer_reply(struct sm_peer *p, uint64_t tag, uint16_t flags, uint16_t type, const void *m);

/*
 * Ask; cb comes on the loop's stack, never from within sm_call: err 0 and the frame (decode it
 * there), or SM_E_PEER (connection lost; also when `p` is NULL, as sm_link_peer may give it),
 * SM_E_DIED (the peer crashed, and it was working on this request: last_words.h), SM_E_TIMEOUT,
 * SM_E_TOOBIG (a field of *m above its maximum); f is NULL then. Exactly once, but for answers in
 * several frames: then once for each with SM_FRAME_MORE before the last. `c` is the caller's memory
 * until then; sm_call_cancel forgets it without a callback. The deadline is kept to the millisecond
 * by a timer that a call answered in time does not touch.
 */
struct sm_call {
	struct sm_hash_node node;
	struct sm_list link;
	struct sm_peer *peer; /* NULL: it has failed already, and only the callback is to come */
	uint64_t tag;
	int64_t deadline_ms;
	int err;
	void (*cb)(int err, const struct sm_frame *f, void *arg);
	void *arg;
};
void sm_call(struct sm_call *c, struct sm_peer *p, uint16_t type, const void *m,
             int64_t deadline_ms, void (*cb)(int err, const struct sm_frame *f, void *arg),
             void *arg);
/* Harmless when it was never asked (zeroed memory) or is over. */
void sm_call_cancel(struct sm_call *c);

/*
 * Ask and park until the answer is decoded into *reply (struct of `reply_type`; its strings are
 * copied into `a`). 0, SM_E_PEER (also for `p` NULL), SM_E_TIMEOUT, SM_E_CANCEL, SM_E_PROTO
 * (another type or malformed: the peer is closed), SM_E_TOOBIG (*m, or the arena is full).
 */
int sm_rpc(struct sm_peer *p, uint16_t type, const void *m, uint16_t reply_type, struct sm_arena *a,
           void *reply, int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

#endif
