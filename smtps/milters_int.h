/* Inside of milters: shared by milters.c (commands, trouble) and milters_content.c (the message).
 */
#ifndef SS_MILTERS_INT_H
#define SS_MILTERS_INT_H

#include "smtps/fields.h"
#include "smtps/macros.h"
#include "smtps/milter.h"
#include "smtps/milters.h"

struct ss_milters {
	size_t count;
	struct ss_milter *v;
	struct ss_word barred; /* nothing of this client is taken any more; GO: it is not so */
	char barred_text[1024];
	bool by_verdict;    /* a filter wants it so; else one is away */
	struct sm_buf data; /* of the event under way */

	/* The message. */
	bool telling;  /* its content is told as it comes */
	size_t stream; /* how many of them are told so; the others when those before are done */
	size_t ours;   /* which field of the stored header is ours */
	struct ss_fields fields;
	char *chunk; /* of the body; NULL: none yet */
	size_t chunk_n;
	struct ss_word word; /* what stopped the telling */
};

/* What a session says when it is nothing more to be said by the filter. */
struct ss_word ss_word_of(enum ss_reply_name r);
/* One filter is told of one event; macros first, if `m` is not NULL. */
struct ss_word ss_milters_ask(struct ss_session *s, struct ss_milter *f, char event,
                              struct sm_str data, const struct ss_macros *m) SM_YIELDS;
/* It broke down at `where`. What follows is up to its flags. */
struct ss_word ss_milters_failed(struct ss_session *s, struct ss_milter *f, const char *where,
                                 int err);
/* What it said to the event, as a word; logged if it is more than to go on. */
struct ss_word ss_milters_word(struct ss_session *s, struct ss_milter *f, char event,
                               const struct ss_milter_said *said) SM_YIELDS;
/* The content is not told any more. */
void ss_milters_forget_content(struct ss_milters *ms);

#endif
