/*
 * The changes of one filter to one message. Invariant: nothing of the transaction is touched before
 * ss_edit_apply, and that does all of it or fails; the content has CRLF lines afterwards as before.
 * Session's coroutine.
 */
#include "smtps/edit.h"

#include "libsm/addr.h"
#include "libsm/err.h"
#include "smtps/fields.h"
#include "smtps/params.h"
#include "smtps/session.h"

enum {
	ARENA_FIRST = 1024,
	ARENA_CAP = 4 * 1024 * 1024,
	PARAMS_CAP = 8192,
	HEADER_SLACK = 64 * 1024, /* for what is put in front, and the arena's own needs */
};

void ss_edit_init(struct ss_edit *e, struct ss_session *s)
{
	*e = (struct ss_edit){.s = s, .body_bol = true};
	sm_arena_init(&e->arena, "changes", ARENA_FIRST, ARENA_CAP);
	sm_list_init(&e->header);
	sm_list_init(&e->rcpts);
}

void ss_edit_fini(struct ss_edit *e)
{
	if (e->body != NULL)
		cdb_abort(&e->body);
	sm_arena_fini(&e->arena);
}

/* ---- gathering ---- */

static int no_room(void)
{
	return sm_fail(SM_E_TOOBIG, "changes take too much room");
}

static int count(struct ss_edit *e)
{
	return ++e->count > SS_EDITS_MAX
	           ? sm_fail(SM_E_TOOBIG, "more than %d changes", SS_EDITS_MAX)
	           : 0;
}

int ss_edit_header(struct ss_edit *e, enum ss_header_change_kind kind, uint32_t index,
                   struct sm_str name, struct sm_str value, bool spaced)
{
	struct ss_header_change *c;
	int err = count(e);

	if (err == 0)
		err = ss_header_change_new(&e->arena, kind, index, name, value, spaced, &c);
	if (err == 0)
		sm_list_push(&e->header, &c->link);
	return err;
}

/* The message came with SMTPUTF8: so may addresses of filters be. */
static bool is_utf8(const struct ss_edit *e)
{
	return (e->s->txn.utf8 & SM_UTF8_DECLARED) != 0;
}

/* An address as filters write it: with or without brackets; a local part alone is one of ours. */
static int address(struct ss_edit *e, struct sm_str text, unsigned flags, struct sm_addr *addr)
{
	struct sm_str rest = SM_STR_NONE, path = text;
	int err;

	text = sm_str_trim(text);
	path = text;
	if (text.n == 0 || text.p[0] != '<')
		path = sm_arena_printf(
		    &e->arena, "<%.*s%s%.*s>", SM_STR_ARG(text),
		    text.n > 0 && sm_str_rchr(text, '@') < 0 ? "@" : "",
		    text.n > 0 && sm_str_rchr(text, '@') < 0 ? (int)e->s->ss->hostname.n : 0,
		    e->s->ss->hostname.p);
	if (path.p == NULL)
		return no_room();
	err =
	    sm_addr_path(path, flags | (is_utf8(e) ? SM_ADDR_UTF8_OK : 0), &e->arena, addr, &rest);
	if (err == 0 && sm_str_trim(rest).n > 0)
		err = sm_fail(SM_E_SYNTAX, "something behind the address");
	return err != 0 ? sm_fail_in(err, "address \"%.*s\"", SM_STR_ARG(sm_str_head(text, 80)))
	                : 0;
}

/* As they stand in a command: each with a space before it. Empty: there are none. */
static struct sm_str parameters(struct ss_edit *e, struct sm_str args)
{
	args = sm_str_trim(args);
	return sm_str_empty(args) ? SM_STR("")
	                          : sm_arena_printf(&e->arena, " %.*s", SM_STR_ARG(args));
}

/* Filters are none of those that extensions are hidden from. */
static struct ss_conf known(const struct ss_edit *e)
{
	struct ss_conf c = *e->s->conf;

	c.hidden = 0;
	return c;
}

int ss_edit_rcpt(struct ss_edit *e, bool add, struct sm_str addr, struct sm_str args)
{
	struct ss_rcpt_params params = {.notify = 0};
	struct ss_conf conf = known(e);
	struct ss_edit_rcpt *r;
	struct sm_addr a;
	struct sm_str what;
	int err = count(e);

	if (err == 0)
		err = address(e, addr, 0, &a);
	if (err != 0)
		return err;
	args = parameters(e, args);
	if (args.p == NULL)
		return no_room();
	if (args.n > 0 &&
	    ss_rcpt_params(args, &conf, is_utf8(e), &e->arena, &params, &what) != SS_R_NONE)
		return sm_fail(SM_E_SYNTAX, "parameter %.*s of an added recipient",
		               SM_STR_ARG(sm_str_head(what, 40)));
	r = sm_arena_alloc(&e->arena, sizeof(*r));
	if (r == NULL)
		return no_room();
	*r = (struct ss_edit_rcpt){.add = add};
	r->rcpt.addr = a.mailbox;
	r->rcpt.orcpt = sm_arena_str(&e->arena, params.orcpt);
	r->rcpt.notify = params.notify;
	if (r->rcpt.orcpt.p == NULL)
		return no_room();
	sm_list_push(&e->rcpts, &r->link);
	return 0;
}

