/*
 * The header of a message that is handed in: who is named in it, and what becomes of it.
 * Invariants: a field that is not ours to change comes out byte for byte; no name of a blind copy
 * comes out at all. Pure but for `rcpt`.
 *
 * Of resent mail the newest block of Resent- fields counts (RFC 5322 3.6.6): each name stands once
 * in a block, and new blocks are put in front, so where a name comes again an older one has begun.
 */
#include "libsm/err.h"
#include "libsm/time.h"
#include "misc/sendmail.h"

enum { NAME_MAX_BYTES = 127 }; /* as in smtps/complete.c */

enum {
	COMPLETED = 1, /* addresses without a domain get one */
	RCPT = 2,      /* recipients */
	BLIND = 4,     /* does not go out */
	RESENT = 8,
	R_DATE = 16,
	R_FROM = 32,
};
static const struct kind {
	struct sm_str name;
	unsigned what;
} kinds[] = {
    {SM_STR("From"), COMPLETED},
    {SM_STR("Sender"), COMPLETED},
    {SM_STR("Reply-To"), COMPLETED},
    {SM_STR("To"), COMPLETED | RCPT},
    {SM_STR("Cc"), COMPLETED | RCPT},
    {SM_STR("Bcc"), RCPT | BLIND},
    {SM_STR("Resent-Date"), RESENT | R_DATE},
    {SM_STR("Resent-From"), RESENT | R_FROM | COMPLETED},
    {SM_STR("Resent-Sender"), RESENT | COMPLETED},
    {SM_STR("Resent-To"), RESENT | COMPLETED | RCPT},
    {SM_STR("Resent-Cc"), RESENT | COMPLETED | RCPT},
    {SM_STR("Resent-Bcc"), RESENT | RCPT | BLIND},
    {SM_STR("Resent-Message-ID"), RESENT},
    {SM_STR("Resent-Reply-To"), RESENT | COMPLETED},
};

struct field {
	struct sm_str all, name, body; /* all: with its continuations; body: behind the colon */
	const struct kind *kind;       /* NULL: of no interest */
};

struct heading {
	const struct sl_head *h;
	bool resent;
	unsigned seen;     /* of the newest block: bits of kinds[] by place */
	unsigned missing;  /* R_*, of it */
	size_t block_ends; /* where in the header the second one begins */
};

bool sl_is_field(struct sm_str line)
{
	ptrdiff_t colon = sm_str_chr(sm_str_head(line, NAME_MAX_BYTES + 1), ':');
	size_t n = colon > 0 ? (size_t)colon : 0;

	while (n > 0 && (line.p[n - 1] == ' ' || line.p[n - 1] == '\t'))
		n--;
	for (size_t i = 0; i < n; i++)
		if (line.p[i] <= ' ' || line.p[i] > '~')
			return false;
	return n > 0;
}

/* The field that begins at *at, which moves behind it. */
static struct field next_field(struct sm_str header, size_t *at)
{
	struct sm_str rest = sm_str_from(header, *at);
	struct field f = {.kind = NULL};
	size_t n = 0;
	ptrdiff_t lf, colon;

	do {
		lf = sm_str_chr(sm_str_from(rest, n), '\n');
		n = lf < 0 ? rest.n : n + (size_t)lf + 1;
	} while (n < rest.n && (rest.p[n] == ' ' || rest.p[n] == '\t'));
	*at += n;
	f.all = sm_str_head(rest, n);
	colon = sm_str_chr(f.all, ':');
	if (colon < 0)
		return f;
	f.name = sm_str_trim(sm_str_head(f.all, (size_t)colon));
	f.body = sm_str_from(f.all, (size_t)colon + 1);
	for (size_t i = 0; i < SM_ARRAY_SIZE(kinds) && f.kind == NULL; i++)
		if (sm_str_caseeq(f.name, kinds[i].name))
			f.kind = &kinds[i];
	return f;
}

static bool is_kind(const struct field *f, unsigned what)
{
	return f->kind != NULL && (f->kind->what & what) == what;
}

