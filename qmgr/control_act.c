/*
 * What operators do: acts on mail, destinations that are suspended and resumed, switches, reload.
 * Loop thread. An answer says that it is done, and what was recorded of it is durable then.
 */
#include "qmgr/control.h"

#include "libsm/time.h"
#include "qmgr/marks.h"

#define FLUSH_ROUTES_MAX                                                        \
	32 /* destinations that are asked for one by one; more: all are revived \
	    */

/* The conditions as they were asked for. */
static struct sm_str asked_text(struct qm_ctl *c)
{
	size_t n = 4;
	char *p;

	for (size_t i = 0; i < c->condition_count; i++)
		n += c->conditions[i].n + 1;
	p = sm_arena_must(&c->arena, n);
	n = 0;
	for (size_t i = 0; i < c->condition_count; i++) {
		if (i > 0)
			p[n++] = ' ';
		memcpy(p + n, c->conditions[i].p, c->conditions[i].n);
		n += c->conditions[i].n;
	}
	return n ? sm_str_n(p, n) : SM_STR("all");
}

/* ---- acts on mail ---- */

static enum qm_mark_verb mark_verb(const char *name)
{
	for (int v = QM_MARK_HOLD; v <= QM_MARK_REQUEUE; v++)
		if (strcmp(name, qm_mark_word((enum qm_mark_verb)v)) == 0)
			return (enum qm_mark_verb)v;
	return QM_MARK_NONE; /* flush */
}

static void act_line(struct qm_ctl *c, size_t mails, size_t rcpts, int64_t took_ms)
{
	qm_ctl_begin(c, "act");
	qm_ctl_str(c, "verb", sm_str(c->verb->name));
	qm_ctl_bool(c, "dry_run", c->dry_run);
	qm_ctl_num(c, "mails", (int64_t)mails);
	qm_ctl_num(c, "rcpts", (int64_t)rcpts);
	qm_ctl_num(c, "took_ms", took_ms);
	qm_ctl_line(c);
}

static void acted(void *arg, const struct qm_bulk_done *done)
{
	struct qm_ctl *c = arg;

	c->fini = NULL;
	if (done->err != 0) {
		qm_ctl_end(c, QM_CTL_LATER, done->diag ? done->diag : sm_strerr(done->err));
		return;
	}
	act_line(c, done->txns, done->rcpts, done->took_ms);
	qm_ctl_end(c, done->txns ? QM_CTL_OK : QM_CTL_NOTHING, "");
}

static void nobody_waits(struct qm_ctl *c)
{
	qm_bulk_forget(c->q, c);
	qm_halt_forget(c->q, c);
}

static void act(struct qm_ctl *c)
{
	const struct qm_bulk_ask ask = {.verb = mark_verb(c->verb->name),
	                                .filter = c->filter,
	                                .text = asked_text(c),
	                                .reason = c->reason,
	                                .uid = (uint32_t)sm_peer_uid(c->peer),
	                                .dry_run = c->dry_run,
	                                .cb = acted,
	                                .arg = c};

	c->filter = NULL;
	c->step = NULL;
	c->fini = nobody_waits;
	if (qm_bulk_begin(c->q, &ask) != 0)
		qm_ctl_fail(c, QM_CTL_LATER);
}

#define ALL_ALONE "all stands alone; with conditions, leave it away: what they say is chosen"

/* Nobody means all of the queue by saying nothing. */
void qm_ctl_mark(struct qm_ctl *c)
{
	bool all = false;

	for (size_t i = 0; i < c->word_count; i++) {
		if (!sm_str_eq(c->words[i], SM_STR("all"))) {
			(void)qm_ctl_no_choice(c->words[i]);
			qm_ctl_fail(c, QM_CTL_USAGE);
			return;
		}
		all = true;
	}
	if (all && c->condition_count > 0)
		qm_ctl_end(c, QM_CTL_USAGE, ALL_ALONE);
	else if (!all && c->condition_count == 0)
		qm_ctl_end(c, QM_CTL_USAGE, "say which mail: ids, conditions, or all");
	else
		act(c);
}

/* ---- flush ---- */

/*
 * Mail whose next hop was found dead would only be put off again: so the next hops of what is
 * flushed may be tried at once, each with one session at first.
 */
