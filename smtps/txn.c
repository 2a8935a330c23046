/*
 * Begin, fill and forget a transaction. Invariant: only ss_txn_reset ends one, and after it the
 * session is as if MAIL had never been said; the process-wide sums (ss.txn_count, ss.rcpt_count)
 * are those of all open transactions. Loop thread.
 */
#include "smtps/txn.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/milters.h"
#include "smtps/prefetch.h"
#include "smtps/session.h"

enum {
	ARENA_FIRST = 1024,
	/* Sender, envid and 1000 recipients with ORCPT. */
	ARENA_CAP = 2 * 1024 * 1024,
	RCPTS_FIRST = 16,
};

void ss_txn_init(struct ss_txn *t)
{
	*t = (struct ss_txn){.open = false};
	sm_list_init(&t->link);
	sm_arena_init(&t->arena, "transaction", ARENA_FIRST, ARENA_CAP);
}

void ss_txn_begin(struct ss_session *s, struct sm_id id, struct sm_str sender)
{
	struct ss_txn *t = &s->txn;

	sm_assert(!t->open);
	t->open = true;
	t->id = id;
	t->sender = sm_arena_str(&t->arena, sender);
	sm_list_push(&s->ss->transactions, &t->link);
	s->ss->txn_count++;
}

static int add_rcpt(struct ss_session *s, struct sm_str addr, struct sm_str orcpt, uint8_t notify,
                    uint32_t turn)
{
	struct ss_txn *t = &s->txn;
	struct sm_msg_rcpt_new r = {.notify = notify};

	r.addr = sm_arena_str(&t->arena, addr);
	r.orcpt = sm_str_empty(orcpt) ? SM_STR("") : sm_arena_str(&t->arena, orcpt);
	if (r.addr.p == NULL || r.orcpt.p == NULL)
		return sm_fail(SM_E_TOOBIG, "recipients take too much room");
	if (t->rcpt_count == t->rcpt_cap) {
		t->rcpt_cap = t->rcpt_cap == 0 ? RCPTS_FIRST : t->rcpt_cap * 2;
		t->rcpts = sm_realloc(t->rcpts, t->rcpt_cap, sizeof(*t->rcpts));
		t->turns = sm_realloc(t->turns, t->rcpt_cap, sizeof(*t->turns));
	}
	t->turns[t->rcpt_count] = (uint16_t)turn;
	t->rcpts[t->rcpt_count++] = r;
	s->ss->rcpt_count++;
	return 0;
}

int ss_txn_add_rcpt(struct ss_session *s, struct sm_str addr, struct sm_str orcpt, uint8_t notify)
{
	int err = add_rcpt(s, addr, orcpt, notify, s->txn.accepted);

	if (err == 0) {
		s->txn.accepted++;
		ss_limits_rcpt_taken(&s->limits);
	}
	return err;
}

int ss_txn_append_rcpt(struct ss_session *s, struct sm_str addr, struct sm_str orcpt,
                       uint8_t notify)
{
	/* Who would be told that it could not be delivered? */
	if (s->conf->deliver == SM_DELIVER_NOW)
		return sm_fail(SM_E_NOTSUP, "deliver = now, and a filter adds a recipient");
	s->txn.envelope_changed = true;
	return add_rcpt(s, addr, orcpt, notify, SS_NO_TURN);
}

void ss_txn_drop_rcpt(struct ss_session *s, uint32_t i)
{
	struct ss_txn *t = &s->txn;

	memmove(t->rcpts + i, t->rcpts + i + 1, (t->rcpt_count - i - 1) * sizeof(*t->rcpts));
	memmove(t->turns + i, t->turns + i + 1, (t->rcpt_count - i - 1) * sizeof(*t->turns));
	t->rcpt_count--;
	s->ss->rcpt_count--;
	t->envelope_changed = true;
}

int ss_txn_change_sender(struct ss_session *s, struct sm_str sender, struct sm_str envid,
                         uint8_t ret)
{
	struct ss_txn *t = &s->txn;
	struct sm_str copy = sm_arena_str(&t->arena, sender),
		      id = sm_str_empty(envid) ? t->envid : sm_arena_str(&t->arena, envid);

	if (copy.p == NULL || (!sm_str_empty(envid) && id.p == NULL))
		return sm_fail(SM_E_TOOBIG, "the transaction takes too much room");
	t->sender = copy;
	t->envid = id;
	t->ret = ret != 0 ? ret : t->ret;
	t->envelope_changed = true;
	return 0;
}

int ss_txn_hold(struct ss_session *s, struct sm_str reason)
{
	s->txn.hold = sm_arena_str(&s->txn.arena, reason);
	return s->txn.hold.p == NULL ? sm_fail(SM_E_TOOBIG, "the transaction takes too much room")
	                             : 0;
}

void ss_txn_header_is_utf8(struct ss_session *s, bool is)
{
	uint8_t *utf8 = &s->txn.utf8;

	*utf8 &= (uint8_t)~SM_UTF8_HEADER;
	if (is && (*utf8 & SM_UTF8_DECLARED))
		*utf8 |= SM_UTF8_HEADER;
}

void ss_txn_discard_rcpt(struct ss_session *s)
{
	s->txn.discarded++;
	s->txn.accepted++;
	ss_limits_rcpt_taken(&s->limits);
}

bool ss_txn_vanishes(const struct ss_session *s)
{
	return s->who.discard || s->txn.discard || (s->txn.rcpt_count == 0 && s->txn.discarded > 0);
}

void ss_txn_reset(struct ss_session *s, bool accepted)
{
	struct ss_txn *t = &s->txn;
	struct cdb_writer *content = t->content;

	ss_prefetch_drop(s);
	s->refused = false;
	if (t->open) {
		if (!t->told && !accepted)
			sm_log(SM_INFO, "ss.abort",
			       "ss_sess=%I ss_ta=%I xid=%?S client=%A mail=<%S> nrcpts=%u why=%s",
			       s->id, t->id, t->xid, &s->client, t->sender, t->rcpt_count,
			       s->why[0] ? s->why : "reset");
		sm_list_remove(&t->link);
		s->ss->txn_count--;
		s->ss->rcpt_count -= t->rcpt_count;
		ss_limits_end(&s->limits, accepted);
	}
	SM_FREE(t->rcpts);
	SM_FREE(t->turns);
	SM_FREE(t->in);
	SM_FREE(s->xforward);
	sm_arena_fini(&t->arena);
	ss_txn_init(t);
	/* Last, because it yields: the transaction is gone already. */
	if (content != NULL)
		cdb_abort(&content);
	ss_milters_reset(s);
}