/* Is it resent, and where does the newest block end? */
static void look(struct heading *g, struct sm_str header)
{
	g->missing = R_DATE | R_FROM;
	g->block_ends = header.n;
	for (size_t at = 0, before = 0; at < header.n; before = at) {
		struct field f = next_field(header, &at);
		unsigned bit = f.kind != NULL ? 1u << (f.kind - kinds) : 0;

		if (!is_kind(&f, RESENT))
			continue;
		g->resent = true;
		if (g->seen & bit) {
			g->block_ends = before;
			return;
		}
		g->seen |= bit;
		g->missing &= ~f.kind->what;
	}
}

/* ---- addresses of a field ---- */

struct completing {
	const struct sl_head *h;
	struct field f;
	size_t done; /* of the body */
};

static int complete_one(void *arg, const struct sl_address *a)
{
	struct completing *c = arg;

	if (a->bare_at == SL_QUALIFIED)
		return 0;
	sm_buf_append(c->h->out, c->f.body.p + c->done, a->bare_at - c->done);
	sm_buf_char(c->h->out, '@');
	sm_buf_str(c->h->out, c->h->domain);
	c->done = a->bare_at;
	return 0;
}

/* What is no list of addresses goes out as it is. */
static void put_completed(const struct sl_head *h, const struct field *f)
{
	struct completing c = {.h = h, .f = *f};
	size_t before = h->out->len;

	sm_buf_append(h->out, f->all.p, f->all.n - f->body.n);
	if (sl_addresses(f->body, complete_one, &c) == 0) {
		sm_buf_str(h->out, sm_str_from(f->body, c.done));
	} else {
		sm_buf_truncate(h->out, before);
		sm_buf_str(h->out, f->all);
	}
}

static int tell_one(void *arg, const struct sl_address *a)
{
	const struct sl_head *h = arg;

	return sm_str_empty(a->spec) ? 0 : h->rcpt(h->arg, a->spec);
}

static int tell_rcpts(const struct sl_head *h, const struct field *f)
{
	int rc = sl_addresses(f->body, tell_one, (void *)(uintptr_t)h);

	return rc == SM_E_SYNTAX ? sm_fail_in(rc, SM_STR_FMT, SM_STR_ARG(f->name)) : rc;
}

/* ---- the whole ---- */

static void put_missing(struct heading *g)
{
	char date[SM_TIME_RFC5322_MAX];

	if (g->missing & R_DATE) {
		sm_time_rfc5322(g->h->wall_s, date);
		sm_buf_printf(g->h->out, "Resent-Date: %s\r\n", date);
	}
	if (g->missing & R_FROM)
		sm_buf_printf(g->h->out, "Resent-From: " SM_STR_FMT "\r\n", SM_STR_ARG(g->h->from));
	g->missing = 0;
}

static int one_field(struct heading *g, const struct field *f, bool in_block)
{
	const struct sl_head *h = g->h;
	bool counts = g->resent ? is_kind(f, RESENT | RCPT) && in_block : is_kind(f, RCPT);
	int rc = h->wants_rcpts && counts ? tell_rcpts(h, f) : 0;

	if (rc != 0)
		return rc;
	if (is_kind(f, RESENT))
		put_missing(g);
	if (is_kind(f, COMPLETED))
		put_completed(h, f);
	else if (!is_kind(f, BLIND))
		sm_buf_str(h->out, f->all);
	return sm_buf_err(h->out);
}

int sl_head(const struct sl_head *h, struct sm_str header)
{
	struct heading g = {.h = h};
	int rc = 0;

	look(&g, header);
	for (size_t at = 0; at < header.n && rc == 0;) {
		bool in_block = at < g.block_ends;
		struct field f = next_field(header, &at);

		rc = one_field(&g, &f, in_block);
	}
	return rc == SM_E_TOOBIG && sm_buf_err(h->out) != 0 ? sm_fail(rc, "header is too large")
	                                                    : rc;
}
