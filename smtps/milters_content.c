/*
 * A message on its way past the filters. As it comes it is told to the first of them, up to and
 * including the first that may change it; each of the others is told what those before have made of
 * it, read back from the store. Invariants: a filter's changes are applied all together, after its
 * last word, or not at all; our own Received: is shown to nobody. Session's coroutine.
 */
#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/content.h"
#include "smtps/edit.h"
#include "smtps/milters_int.h"
#include "smtps/session.h"

enum { FIELD_SLACK = 4096, STOP = 1 };

static const struct ss_word go = {.kind = SS_WORD_GO};

static bool takes_part(const struct ss_milter *f)
{
	return f->state == SS_ML_READY || f->state == SS_ML_MESSAGE;
}

/* ---- telling ---- */

/* Who is told, and of what: from the fields of a stream. */
struct telling {
	struct ss_session *s;
	size_t from, to; /* filters */
	size_t skip;     /* this field is ours; SIZE_MAX: none is */
	size_t fields;
};

/* The event for each of them; STOP when one has said more than to go on. */
static int tell(struct telling *t, char event, struct sm_str data, const struct ss_macros *m)
{
	struct ss_milters *ms = t->s->milters;

	for (size_t i = t->from; ms->word.kind == SS_WORD_GO && i < t->to; i++)
		ms->word = ss_milters_ask(t->s, &ms->v[i], event, data, m);
	return ms->word.kind == SS_WORD_GO ? 0 : STOP;
}

/*
 * Name and value, a NUL behind each; the value's lines by LF, without the last. Of the value, what
 * stands before a NUL of the client's, and what libmilter takes: after more it ends the session,
 * and whoever sends it would be rid of the filter.
 */