struct flush {
	struct qm_walk walk;
	struct sm_str domains[FLUSH_ROUTES_MAX];
	unsigned count, at;
};

static bool gather_domains(struct qm_ctl *c);
static void ask_next(struct qm_ctl *c);

static void revive_all(struct qm *q)
{
	qm_sched_revive(&q->sched);
	qm_blocked_clear(&q->blocked);
}

static void flush_all(struct qm_ctl *c)
{
	struct qm *q = c->q;
	int64_t began_ms = sm_now_ms();
	size_t n;

	revive_all(q);
	n = qm_defer_flush(q, (struct sm_id){0});
	sm_log(SM_NOTICE, "qm.flush", "uid=%u transactions=%zu", (unsigned)sm_peer_uid(c->peer), n);
	act_line(c, n, 0, sm_now_ms() - began_ms);
	qm_ctl_end(c, n ? QM_CTL_OK : QM_CTL_NOTHING, "");
}

static void revive_route(struct qm_ctl *c, const struct sm_msg_route *m)
{
	struct flush *f = c->work;

	for (uint32_t i = 0; m && i < m->hosts_count; i++)
		(void)qm_sched_revive_host(&c->q->sched, &m->hosts[i].sa);
	qm_blocked_forget(&c->q->blocked, f->domains[f->at++]);
	ask_next(c);
}

static void ask_next(struct qm_ctl *c)
{
	struct flush *f = c->work;

	if (f->at < f->count)
		qm_ctl_ask_route(c, f->domains[f->at], revive_route);
	else
		act(c);
}

static bool new_domain(const struct flush *f, struct sm_str domain)
{
	for (unsigned i = 0; i < f->count; i++)
		if (sm_str_caseeq(f->domains[i], domain))
			return false;
	return true;
}

static bool gather_domains(struct qm_ctl *c)
{
	struct sm_arena *a = qm_ctl_view_arena(c->q);
	struct flush *f = c->work;
	struct qm_walked x;
	struct qm_view v;
	uint32_t *which;
	unsigned n;

	if (!qm_walk_next(c->q, &f->walk, &x)) {
		c->step = NULL;
		ask_next(c);
		return false;
	}
	sm_arena_reset(a);
	qm_walk_view(c->q, &x, a, &v);
	which = qm_ctl_which(c->q, v.rcpt_count);
	n = qm_filter_match(c->filter, &v, which);
	for (unsigned i = 0; i < n; i++) {
		struct sm_str domain = v.rcpts[which[i]].domain;

		if (!new_domain(f, domain))
			continue;
		if (f->count == FLUSH_ROUTES_MAX) {
			revive_all(c->q);
			act(c);
			return false;
		}
		f->domains[f->count++] = sm_arena_str(&c->arena, domain);
	}
	return true;
}

/* Bare words are destinations, under all names that their hosts have. */
static int words_to_dest(struct qm_ctl *c)
{
	struct sm_str text = SM_STR("dest=");
	struct qm_ctl_dest d;
	int err;

	for (size_t i = 0; i < c->word_count; i++) {
		if (sm_str_eq(c->words[i], SM_STR("all")))
			return sm_fail(SM_E_SYNTAX, ALL_ALONE);
		if ((err = qm_ctl_dest_of(c, c->words[i], &d)) != 0)
			return err;
		qm_ctl_dest_hops(c, &d);
		for (unsigned k = 0; k < d.name_count; k++) {
			text =
			    sm_arena_printf(&c->arena, SM_STR_FMT "%s" SM_STR_FMT, SM_STR_ARG(text),
			                    i + k ? "," : "", SM_STR_ARG(d.names[k]));
			if (text.p == NULL)
				return sm_fail(SM_E_TOOBIG, "too many destinations");
		}
	}
	/* One word less than there were. */
	c->conditions[c->condition_count++] = text;
	qm_filter_free(&c->filter);
	return qm_filter_new(c->conditions, c->condition_count, sm_wall_s(), &c->filter);
}

