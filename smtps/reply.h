/*
 * What smtps says: replies by name (replies.def) or by the verdict of another process, always
 * through one place that remembers the code for log and limits and softens it when soft_bounce is
 * set. replies.c has what needs no session.
 */
#ifndef SS_REPLY_H
#define SS_REPLY_H

#include "libsm/buf.h"

enum ss_reply_name {
	SS_R_NONE,
#define X(name, code, text) SS_R_##name,
#define X_LINES             X
#include "smtps/replies.def"
#undef X
#undef X_LINES
	SS_R_COUNT_
};

/* Code and text as in the table; the text has a NUL behind it. */
int ss_reply_code(enum ss_reply_name r);
struct sm_str ss_reply_text(enum ss_reply_name r);
/* What sm_reply_put makes of these; empty for those of several lines. */
struct sm_str ss_reply_wire(enum ss_reply_name r);

/* soft_bounce: 55z 5.a.b becomes 45z 4.a.b. `text` is changed in `mem` (at least as large as it)
 * when needed. */
int ss_reply_soften(int code, struct sm_str *text, char *mem, size_t size);

/* Without enhanced codes, for who was not offered any: appends all lines of `text`. */
void ss_reply_plain(int code, struct sm_str text, struct sm_buf *out);

/* `text`, or a general one when it is empty. */
struct sm_str ss_reply_general(int code, struct sm_str text);

struct ss_session;
/* Put it into the session's output. */
void ss_say(struct ss_session *s, enum ss_reply_name r);
/* With a detail of ours (not the client's): "text: detail". */
void ss_say_detail(struct ss_session *s, enum ss_reply_name r, const char *detail);
/* Any code and text, e.g. a verdict's; an empty text gets a general one. */
void ss_say_text(struct ss_session *s, int code, struct sm_str text);

#endif