static void put_header(struct sm_buf *b, struct sm_str name, struct sm_str value, bool spaced)
{
	ptrdiff_t nul = sm_str_chr(value, '\0');

	if (nul >= 0)
		value = sm_str_head(value, (size_t)nul);
	if (!spaced && value.n > 0 && value.p[0] == ' ')
		value = sm_str_from(value, 1);
	name = sm_str_head(name, SS_MP_CHUNK - 2);
	value = sm_str_head(value, SS_MP_CHUNK - 2 - name.n);
	sm_buf_reset(b);
	ss_mp_text(b, name);
	while (value.n > 0 && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
		value.n--;
	for (size_t i = 0; i < value.n; i++) {
		const char *cr = memchr(value.p + i, '\r', value.n - i);
		size_t n = (size_t)((cr != NULL ? cr : value.p + value.n) - (value.p + i));

		sm_buf_append(b, value.p + i, n);
		i += n;
		/* The LF behind it is part of the next piece. */
	}
	sm_buf_char(b, '\0');
}

static int on_field(void *arg, struct sm_str field)
{
	struct telling *t = arg;
	struct ss_milters *ms = t->s->milters;
	struct sm_str name, value;

	if (t->fields++ == t->skip || !ss_field_split(field, &name, &value))
		return 0;
	for (size_t i = t->from; ms->word.kind == SS_WORD_GO && i < t->to; i++) {
		if (!ss_milter_wants(&ms->v[i], SS_MP_HEADER))
			continue;
		put_header(&ms->data, name, value, (ms->v[i].steps & SS_MS_LEADSPC) != 0);
		ms->word =
		    ss_milters_ask(t->s, &ms->v[i], SS_MP_HEADER, sm_buf_view(&ms->data), NULL);
	}
	return ms->word.kind == SS_WORD_GO ? 0 : STOP;
}

static int on_header_end(void *arg, bool blank SM_UNUSED)
{
	struct ss_macros m = {.id = {0}};

	return tell(arg, SS_MP_EOH, SM_STR(""), &m);
}

static int tell_chunk(struct telling *t)
{
	struct ss_milters *ms = t->s->milters;
	struct sm_str chunk = sm_str_n(ms->chunk, ms->chunk_n);

	ms->chunk_n = 0;
	return chunk.n > 0 ? tell(t, SS_MP_BODY, chunk, NULL) : 0;
}

static bool body_wanted(const struct telling *t)
{
	for (size_t i = t->from; i < t->to; i++)
		if (ss_milter_wants(&t->s->milters->v[i], SS_MP_BODY))
			return true;
	return false;
}

static int on_body(void *arg, const char *p, size_t n)
{
	struct telling *t = arg;
	struct ss_milters *ms = t->s->milters;
	int rc = 0;

	if (!body_wanted(t))
		return 0;
	if (ms->chunk == NULL)
		ms->chunk = sm_malloc(SS_MP_CHUNK);
	while (rc == 0 && n > 0) {
		size_t part = SM_MIN(n, SS_MP_CHUNK - ms->chunk_n);

		memcpy(ms->chunk + ms->chunk_n, p, part);
		ms->chunk_n += part;
		p += part;
		n -= part;
		if (ms->chunk_n == SS_MP_CHUNK)
			rc = tell_chunk(t);
	}
	return rc;
}

static const struct ss_fields_sink telling_sink = {on_field, on_header_end, on_body};

static struct telling streaming(struct ss_session *s)
{
	return (struct telling){.s = s, .to = s->milters->stream, .skip = SIZE_MAX};
}

/* ---- as it comes ---- */

/* Nobody before the last of these changes content: all of them see the same. */
static size_t stream_length(const struct ss_milters *ms)
{
	for (size_t i = 0; i < ms->count; i++)
		if (takes_part(&ms->v[i]) && (ms->v[i].actions & SS_MF_CONTENT) != 0)
			return i + 1;
	return ms->count;
}

static size_t field_max(const struct ss_session *s)
{
	return (size_t)s->conf->max_header_bytes + (size_t)s->conf->max_line_bytes + FIELD_SLACK;
}

struct ss_word ss_milters_data(struct ss_session *s)
{
	struct ss_milters *ms = s->milters;
	struct ss_macros m = {.id = {0}};
	struct ss_word w;

	if (ms == NULL)
		return go;
	w = ms->barred;
	for (size_t i = 0; w.kind == SS_WORD_GO && i < ms->count; i++)
		w = ss_milters_ask(s, &ms->v[i], SS_MP_DATA, SM_STR(""), &m);
	if (w.kind != SS_WORD_GO)
		return w;
	ms->stream = stream_length(ms);
	ms->ours = 0;
	ms->word = go;
	ms->telling = true;
	ss_fields_init(&ms->fields, &telling_sink, NULL, field_max(s));
	return go;
}

void ss_milters_forget_content(struct ss_milters *ms)
{
	if (ms->telling)
		ss_fields_fini(&ms->fields);
	SM_FREE(ms->chunk);
	ms->chunk_n = 0;
	ms->telling = false;
}

/* What the feeding came to. */
static struct ss_word after(struct ss_milters *ms, int rc)
{
	if (rc == STOP)
		return ms->word;
	/* What comes from the client is no longer than the scanner lets pass: a filter made it so.
	 */
	return rc == 0 ? go : ss_word_of(SS_R_FILTER_CHANGE);
}

struct ss_word ss_milters_content(struct ss_session *s, const char *p, size_t n)
{
	struct ss_milters *ms = s->milters;
	struct telling t;

	if (ms == NULL || !ms->telling)
		return go;
	t = streaming(s);
	ms->fields.arg = &t;
	return after(ms, ss_fields_feed(&ms->fields, p, n));
}

static struct ss_word finish_stream(struct ss_session *s)
{
	struct ss_milters *ms = s->milters;
	struct telling t = streaming(s);
	int rc;

	ms->fields.arg = &t;
	rc = ss_fields_finish(&ms->fields);
	if (rc == 0)
		rc = tell_chunk(&t);
	return after(ms, rc);
}

/* ---- to those that come later ---- */

/* Our own trouble: the message cannot be taken now. */
static struct ss_word store_trouble(struct ss_session *s, int err)
{
	sm_log(SM_ERROR, "ss.store", "ss_sess=%I ss_ta=%I error=%E", s->id, s->txn.id, err);
	return ss_word_of(err == SM_E_FULL ? SS_R_DISK_FULL : SS_R_DISK_ERROR);
}

/* The i-th is told what there is by now. */
static struct ss_word tell_again(struct ss_session *s, size_t i)
{
	struct ss_milters *ms = s->milters;
	struct telling t = {.s = s, .from = i, .to = i + 1, .skip = ms->ours};
	struct ss_fields f;
	struct cdb_reader *r;
	struct ss_word w;
	const char *p;
	ssize_t n = 0;
	int rc = cdb_reread(s->txn.content, &r);

	if (rc != 0)
		return store_trouble(s, rc);
	ms->word = go;
	ss_fields_init(&f, &telling_sink, &t, field_max(s));
	while (rc == 0 && (n = cdb_read(r, &p)) > 0)
		rc = ss_fields_feed(&f, p, (size_t)n);
	if (rc == 0 && n == 0)
		rc = ss_fields_finish(&f);
	if (rc == 0 && n == 0)
		rc = tell_chunk(&t);
	w = n < 0 ? store_trouble(s, (int)n) : after(ms, rc);
	ss_fields_fini(&f);
	cdb_read_close(&r);
	return w;
}

/* ---- the end ---- */

static struct ss_word cannot_change(struct ss_session *s, const struct ss_milter *f, int err)
{
	if (err != SM_E_SYNTAX && err != SM_E_TOOBIG && err != SM_E_NOTSUP)
		return store_trouble(s, err);
	sm_log(SM_ERROR, "ss.milter", "ss_sess=%I ss_ta=%I milter=%S where=final stat=%s error=%E",
	       s->id, s->txn.id, f->conf->where.name, "bad_change", err);
	return ss_word_of(SS_R_FILTER_CHANGE);
}

static unsigned length(const struct sm_list *l)
{
	unsigned n = 0;

	for (const struct sm_list *e = l->next; e != l; e = e->next)
		n++;
	return n;
}

static void log_changes(const struct ss_session *s, const struct ss_milter *f,
                        const struct ss_edit *e)
{
	sm_log(SM_INFO, "ss.milter",
	       "ss_sess=%I ss_ta=%I milter=%S where=final stat=%s headers=%?u rcpts=%?u mail=%?S "
	       "bytes=%?llu reason=%?S",
	       s->id, s->txn.id, f->conf->where.name, "changed", length(&e->header),
	       length(&e->rcpts),
	       e->sender_changed ? sm_str_empty(e->sender) ? SM_STR("<>") : e->sender : SM_STR_NONE,
	       (unsigned long long)e->body_bytes, e->reason);
}

/* It was told everything: its changes, and what becomes of the message. */
static struct ss_word end_of(struct ss_session *s, struct ss_milter *f)
{
	struct ss_macros m = {.id = {0}};
	struct ss_milter_said said;
	struct ss_edit e;
	struct ss_word w;
	unsigned changes;
	int err;

	ss_macros_put(s, &m, SS_MP_EOM,
	              f->list[SS_MG_EOM].p != NULL ? f->list[SS_MG_EOM]
	                                           : ss_macros_default(SS_MG_EOM),
	              &f->out);
	ss_edit_init(&e, s);
	err = ss_milter_end(f, &e, &changes, &said);
	if (err != 0) {
		w = ss_milters_failed(s, f, "final", err);
		/* It had decided that this message must not go on as it is. */
		if (w.kind == SS_WORD_GO && changes > 0)
			w = ss_word_of(SS_R_FILTER_AWAY);
	} else {
		w = ss_milters_word(s, f, SS_MP_EOM, &said);
	}
	if (w.kind == SS_WORD_GO && changes > 0) {
		err = e.trouble != 0 ? e.trouble : ss_edit_apply(&e, &s->milters->ours);
		if (err != 0)
			w = cannot_change(s, f, err);
		else
			log_changes(s, f, &e);
	}
	ss_edit_fini(&e);
	return w;
}

/* Of what is committed, where that is not what MAIL and RCPT said: rcvrenv makes the envelope from
 * it again. */
static void log_envelope(const struct ss_session *s)
{
	const struct ss_txn *t = &s->txn;

	for (uint32_t i = 0; t->envelope_changed && i < t->rcpt_count; i++)
		sm_log(SM_INFO, "ss.envelope",
		       "ss_sess=%I ss_ta=%I mail=<%S> ret=%?u envid=%?S nrcpts=%u rcpt=<%S> "
		       "rcpt_idx=%u orcpt=%?S notify=%?u",
		       s->id, t->id, t->sender, (unsigned)t->ret, t->envid, t->rcpt_count,
		       t->rcpts[i].addr, i, t->rcpts[i].orcpt, (unsigned)t->rcpts[i].notify);
}

struct ss_word ss_milters_end(struct ss_session *s)
{
	struct ss_milters *ms = s->milters;
	struct ss_word w;

	if (ms == NULL || !ms->telling)
		return go;
	w = finish_stream(s);
	for (size_t i = 0; w.kind == SS_WORD_GO && i < ms->count; i++) {
		if (takes_part(&ms->v[i]) && i >= ms->stream)
			w = tell_again(s, i);
		if (w.kind == SS_WORD_GO && takes_part(&ms->v[i]))
			w = end_of(s, &ms->v[i]);
	}
	if (w.kind == SS_WORD_GO && ms->barred.kind != SS_WORD_GO)
		w = ms->barred;
	if (w.kind != SS_WORD_GO)
		return w;
	log_envelope(s);
	return s->txn.rcpt_count > 0 ? go : (struct ss_word){.kind = SS_WORD_DISCARD};
}