void qm_ctl_flush(struct qm_ctl *c)
{
	struct flush *f;
	bool all =
	    c->word_count == 1 && c->condition_count == 0 && sm_str_eq(c->words[0], SM_STR("all"));

	if (!all && c->word_count > 0 && words_to_dest(c) != 0) {
		qm_ctl_fail(c, QM_CTL_USAGE);
		return;
	}
	if (c->dry_run) {
		act(c);
	} else if (c->condition_count == 0) {
		flush_all(c);
	} else {
		c->work = f = sm_arena_must(&c->arena, sizeof(*f));
		qm_walk_begin(c->q, c->filter, &c->arena, &f->walk);
		c->step = gather_domains;
	}
}

/* ---- what is stopped ---- */

static void suspension_line(struct qm_ctl *c, const char *type, const struct qm_suspension *s)
{
	qm_ctl_begin(c, type);
	qm_ctl_str(c, "dest", s->dest);
	qm_ctl_time(c, "since_s", s->since_s);
	qm_ctl_time(c, "until_s", s->until_s);
	qm_ctl_num(c, "uid", s->uid);
	qm_ctl_str(c, "reason", s->reason);
	qm_ctl_line(c);
}

/* Of a destination: what is said of it, of its hosts under another name, and of all. */
static bool concerns(const struct qm_suspension *x, const struct qm_ctl_dest *dest)
{
	return dest == NULL || x->dest.n == 0 || qm_ctl_dest_is_domain(dest, x->dest) ||
	       qm_ctl_dest_has_name(dest, x->dest);
}

unsigned qm_ctl_suspensions(struct qm_ctl *c, const struct qm_ctl_dest *dest)
{
	const struct qm_suspends *s = qm_store_suspends(c->q->store);
	unsigned count = 0;

	for (struct sm_hash_node *n = sm_hash_next(&s->by_dest, NULL); n;
	     n = sm_hash_next(&s->by_dest, n)) {
		const struct qm_suspension *x = SM_CONTAINER_OF(n, struct qm_suspension, node);

		if (!concerns(x, dest))
			continue;
		suspension_line(c, x->dest.n ? "suspension" : "delivering_stopped", x);
		count++;
	}
	if (!s->accept.stopped || dest)
		return count;
	qm_ctl_begin(c, "accepting_stopped");
	qm_ctl_time(c, "since_s", s->accept.since_s);
	qm_ctl_num(c, "uid", s->accept.uid);
	qm_ctl_str(c, "reason", sm_str(s->accept.reason));
	qm_ctl_line(c);
	return count + 1;
}

static void recorded(void *arg)
{
	struct qm_ctl *c = arg;

	c->fini = NULL;
	qm_ctl_begin(c, "done");
	qm_ctl_str(c, "verb", sm_str(c->verb->name));
	qm_ctl_str(c, "what", c->words[0]);
	qm_ctl_time(c, "until_s", c->for_s ? sm_wall_s() + c->for_s : 0);
	qm_ctl_line(c);
	qm_ctl_end(c, QM_CTL_OK, "");
}

static void answer_to(struct qm_ctl *c, int err)
{
	if (err == SM_E_NOTFOUND)
		qm_ctl_fail(c, QM_CTL_NOTHING);
	else if (err != 0)
		qm_ctl_fail(c, err == SM_E_FULL ? QM_CTL_LATER : QM_CTL_USAGE);
}

static void suspend(struct qm_ctl *c, struct sm_str dest)
{
	int64_t until_s = c->for_s ? sm_wall_s() + c->for_s : 0;

	c->fini = nobody_waits;
	answer_to(c, qm_halt_suspend(c->q, dest, until_s, (uint32_t)sm_peer_uid(c->peer), c->reason,
	                             recorded, c));
}

static void resume(struct qm_ctl *c, struct sm_str dest)
{
	c->fini = nobody_waits;
	answer_to(c, qm_halt_resume(c->q, dest, (uint32_t)sm_peer_uid(c->peer), recorded, c));
}

static bool one_word(struct qm_ctl *c, const char *wants)
{
	if (c->word_count == 1 && c->words[0].n > 0)
		return true;
	qm_ctl_end(c, QM_CTL_USAGE, wants);
	return false;
}

/* The destination, and as what it is recorded. */
static bool one_dest(struct qm_ctl *c, const char *wants)
{
	struct qm_ctl_dest d;

	if (!one_word(c, wants))
		return false;
	if (qm_ctl_dest_of(c, c->words[0], &d) != 0) {
		qm_ctl_fail(c, QM_CTL_USAGE);
		return false;
	}
	if (d.sa.len > 0 && sm_sa_port(&d.sa)) {
		qm_ctl_end(c, QM_CTL_USAGE,
		           "an address is suspended with all its ports: leave "
		           "the port away");
		return false;
	}
	c->words[0] = d.text;
	return true;
}

