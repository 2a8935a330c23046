/*
 * Content out. Invariant: the final dot is sent only behind the whole content, and a chunk has as
 * many bytes as were announced; any trouble before that breaks the session instead. Coroutines of
 * the loop's thread.
 */
#include "smtpc/data.h"

#include "smtpc/sc.h"
#include "smtpc/task.h"
#include "smtpc/transcript.h"

enum {
	/* qmgr's DSN_handling.max_size of the original, and 100 recipients with all their texts
	 * twice
	 */
	COMPOSED_MAX = (4 + 2) * 1024 * 1024
};

void sc_content_init(struct sc_content *c)
{
	*c = (struct sc_content){.reader = NULL};
	sm_buf_init(&c->composed, COMPOSED_MAX);
	sm_buf_init(&c->original, COMPOSED_MAX);
}

void sc_content_fini(struct sc_content *c)
{
	cdb_read_close(&c->reader);
	sm_buf_fini(&c->composed);
	sm_buf_fini(&c->original);
}

uint64_t sc_content_size(const struct sc_task *t)
{
	return t->content.is_composed ? t->content.composed.len : t->in.size;
}

int sc_content_open(struct sc_task *t)
{
	struct sc_content *c = &t->content;

	c->given = false;
	if (c->is_composed)
		return 0;
	if (c->reader != NULL)
		return cdb_read_rewind(c->reader);
	return cdb_read_open(t->sc->cdb, t->in.content, t->in.content_offset, t->in.size,
	                     &c->reader);
}

static ssize_t next(struct sc_content *c, const char **p)
{
	if (!c->is_composed)
		return cdb_read(c->reader, p);
	if (c->given)
		return 0;
	c->given = true;
	*p = sm_buf_p(&c->composed);
	return (ssize_t)c->composed.len;
}

int sc_data_send(struct sc_task *t, struct sc_session *s, bool *local)
{
	int64_t block_ms = s->timeouts.data_block_ms;
	const char *p;
	ssize_t n;
	int rc = 0;

	*local = false;
	sc_transcript_content_begin(s);
	sm_stream_put_data_begin(&s->stream);
	while ((n = next(&t->content, &p)) > 0) {
		rc = sm_stream_put_data(&s->stream, p, (size_t)n, sc_session_deadline(s, block_ms));
		if (rc != 0)
			break;
	}
	if (n < 0) {
		*local = true;
		rc = (int)n;
	}
	if (rc != 0) {
		s->broken = true;
		return rc;
	}
	sm_stream_put_data_end(&s->stream);
	rc = sm_stream_flush(&s->stream, sc_session_deadline(s, block_ms));
	if (rc != 0)
		s->broken = true;
	return rc;
}

int sc_data_send_chunk(struct sc_task *t, struct sc_session *s, bool *local)
{
	bool text = t->content.is_composed || t->in.body != SM_BODY_BINARYMIME, after_cr = false;
	int64_t block_ms = s->timeouts.data_block_ms;
	uint64_t left = sc_content_size(t);
	const char *p;
	ssize_t n;
	int rc = 0;

	*local = false;
	sm_stream_printf(&s->stream, "BDAT %llu LAST\r\n", (unsigned long long)left);
	sc_transcript_content_begin(s);
	while (rc == 0 && (n = next(&t->content, &p)) > 0) {
		*local = true;
		if ((uint64_t)n > left)
			rc = sm_fail(SM_E_CORRUPT, "content is longer than its size");
		else if (text && sm_bare_line_end(p, (size_t)n, &after_cr))
			rc = sm_fail(SM_E_NOTSUP, "CR or LF by itself in content");
		if (rc != 0)
			break;
		*local = false;
		left -= (uint64_t)n;
		rc = sm_stream_put_raw(&s->stream, p, (size_t)n, sc_session_deadline(s, block_ms));
	}
	if (rc == 0 && (n < 0 || left > 0)) {
		*local = true;
		rc = n < 0 ? (int)n : sm_fail(SM_E_CORRUPT, "content is shorter than its size");
	}
	if (rc == 0 && after_cr)
		rc = sm_fail(SM_E_NOTSUP, "CR by itself in content");
	if (rc == 0)
		rc = sm_stream_flush(&s->stream, sc_session_deadline(s, block_ms));
	if (rc == SM_E_NOTSUP) {
		*local = false;
		t->content.is_unclean = true;
	}
	if (rc != 0)
		s->broken = true;
	return rc;
}
