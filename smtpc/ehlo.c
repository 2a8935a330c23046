/* Reads replies to EHLO. Invariant: a keyword with a parameter that makes no sense is one without.
 * Pure; any thread. */
#include "smtpc/ehlo.h"

static void take_size(struct sc_ehlo *e, struct sm_str rest)
{
	uint64_t size;

	if (sm_str_u64(sm_str_word(&rest), 10, UINT64_MAX, &size) == 0)
		e->size_max = size;
}

/*
 *   limits-param = name "=" value        RFC 9422 4
 *   value        = 1*6DIGIT, not 0, of those that are known here
 */
static void take_limits(struct sc_ehlo *e, struct sm_str rest)
{
	enum { DIGITS = 6 };

	while (rest.n > 0) {
		struct sm_str value, name = sm_str_split(sm_str_word(&rest), '=', &value);
		uint64_t number;

		if (value.n > DIGITS || sm_str_u64(value, 10, UINT64_MAX, &number) != 0 ||
		    number == 0)
			continue;
		if (sm_str_caseeq(name, SM_STR("MAILMAX")))
			e->mail_max = number;
		else if (sm_str_caseeq(name, SM_STR("RCPTMAX")))
			e->rcpt_max = number;
		else if (sm_str_caseeq(name, SM_STR("RCPTDOMAINMAX")))
			e->rcpt_domain_max = number;
	}
}

const struct sc_xforward_name sc_xforward_names[] = {
    {SM_STR("NAME"), SC_XFORWARD_NAME},     {SM_STR("ADDR"), SC_XFORWARD_ADDR},
    {SM_STR("PORT"), SC_XFORWARD_PORT},     {SM_STR("PROTO"), SC_XFORWARD_PROTO},
    {SM_STR("HELO"), SC_XFORWARD_HELO},     {SM_STR("IDENT"), SC_XFORWARD_IDENT},
    {SM_STR("SOURCE"), SC_XFORWARD_SOURCE},
};
const size_t sc_xforward_count = SM_ARRAY_SIZE(sc_xforward_names);

/* XFORWARD_README of Postfix: the attributes that it takes */
static void take_xforward(struct sc_ehlo *e, struct sm_str rest)
{
	while (rest.n > 0) {
		struct sm_str word = sm_str_word(&rest);

		for (size_t i = 0; i < sc_xforward_count; i++)
			if (sm_str_caseeq(word, sc_xforward_names[i].word))
				e->xforward |= sc_xforward_names[i].bit;
	}
}

static void take_mechanisms(struct sc_ehlo *e, struct sm_str rest)
{
	sm_str_cut(sm_str_trim(rest), e->mechanisms, sizeof(e->mechanisms));
}

/* One line: keyword and its parameters. */
static void take_line(struct sc_ehlo *e, struct sm_str line)
{
	static const struct {
		struct sm_str word;
		unsigned cap;
		void (*params)(struct sc_ehlo *e, struct sm_str rest);
	} words[] = {
	    {SM_STR("PIPELINING"), SC_CAP_PIPELINING, NULL},
	    {SM_STR("8BITMIME"), SC_CAP_8BITMIME, NULL},
	    {SM_STR("DSN"), SC_CAP_DSN, NULL},
	    {SM_STR("SIZE"), SC_CAP_SIZE, take_size},
	    {SM_STR("CHUNKING"), SC_CAP_CHUNKING, NULL},
	    {SM_STR("BINARYMIME"), SC_CAP_BINARYMIME, NULL},
	    {SM_STR("SMTPUTF8"), SC_CAP_SMTPUTF8, NULL},
	    {SM_STR("LIMITS"), SC_CAP_LIMITS, take_limits},
	    {SM_STR("XFORWARD"), SC_CAP_XFORWARD, take_xforward},
	    {SM_STR("STARTTLS"), SC_CAP_STARTTLS, NULL},
	    {SM_STR("AUTH"), SC_CAP_AUTH, take_mechanisms},
	};
	struct sm_str word = sm_str_word(&line);

	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++) {
		if (!sm_str_caseeq(word, words[i].word))
			continue;
		e->caps |= words[i].cap;
		if (words[i].params != NULL)
			words[i].params(e, line);
	}
}

void sc_ehlo_parse(struct sm_str text, struct sc_ehlo *out)
{
	*out = (struct sc_ehlo){.caps = 0};
	(void)sm_str_split(text, '\n', &text); /* the server's name */
	while (text.p != NULL)
		take_line(out, sm_str_split(text, '\n', &text));
}

void sc_ehlo_ignore(struct sc_ehlo *e, unsigned caps)
{
	e->caps &= ~caps;
	if (caps & SC_CAP_SIZE)
		e->size_max = 0;
	if (caps & SC_CAP_LIMITS)
		e->mail_max = e->rcpt_max = e->rcpt_domain_max = 0;
	if (caps & SC_CAP_XFORWARD)
		e->xforward = 0;
	if (caps & SC_CAP_AUTH)
		e->mechanisms[0] = '\0';
}