void qm_ctl_suspend(struct qm_ctl *c)
{
	if (one_dest(c, "suspend takes one destination: a domain, host name or address"))
		suspend(c, c->words[0]);
}

void qm_ctl_resume(struct qm_ctl *c)
{
	if (one_dest(c, "resume takes one destination: a domain, host name or address"))
		resume(c, c->words[0]);
}

/* What a word of stop and start says. */
static bool one_switch(struct qm_ctl *c, bool *accepting)
{
	*accepting = c->word_count == 1 && sm_str_eq(c->words[0], SM_STR("accepting"));
	if (*accepting || (c->word_count == 1 && sm_str_eq(c->words[0], SM_STR("delivering"))))
		return true;
	(void)sm_fail(SM_E_SYNTAX, "%s takes accepting or delivering", c->verb->name);
	qm_ctl_fail(c, QM_CTL_USAGE);
	return false;
}

static void switch_accepting(struct qm_ctl *c, bool on)
{
	if (c->for_s) {
		qm_ctl_end(c, QM_CTL_USAGE, "--for is for stop delivering only");
		return;
	}
	if (on && qm_halt_accepting(c->q)) {
		qm_ctl_end(c, QM_CTL_NOTHING, "accepting mail is not stopped");
		return;
	}
	c->fini = nobody_waits;
	qm_halt_accept(c->q, on, (uint32_t)sm_peer_uid(c->peer), c->reason, recorded, c);
}

void qm_ctl_stop(struct qm_ctl *c)
{
	bool accepting;

	if (!one_switch(c, &accepting))
		return;
	if (accepting)
		switch_accepting(c, false);
	else
		suspend(c, SM_STR(""));
}

void qm_ctl_start(struct qm_ctl *c)
{
	bool accepting;

	if (!one_switch(c, &accepting))
		return;
	if (accepting)
		switch_accepting(c, true);
	else
		resume(c, SM_STR(""));
}

/* ---- the process ---- */

static void reloaded(struct qm_ctl *c, const struct sm_msg_maps_reloaded *m)
{
	bool taken = m != NULL && m->status == SM_RELOAD_TAKEN;

	if (taken)
		qm_run_check(c->q);
	qm_ctl_begin(c, "reloaded");
	qm_ctl_str(c, "map", c->q->conf->conf_map);
	qm_ctl_bool(c, "found", c->q->limits && !qm_limits_absent(c->q->limits));
	qm_ctl_num(c, "entries", c->q->limits ? (int64_t)qm_limits_count(c->q->limits) : 0);
	if (taken)
		qm_ctl_num(c, "maps", m->maps);
	else
		qm_ctl_null(c, "maps");
	qm_ctl_line(c);
	if (taken)
		qm_ctl_end(c, QM_CTL_OK, "");
	else if (m == NULL)
		qm_ctl_end(c, QM_CTL_LATER, "smar, which has the maps, does not answer");
	else
		qm_ctl_end(c, m->status == SM_RELOAD_LATER ? QM_CTL_LATER : QM_CTL_NOTHING,
		           sm_arena_printf(&c->arena, "smar keeps the former maps: " SM_STR_FMT,
		                           SM_STR_ARG(m->text))
		               .p);
}

/* The map of limits, the maps of smar, certificates; the configuration itself is mcp's affair. */
void qm_ctl_reload(struct qm_ctl *c)
{
	uint32_t uid = (uint32_t)sm_peer_uid(c->peer);

	sm_log(SM_NOTICE, "qm.reload", "uid=%u", (unsigned)uid);
	qm_incoming_certs(c->q, uid);
	qm_queue_reload(c->q, c->q->conf);
	qm_ctl_ask_reload(c, reloaded);
}

