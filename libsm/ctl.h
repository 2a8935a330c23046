/*
 * Answers on the control sockets of qmgr and smar: lines of JSON, each an object with a type, sent
 * in pieces, and an end with an exit status for the shell. Which lines there are: doc/formats.md.
 */
#ifndef SM_CTL_H
#define SM_CTL_H

#include <sys/types.h>

#include "libsm/buf.h"
#include "libsm/rpc.h"

/* Exit statuses. */
enum {
	SM_CTL_OK = 0,
	SM_CTL_NOTHING = 1, /* nothing is such as it was asked for */
	SM_CTL_USAGE = 64,
	SM_CTL_LATER = 75, /* it cannot be done now */
	SM_CTL_NOPERM = 77
};

#define SM_CTL_PIECE_BYTES (32u * 1024) /* more than that should be sent */

/* A line: begin, fields, end. Keys are ours and need no escapes; strings become ASCII, so that what
 * is shown as it comes can do nothing to a terminal. */
void sm_ctl_begin(struct sm_buf *b, const char *type);
void sm_ctl_line(struct sm_buf *b);
void sm_ctl_str(struct sm_buf *b, const char *key, struct sm_str s);
void sm_ctl_num(struct sm_buf *b, const char *key, int64_t n);
void sm_ctl_bool(struct sm_buf *b, const char *key, bool yes);
void sm_ctl_null(struct sm_buf *b, const char *key);
/* Objects, or strings, in an array. */
void sm_ctl_array(struct sm_buf *b, const char *key);
void sm_ctl_open(struct sm_buf *b);
void sm_ctl_close(struct sm_buf *b);
void sm_ctl_item(struct sm_buf *b, struct sm_str s);
void sm_ctl_array_end(struct sm_buf *b);

/* Send what is there, and empty it; more follows. */
void sm_ctl_send(struct sm_peer *peer, uint64_t tag, struct sm_buf *b);
/* That was all; `why` is cut to what the message can hold. */
void sm_ctl_end(struct sm_peer *peer, uint64_t tag, uint8_t status, const char *why);

/* Who may look through a control socket: the group of the directory that it is in. (gid_t)-1: there
 * is none. */
gid_t sm_ctl_group(struct sm_str socket);

#endif