int ss_edit_sender(struct ss_edit *e, struct sm_str addr, struct sm_str args)
{
	struct ss_mail_params params = {.size = 0};
	struct ss_conf conf = known(e);
	struct sm_addr a;
	struct sm_str what;
	int err = count(e);

	if (err == 0)
		err = address(e, addr, SM_ADDR_NULL_OK, &a);
	if (err != 0)
		return err;
	args = parameters(e, args);
	if (args.p == NULL)
		return no_room();
	if (args.n > 0 && ss_mail_params(args, &conf, &e->arena, &params, &what) != SS_R_NONE)
		return sm_fail(SM_E_SYNTAX, "parameter %.*s of a changed sender",
		               SM_STR_ARG(sm_str_head(what, 40)));
	e->sender_changed = true;
	e->sender = a.mailbox;
	e->envid = sm_arena_str(&e->arena, params.envid);
	e->ret = params.ret;
	return e->envid.p == NULL ? no_room() : 0;
}

int ss_edit_hold(struct ss_edit *e, struct sm_str reason)
{
	char *p;
	int err = count(e);

	if (err != 0)
		return err;
	reason = sm_str_trim(sm_str_head(reason, SS_EDIT_REASON_MAX));
	if (sm_str_empty(reason))
		reason = SM_STR("quarantined");
	p = sm_arena_alloc(&e->arena, reason.n);
	if (p == NULL)
		return no_room();
	for (size_t i = 0; i < reason.n; i++)
		p[i] = reason.p[i] < ' ' || reason.p[i] > '~' ? '?' : reason.p[i];
	e->hold = true;
	e->reason = sm_str_n(p, reason.n);
	return 0;
}

/* ---- a new body ---- */

static int put_body(struct ss_edit *e, const char *p, size_t n)
{
	if (n == 0)
		return 0;
	e->body_bytes += n;
	if (e->body_bytes > (uint64_t)e->s->conf->max_message_bytes)
		return sm_fail(SM_E_TOOBIG, "new body is larger than max_message_size");
	return cdb_append(e->body, p, n);
}

/* The end of a line, however it was written. */
static int put_line_end(struct ss_edit *e)
{
	e->body_bol = true;
	return put_body(e, "\r\n", 2);
}

int ss_edit_body(struct ss_edit *e, const char *p, size_t n)
{
	const char *end = p + n;
	int err = 0;

	if (e->body == NULL) {
		err = count(e);
		e->body = cdb_scratch(e->s->ss->cdb, e->s->txn.id);
	}
	while (err == 0 && p < end) {
		const char *from = p;

		if (e->body_cr) {
			e->body_cr = false;
			err = put_line_end(e);
			if (*p == '\n')
				p++;
			continue;
		}
		while (p < end && *p != '\r' && *p != '\n')
			p++;
		if (p > from) {
			e->body_bol = false;
			err = put_body(e, from, (size_t)(p - from));
		}
		if (err == 0 && p < end) {
			e->body_cr = *p == '\r';
			if (*p++ == '\n')
				err = put_line_end(e);
		}
	}
	return err;
}

/* What was sent last may have no line end. */
static int end_body(struct ss_edit *e)
{
	if (e->body == NULL || (!e->body_cr && e->body_bol))
		return 0;
	e->body_cr = false;
	return put_line_end(e);
}

/* ---- the content anew ---- */

/* One run over the former content. */
struct rewriting {
	struct ss_edit *e;
	struct cdb_writer *to;
	struct sm_arena arena; /* the former header */
	struct ss_header header;
};

enum { ENOUGH = 1 }; /* the rest of the former content is not wanted */

static int keep_field(void *arg, struct sm_str field)
{
	struct rewriting *w = arg;
	struct sm_str copy = sm_arena_str(&w->arena, field);

	if (copy.p == NULL)
		return sm_fail(SM_E_TOOBIG, "header is too large");
	ss_header_push(&w->header, copy);
	return 0;
}

/* All of the header, changed, goes out at once. */
static int put_header(void *arg, bool blank)
{
	struct rewriting *w = arg;
	bool utf8 = false;
	int err = 0;

	SM_LIST_FOR (c, &w->e->header, struct ss_header_change, link)
		ss_header_apply(&w->header, c);
	for (size_t i = 0; err == 0 && i < w->header.n; i++) {
		utf8 = utf8 || !sm_str_is_ascii(w->header.v[i]);
		err = cdb_append(w->to, w->header.v[i].p, w->header.v[i].n);
	}
	ss_txn_header_is_utf8(w->e->s, utf8);
	if (err == 0 && (blank || w->e->body != NULL))
		err = cdb_append(w->to, "\r\n", 2);
	if (err == 0 && w->e->body != NULL)
		err = ENOUGH;
	return err;
}

