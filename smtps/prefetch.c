/*
 * Look-ahead over buffered RCPT commands. Invariant: session.prefetch holds questions in the order
 * of the buffered lines; as soon as a command does not match the first of them, all are dropped.
 * Loop thread.
 */
#include "smtps/prefetch.h"

#include "libsm/smtp_cmd.h"
#include "smtps/session.h"

/* Questions of one session under way at a time. */
#define BATCH_MAX 50

/* Is the line a RCPT with a good address? Parameters do not matter here. */
static bool is_rcpt(struct sm_str line, unsigned flags, struct sm_arena *a, struct sm_addr *addr)
{
	struct sm_smtp_cmd c;
	struct sm_str params;

	return sm_smtp_cmd_parse(line, &c) == 0 && sm_str_caseeq(c.verb, SM_STR("RCPT")) &&
	       sm_smtp_from_to(c.arg, SM_STR("TO:"), flags, a, addr, &params) == 0;
}

static void look_ahead(struct ss_session *s, struct sm_str sender)
{
	/* Whether the mail has SMTPUTF8 is not known here yet; RCPT will look. */
	unsigned flags = ss_offers_smtputf8(s->conf) ? SM_ADDR_UTF8_OK : 0;
	struct sm_arena_room room;
	struct sm_arena a;
	struct sm_addr addr;
	struct sm_str line;
	size_t at = 0;

	sm_arena_init_in(&a, "look-ahead", &room, 65536);
	for (int i = 0; i < BATCH_MAX && sm_stream_peek_line(&s->io, &at, &line); i++) {
		if (!is_rcpt(line, flags, &a, &addr))
			break;
		struct ss_ask *ask = ss_ask_new(s, SS_ASK_RCPT, sender, addr.mailbox);
		sm_list_push(&s->prefetch, &ask->link);
		sm_arena_reset(&a);
	}
	sm_arena_fini(&a);
}

void ss_prefetch(struct ss_session *s, struct sm_str sender)
{
	/* Nobody is asked about the recipients of what vanishes. */
	if (sm_list_empty(&s->prefetch) && sm_stream_has_input(&s->io) && !s->who.discard &&
	    !s->txn.discard)
		look_ahead(s, sender);
}

struct ss_ask *ss_prefetch_rcpt(struct ss_session *s, struct sm_str sender, struct sm_str rcpt,
                                struct ss_ask *mem)
{
	struct ss_ask *a = SM_LIST_FIRST(&s->prefetch, struct ss_ask, link);

	if (a != NULL && sm_str_eq(a->sender, sender) && sm_str_eq(a->rcpt, rcpt)) {
		sm_list_remove(&a->link);
		return a;
	}
	ss_prefetch_drop(s);
	ss_ask_start(mem, s, SS_ASK_RCPT, sender, rcpt);
	return mem;
}

void ss_prefetch_drop(struct ss_session *s)
{
	struct ss_ask *a;

	while ((a = SM_LIST_FIRST(&s->prefetch, struct ss_ask, link)) != NULL)
		ss_ask_end(a);
}

void ss_prefetch_verify(struct ss_session *s)
{
	sm_noyield_enter();
	SM_LIST_FOR (a, &s->prefetch, struct ss_ask, link)
		ss_ask_verify(a);
	sm_noyield_leave();
}
