/* The content of a message on its way to a server: out of the content store, or composed here
 * (DSN). */
#ifndef SC_DATA_H
#define SC_DATA_H

#include "libsm/buf.h"
#include "libcdb/cdb.h"

struct sc_task;
struct sc_session;

struct sc_content {
	struct cdb_reader *reader; /* NULL until it is needed */
	struct sm_buf composed;    /* a DSN; empty otherwise */
	struct sm_buf original;    /* of a DSN: kept while it may be composed anew */
	bool is_composed;
	bool is_8bit, is_utf8; /* composed: it has 8-bit bytes; it needs SMTPUTF8 */
	bool varies;           /* composed: servers with other abilities get another text */
	unsigned allowed;      /* composed: for a server that takes SC_DSN_* */
	bool is_unclean;       /* a CR or LF by itself was found: not for a chunk */
	bool given;            /* the composed text has been given out */
};

void sc_content_init(struct sc_content *c);
void sc_content_fini(struct sc_content *c);
/* Bytes to be sent, without dot-stuffing: for SIZE=. */
uint64_t sc_content_size(const struct sc_task *t);
/* Ready to be read from its beginning. 0 or an error: content cannot be sent now. */
int sc_content_open(struct sc_task *t) SM_YIELDS SM_MUST_CHECK;

/*
 * Send it, dot-stuffed, with the final dot. 0; SM_E_IO and the like with *local true: we cannot
 * read it; else the connection failed. After an error the session is broken: the server must never
 * see an end of data.
 */
int sc_data_send(struct sc_task *t, struct sc_session *s, bool *local) SM_YIELDS SM_MUST_CHECK;
/*
 * The same as one chunk, the last (RFC 3030 2), byte for byte. SM_E_NOTSUP: it is no binary content
 * and has a CR or LF by itself; is_unclean is set, DATA would make CRLF of it.
 */
int sc_data_send_chunk(struct sc_task *t, struct sc_session *s,
                       bool *local) SM_YIELDS SM_MUST_CHECK;

#endif
