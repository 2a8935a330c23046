/*
 * Whose mail it is and to whom it goes. Invariant: every address that is kept went through the one
 * parser of SMTP and has a domain; nobody is in the list twice. One thread.
 *
 * What the caller says of himself is not checked: smtps learns from the kernel who he is, and
 * writes that down.
 */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libsm/addr.h"
#include "libsm/base64.h"
#include "libsm/err.h"
#include "libsm/utf8.h"
#include "misc/sendmail.h"

enum {
	NAME_MAX_BYTES = 200, /* of -F or gecos: what is longer is cut */
	WORD_BYTES = 45,      /* in an encoded word, which is 75 at most (RFC 2047 2) */
	ARENA_FIRST = 16384,
	ARENA_CAP = 16 * 1024 * 1024,
};

/* ---- the name ---- */

static bool is_phrase_char(char c)
{
	return sm_isalnum(c) || c == ' ' || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static void put_quoted(struct sm_buf *b, struct sm_str name)
{
	sm_buf_char(b, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			sm_buf_char(b, '\\');
		sm_buf_char(b, name.p[i]);
	}
	sm_buf_char(b, '"');
}

/* Whole characters in each word. */
static void put_encoded(struct sm_buf *b, struct sm_str name)
{
	const char *sep = "";

	while (name.n > 0) {
		struct sm_str rest = name, tried = name;

		while (tried.n > 0 && sm_utf8_next(&tried) >= 0 && name.n - tried.n <= WORD_BYTES)
			rest = tried;
		sm_buf_printf(b, "%s=?UTF-8?B?", sep);
		sm_base64_encode(b, sm_str_head(name, name.n - rest.n));
		sm_buf_cstr(b, "?=");
		sep = "\r\n\t";
		name = rest;
	}
}

/* On one line, without what a terminal or a header would obey; at most NAME_MAX_BYTES, valid UTF-8
 * or ASCII. */
static size_t clean(struct sm_str name, char out[NAME_MAX_BYTES])
{
	bool utf8 = sm_utf8_valid(name);
	size_t n = 0;

	while (name.n > 0) {
		struct sm_str next = name;
		int32_t c = utf8 ? sm_utf8_next(&next) : (unsigned char)*name.p;
		size_t bytes = utf8 ? name.n - next.n : 1;

		if (n + bytes > NAME_MAX_BYTES)
			break;
		if (c < ' ' || (c >= 0x7f && c < 0xa0))
			out[n++] = ' ';
		else if (c < 0x7f || utf8) {
			memcpy(out + n, name.p, bytes);
			n += bytes;
		} else {
			out[n++] = '?'; /* nobody knows the character set */
		}
		name = sm_str_from(name, bytes);
	}
	return n;
}

void sl_phrase(struct sm_buf *b, struct sm_str name)
{
	char text[NAME_MAX_BYTES];
	struct sm_str s = sm_str_trim(sm_str_n(text, clean(name, text)));
	bool plain = true;

	for (size_t i = 0; i < s.n; i++)
		plain = plain && is_phrase_char(s.p[i]);
	/* "=?" would be read as an encoded word. */
	if (!sm_str_is_ascii(s) || memmem(s.p, s.n, "=?", 2) != NULL)
		put_encoded(b, s);
	else if (plain)
		sm_buf_str(b, s);
	else
		put_quoted(b, s);
}

/* The first part of gecos; "&" is the account's name in capitals, as finger has it. */
static void put_gecos(struct sm_buf *b, const struct passwd *pw)
{
	for (const char *p = pw->pw_gecos; p != NULL && *p != '\0' && *p != ','; p++) {
		if (*p != '&') {
			sm_buf_char(b, *p);
			continue;
		}
		for (const char *q = pw->pw_name; *q != '\0'; q++)
			sm_buf_char(b,
			            q == pw->pw_name && sm_isalpha(*q) ? (char)(*q & ~0x20) : *q);
	}
}

/* ---- addresses ---- */

/* The mailbox, with a domain. */
static int complete(struct sl_mail *m, struct sm_str spec, struct sm_str *out)
{
	struct sm_str path = sm_arena_printf(&m->arena, "<" SM_STR_FMT ">", SM_STR_ARG(spec));
	struct sm_str full, rest;
	struct sm_addr a;
	int rc;

	if (path.p == NULL)
		return sm_fail(SM_E_TOOBIG, "too many addresses");
	rc = sm_addr_path(path, SM_ADDR_UTF8_OK | SM_ADDR_NO_DOMAIN_OK, &m->arena, &a, &rest);
	if (rc == 0 && rest.n > 0)
		rc = sm_fail(SM_E_SYNTAX, "is no address");
	if (rc == 0 && sm_str_empty(a.domain)) {
		full = sm_arena_printf(&m->arena, SM_STR_FMT "@" SM_STR_FMT, SM_STR_ARG(a.mailbox),
		                       SM_STR_ARG(m->domain));
		rc = full.p == NULL ? sm_fail(SM_E_TOOBIG, "too many addresses")
		                    : sm_addr_mailbox(full, &m->arena, &a);
	}
	if (rc != 0)
		return sm_fail_in(rc, "%.100s", sm_arena_str(&m->arena, spec).p);
	*out = sm_arena_str(&m->arena, a.mailbox);
	return out->p != NULL ? 0 : sm_fail(SM_E_TOOBIG, "too many addresses");
}

static bool is_in(const struct sm_str *list, size_t n, struct sm_str mailbox)
{
	for (size_t i = 0; i < n; i++)
		if (sm_str_caseeq(list[i], mailbox))
			return true;
	return false;
}

static bool grows(size_t n)
{
	return (n & (n - 1)) == 0;
}

static void push(struct sm_str **list, size_t *n, struct sm_str mailbox)
{
	if (grows(*n))
		*list = sm_realloc(*list, *n == 0 ? 1 : *n * 2, sizeof(**list));
	(*list)[(*n)++] = mailbox;
}

static int too_many(const struct sl_mail *m)
{
	return sm_fail(SM_E_TOOBIG, "more than %lld recipients", (long long)m->conf->max_rcpts);
}

int sl_rcpt_add(struct sl_mail *m, struct sm_str spec)
{
	struct sm_str mailbox;
	int rc = complete(m, spec, &mailbox);

	if (rc != 0 || is_in(m->except, m->except_count, mailbox) ||
	    is_in(m->rcpts, m->rcpt_count, mailbox))
		return rc;
	if (m->rcpt_count == (size_t)m->conf->max_rcpts)
		return too_many(m);
	m->utf8 = m->utf8 || !sm_str_is_ascii(mailbox);
	push(&m->rcpts, &m->rcpt_count, mailbox);
	return 0;
}

static int add_except(struct sl_mail *m, struct sm_str spec)
{
	struct sm_str mailbox;
	int rc = complete(m, spec, &mailbox);

	if (rc != 0)
		return rc;
	if (m->except_count == (size_t)m->conf->max_rcpts)
		return too_many(m);
	push(&m->except, &m->except_count, mailbox);
	return 0;
}

static int add_word(void *arg, const struct sl_address *a)
{
	struct sl_mail *m = arg;

	if (sm_str_empty(a->spec))
		return sm_fail(SM_E_SYNTAX, "<> is no recipient");
	return m->opts->from_header ? add_except(m, a->spec) : sl_rcpt_add(m, a->spec);
}

static int add_words(struct sl_mail *m)
{
	int rc = 0;

	for (size_t i = 0; i < m->opts->count && rc == 0; i++) {
		struct sm_str word = sm_str(m->opts->args[i]);

		rc = sl_addresses(word, add_word, m);
		if (rc == SM_E_SYNTAX)
			rc = sm_fail_in(rc, "%.60s", m->opts->args[i]);
	}
	return rc;
}

/* ---- the sender ---- */

struct one {
	struct sl_mail *m;
	unsigned count;
};

static int take_sender(void *arg, const struct sl_address *a)
{
	struct one *one = arg;

	one->count++;
	if (sm_str_empty(a->spec)) {
		one->m->sender = SM_STR("");
		return 0;
	}
	return complete(one->m, a->spec, &one->m->sender);
}

static int set_sender(struct sl_mail *m, const struct passwd *pw)
{
	struct one one = {.m = m};
	char number[32];
	int rc;

	if (m->opts->sender == NULL) {
		(void)snprintf(number, sizeof(number), "uid%u", (unsigned)getuid());
		return complete(m, sm_str(pw != NULL ? pw->pw_name : number), &m->sender);
	}
	m->sender = SM_STR("");
	if (m->opts->sender[0] == '\0')
		return 0;
	rc = sl_addresses(sm_str(m->opts->sender), take_sender, &one);
	if (rc == 0 && one.count != 1)
		rc = sm_fail(SM_E_SYNTAX, "is not one address");
	return rc != 0 ? sm_fail_in(rc, "-f %.60s", m->opts->sender) : 0;
}

static void set_phrase(struct sl_mail *m, const struct passwd *pw)
{
	struct sm_buf name, phrase;

	sm_buf_init(&name, 4096);
	sm_buf_init(&phrase, 4096);
	if (m->opts->name != NULL)
		sm_buf_str(&name, sm_str_head(sm_str(m->opts->name), 4000));
	else if (pw != NULL)
		put_gecos(&name, pw);
	sl_phrase(&phrase, sm_buf_view(&name));
	m->phrase = sm_arena_str(&m->arena, sm_buf_view(&phrase));
	sm_buf_fini(&name);
	sm_buf_fini(&phrase);
}

int sl_mail_init(struct sl_mail *m, const struct sl_opts *o, const struct sl_conf *c,
                 struct sm_str hostname)
{
	const struct passwd *pw = getpwuid(getuid());
	int rc;

	*m = (struct sl_mail){.opts = o, .conf = c, .hostname = hostname, .fd = -1};
	m->domain = sm_str_empty(c->qualify_domain) ? hostname : c->qualify_domain;
	sm_arena_init(&m->arena, "mail", ARENA_FIRST, ARENA_CAP);
	rc = set_sender(m, pw);
	if (rc != 0)
		return rc;
	m->utf8 = !sm_str_is_ascii(m->sender);
	set_phrase(m, pw);
	return add_words(m);
}

void sl_mail_fini(struct sl_mail *m)
{
	if (m->fd != -1)
		(void)close(m->fd);
	SM_FREE(m->rcpts);
	SM_FREE(m->except);
	sm_arena_fini(&m->arena);
}
