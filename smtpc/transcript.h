/*
 * What is said in the sessions of one task, line by line in both directions, for an operator who
 * wants to see it: begun when qmgr asks for it, given to qmgr with the results.
 *
 * It never has content (only how many bytes there were), nor what AUTH says after the name of the
 * mechanism, nor the words of replies to that. Lines are ASCII without controls, and cut; of a long
 * dialogue the middle is left out. Loop's thread.
 */
#ifndef SC_TRANSCRIPT_H
#define SC_TRANSCRIPT_H

#include "libsm/msg.h"
#include "libsm/str.h"

struct sc_session;
struct sc_task;
struct sc_transcript;

enum { SC_TRANSCRIPT_MAX = 512 * 1024 }; /* bytes, whatever qmgr asks for: it has to fit a frame */

/* `max_bytes` 0: NULL, which all of these take, and do nothing with. */
struct sc_transcript *sc_transcript_new(size_t max_bytes);
void sc_transcript_free(struct sc_transcript **x);

/* From here on what this session says and hears goes into `x`; NULL: nowhere. */
void sc_transcript_follow(struct sc_session *s, struct sc_transcript *x);
/* A remark. */
void sc_transcript_note(struct sc_transcript *x, const char *fmt, ...) SM_PRINTF(2, 3);
/* A line was read: for sc_session_reply. */
void sc_transcript_heard(struct sc_session *s, struct sm_str line);
/* What is put into the session's stream between these two is content. */
void sc_transcript_content_begin(struct sc_session *s);
void sc_transcript_content_end(struct sc_session *s);

/* All of it as the message to qmgr; texts are borrowed from `x`, the array lives in `a`. */
void sc_transcript_take(const struct sc_transcript *x, struct sm_arena *a,
                        struct sm_msg_transcript *out);

#endif
