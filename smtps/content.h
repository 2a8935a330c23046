/*
 * A message's content on its way in, whatever brings it: DATA (cmd_data.c), or a series of chunks
 * (BDAT, cmd_bdat.c). From the first byte to the one reply at its end.
 */
#ifndef SS_CONTENT_H
#define SS_CONTENT_H

#include "smtps/complete.h"
#include "smtps/milters.h"
#include "smtps/reply.h"
#include "smtps/scan.h"

struct ss_session;

enum { SS_PIECE_BYTES = 32 * 1024 };

/* Of a transaction, while content comes in: session.txn.in. */
struct ss_content {
	struct ss_scan scan;
	bool completes;           /* submission: its header is */
	char id_text[SM_ID_SIZE]; /* of the transaction, for that */
	struct ss_complete complete;
	int store_err;            /* the store's first error */
	enum ss_reply_name fault; /* the first thing wrong with what came; SS_R_NONE */
	struct ss_word
	    word;       /* a filter's, if that is more than to go on; lives with the transaction */
	uint64_t bytes; /* read from the client */
	/* What the rate is measured from: the beginning, or that of the chunk. */
	int64_t start_ms;
	uint64_t start_bytes;
	bool vanishes; /* a map says so: it is read and looked at as ever, and not kept */
	bool failed;   /* of chunks: one was refused, and so are all that follow */
};

/*
 * The first byte may come: opens the store, puts our Received: in front. False: the transaction is
 * refused at this stage; that has been said, and nothing is left of it. In `chunks` what filters
 * refuse is bad content: its bytes have to be read before that is said.
 */
bool ss_content_begin(struct ss_session *s, bool chunks) SM_YIELDS SM_MUST_CHECK;
/* When the next bytes have to be there: by io_timeout, and by min_data_rate of this piece. */
int64_t ss_content_deadline(const struct ss_session *s);
/* So many bytes will come in one piece: a measured piece of time begins, and what they make too
 * large is refused before they are there. */
void ss_content_announce(struct ss_session *s, uint64_t size) SM_YIELDS;
/*
 * The next piece. What is wrong is noted, and from then on the bytes are thrown away, within the
 * session's budget of junk. 0, or SM_E_TOOBIG: that is spent.
 */
int ss_content_feed(struct ss_session *s, const char *p, size_t n) SM_YIELDS SM_MUST_CHECK;
/* Is something wrong by now? Nothing of it is kept then. */
bool ss_content_is_bad(const struct ss_content *c);
/* Says what is wrong. */
void ss_content_say_bad(struct ss_session *s);
/* The message has come to its end: in LMTP the replies to this command are one for each accepted
 * RCPT (RFC 2033 4.2, 4.3). */
void ss_answer_each(struct ss_session *s);
/* All of it is there: stores it, hands it to qmgr, and says the one reply. The transaction is over.
 */
void ss_content_end(struct ss_session *s) SM_YIELDS;
/* The connection broke, or the client took too long or too much: no message, and no session any
 * more. */
void ss_content_cut(struct ss_session *s, int io_err) SM_YIELDS;

#endif