static int keep_body(void *arg, const char *p, size_t n)
{
	return cdb_append(((struct rewriting *)arg)->to, p, n);
}

static const struct ss_fields_sink rewriting_sink = {keep_field, put_header, keep_body};

/* Through the fields of the former content. */
static int rewrite_from(struct rewriting *w, struct cdb_reader *r)
{
	struct ss_fields f;
	const char *p;
	ssize_t n;
	int err = 0;

	ss_fields_init(&f, &rewriting_sink, w,
	               (size_t)w->e->s->conf->max_header_bytes + HEADER_SLACK);
	while (err == 0 && (n = cdb_read(r, &p)) != 0)
		err = n < 0 ? (int)n : ss_fields_feed(&f, p, (size_t)n);
	if (err == 0)
		err = ss_fields_finish(&f);
	ss_fields_fini(&f);
	return err == ENOUGH ? 0 : err;
}

static int copy_body(struct rewriting *w)
{
	struct cdb_reader *r;
	const char *p;
	ssize_t n;
	int err = cdb_reread(w->e->body, &r);

	while (err == 0 && (n = cdb_read(r, &p)) != 0)
		err = n < 0 ? (int)n : cdb_append(w->to, p, (size_t)n);
	cdb_read_close(&r);
	return err;
}

static int rewrite(struct ss_edit *e, size_t *ours)
{
	struct cdb_writer **content = &e->s->txn.content, *former = NULL;
	struct cdb_reader *r = NULL;
	struct rewriting w = {.e = e};
	int err;

	err = end_body(e);
	if (err == 0)
		err = cdb_reread(*content, &r);
	if (err == 0)
		err = cdb_rewrite(content, &former);
	if (err == 0) {
		w.to = *content;
		sm_arena_init(&w.arena, "header", ARENA_FIRST,
		              2 * ((size_t)e->s->conf->max_header_bytes + HEADER_SLACK));
		ss_header_init(&w.header, *ours);
		err = rewrite_from(&w, r);
		if (err == 0 && e->body != NULL)
			err = copy_body(&w);
		*ours = w.header.ours;
		ss_header_fini(&w.header);
		sm_arena_fini(&w.arena);
	}
	cdb_read_close(&r);
	if (former != NULL)
		cdb_abort(&former);
	if (err != 0)
		cdb_abort(content);
	return err;
}

/* ---- the envelope ---- */

static bool same(struct sm_str a, struct sm_str b)
{
	return sm_str_caseeq(a, b);
}

static uint32_t find_rcpt(const struct ss_txn *t, struct sm_str addr)
{
	uint32_t i = 0;

	while (i < t->rcpt_count && !same(t->rcpts[i].addr, addr))
		i++;
	return i;
}

/* Will there be room for all recipients? Each of them is in the transaction or in the list. */
static int check_rcpts(const struct ss_edit *e)
{
	int64_t most = e->s->txn.rcpt_count;

	SM_LIST_FOR (r, &e->rcpts, struct ss_edit_rcpt, link)
		most += r->add;
	return most > e->s->conf->max_rcpts_transaction
	           ? sm_fail(SM_E_TOOBIG, "more than max_recipients_per_transaction")
	           : 0;
}

static int change_envelope(struct ss_edit *e)
{
	struct ss_session *s = e->s;
	int err = 0;

	SM_LIST_FOR (r, &e->rcpts, struct ss_edit_rcpt, link) {
		uint32_t at = find_rcpt(&s->txn, r->rcpt.addr);

		if (!r->add && at < s->txn.rcpt_count)
			ss_txn_drop_rcpt(s, at);
		else if (r->add && at == s->txn.rcpt_count)
			err = ss_txn_append_rcpt(s, r->rcpt.addr, r->rcpt.orcpt, r->rcpt.notify);
		if (err != 0)
			return err;
	}
	if (e->sender_changed)
		err = ss_txn_change_sender(s, e->sender, e->envid, e->ret);
	if (err == 0 && e->hold)
		err = ss_txn_hold(s, e->reason);
	return err;
}

int ss_edit_apply(struct ss_edit *e, size_t *ours)
{
	int err = check_rcpts(e);

	if (err == 0 && (!sm_list_empty(&e->header) || e->body != NULL))
		err = rewrite(e, ours);
	if (err == 0)
		err = change_envelope(e);
	if (err != 0 && e->s->txn.content != NULL)
		cdb_abort(&e->s->txn.content);
	return err;
}
