/*
 * All filters of a session, in their order: each is told of what happens, and what they say becomes
 * one word for the command that asked. A filter that cannot be talked to is dealt with here, by its
 * flags. Without filters every call is a comparison with NULL.
 */
#ifndef SS_MILTERS_H
#define SS_MILTERS_H

#include "libsm/id.h"
#include "libsm/str.h"
#include "smtps/reply.h"

struct ss_session;
struct ss_milters;

enum ss_word_kind {
	SS_WORD_GO,
	SS_WORD_REFUSE,  /* with code and text; 421: end the session after it */
	SS_WORD_DISCARD, /* of a message: say yes, and let it vanish */
	SS_WORD_CUT,     /* close without a reply */
};
struct ss_word {
	enum ss_word_kind kind;
	int code;
	struct sm_str text; /* good until filters are asked the next time */
};
/* For handlers of commands: says a refusal, or cuts the connection. False: it is neither. */
bool ss_word_stops(struct ss_session *s, struct ss_word w);
/* The connection is to be closed without a reply. */
void ss_word_cut(struct ss_session *s);

/*
 * The client is known, and nobody has refused it yet. Again when it has become another one
 * (XCLIENT): what filters said of the former one is void.
 */
struct ss_word ss_milters_connect(struct ss_session *s) SM_YIELDS;
struct ss_word ss_milters_helo(struct ss_session *s, struct sm_str name) SM_YIELDS;
/* `params`: behind the address, as the client wrote them; `author`: AUTH= of them. The transaction
 * will have that id. */
struct ss_word ss_milters_mail(struct ss_session *s, struct sm_id id, struct sm_str sender,
                               struct sm_str params, struct sm_str author) SM_YIELDS;
struct ss_word ss_milters_rcpt(struct ss_session *s, struct sm_str rcpt, struct sm_str params,
                               bool local) SM_YIELDS;
/* It was refused by us, with what was said last: for filters that want to know. */
void ss_milters_rcpt_refused(struct ss_session *s, struct sm_str rcpt,
                             struct sm_str params) SM_YIELDS;
struct ss_word ss_milters_data(struct ss_session *s) SM_YIELDS;
/* The next piece of what is stored of the content, without what we put in front. */
struct ss_word ss_milters_content(struct ss_session *s, const char *p, size_t n) SM_YIELDS;
/* All of it is in session.txn.content. With SS_WORD_GO the transaction is as the filters want it:
 * content, envelope, held or not. */
struct ss_word ss_milters_end(struct ss_session *s) SM_YIELDS;
/* A command that does not exist. SS_WORD_GO: it is refused as ever. */
struct ss_word ss_milters_unknown(struct ss_session *s, struct sm_str line) SM_YIELDS;
/* The message under way came to an end, whatever it was. */
void ss_milters_reset(struct ss_session *s) SM_YIELDS;
void ss_milters_close(struct ss_session *s) SM_YIELDS;

#endif