void qm_ctl_loglevel(struct qm_ctl *c)
{
	int before = sm_log_level_now();
	uint64_t level;

	if (c->word_count != 1 || sm_str_u64(c->words[0], 10, 15, &level) != 0) {
		qm_ctl_end(c, QM_CTL_USAGE, "loglevel takes a number from 0 to 15");
		return;
	}
	sm_log_level((int)level);
	sm_log(SM_NOTICE, "qm.loglevel", "uid=%u level=%u", (unsigned)sm_peer_uid(c->peer),
	       (unsigned)level);
	qm_ctl_begin(c, "loglevel");
	qm_ctl_num(c, "before", before);
	qm_ctl_num(c, "now", (int64_t)level);
	qm_ctl_line(c);
	qm_ctl_end(c, QM_CTL_OK, "");
}

/* An address, "@domain", or the word all. */
void qm_ctl_forget(struct qm_ctl *c)
{
	struct sm_str word = c->word_count == 1 ? c->words[0] : SM_STR("");
	size_t n;

	if (!sm_str_eq(word, SM_STR("all")) && sm_str_chr(word, '@') < 0) {
		qm_ctl_end(c, QM_CTL_USAGE, "forget takes an address, @domain, or all");
		return;
	}
	n = qm_verify_forget(c->q, sm_str_eq(word, SM_STR("all")) ? SM_STR("") : word);
	sm_log(SM_NOTICE, "qm.forget", "uid=%u domain=%S count=%zu", (unsigned)sm_peer_uid(c->peer),
	       word, n);
	qm_ctl_begin(c, "forgotten");
	qm_ctl_num(c, "count", (int64_t)n);
	qm_ctl_line(c);
	qm_ctl_end(c, n > 0 ? QM_CTL_OK : QM_CTL_NOTHING, n > 0 ? "" : "nothing was known of it");
}

#define ORPHANS_A_STEP 500

/* What mail of the queue needs of a segment: all else in it may be lost. In one go, because it
 * changes. */
static size_t orphan_needed(struct qm_ctl *c, struct sm_id segment)
{
	struct cdb_span span;
	size_t n = 0;

	while (qm_content_needed(&c->q->txns.contents, segment, &n, &span)) {
		qm_ctl_begin(c, "orphan_needed");
		qm_ctl_id(c, "id", segment);
		qm_ctl_num(c, "offset", span.offset);
		qm_ctl_num(c, "size", span.size);
		qm_ctl_line(c);
	}
	return n;
}

static bool list_orphans(struct qm_ctl *c)
{
	size_t *at = c->work;
	struct sm_id id;
	int err;

	for (size_t n = 0; n < ORPHANS_A_STEP; n++) {
		err = qm_content_kept_next(c->q, at, &id);
		if (err == SM_E_AGAIN) {
			qm_ctl_end(c, QM_CTL_LATER, "not known yet: smtps has to come first");
			return false;
		}
		if (err != 0) {
			qm_ctl_end(c, QM_CTL_OK, "");
			return false;
		}
		qm_ctl_begin(c, "orphan");
		qm_ctl_id(c, "id", id);
		qm_ctl_line(c);
		n += orphan_needed(c, id);
	}
	return true;
}

/* Contents that are older than the logs are removed only when somebody says so. */
void qm_ctl_orphans(struct qm_ctl *c)
{
	bool release = c->word_count == 1 && sm_str_eq(c->words[0], SM_STR("release"));

	if (c->word_count == 1 && sm_str_eq(c->words[0], SM_STR("list"))) {
		c->work = sm_arena_must(&c->arena, sizeof(size_t));
		*(size_t *)c->work = 0;
		c->step = list_orphans;
		return;
	}
	if (c->word_count > 0 && !release) {
		qm_ctl_end(c, QM_CTL_USAGE, "orphans takes nothing, list or release");
		return;
	}
	if (release && !sm_peer_trusted(c->peer)) {
		qm_ctl_end(c, QM_CTL_NOPERM, QM_CTL_LOOK_ONLY);
		return;
	}
	qm_ctl_begin(c, "orphans");
	qm_ctl_num(c, "kept", (int64_t)qm_content_kept(c->q));
	qm_ctl_bool(c, "released", release);
	qm_ctl_line(c);
	if (release) {
		sm_log(SM_NOTICE, "qm.orphans_released", "uid=%u contents=%zu",
		       (unsigned)sm_peer_uid(c->peer), qm_content_kept(c->q));
		qm_content_release(c->q);
	}
	qm_ctl_end(c, QM_CTL_OK, "");
}
