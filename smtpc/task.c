/*
 * Tasks: walk through the hosts until every recipient has its result.
 *
 * Invariant: each task is answered exactly once, with one result for each recipient; a host is
 * asked at most once within a task (a kept session that turns out to be dead does not count), and
 * nobody is asked again for recipients whose fate is unknown since the end of data. A coroutine for
 * each task, in the loop's thread.
 */
#include "smtpc/task.h"

#include "libsm/co.h"
#include "libsm/fault.h"
#include "libsm/log.h"
#include "smtpc/dialog.h"
#include "smtpc/dsn.h"
#include "smtpc/probe.h"
#include "smtpc/sc.h"
#include "smtpc/transcript.h"

/* A frame is at most 1 MiB; 1000 results of 512 bytes and the host names come to it, and the texts
 * of replies that are kept. */
#define ARENA_BYTES (6 * 1024 * 1024)
#define HOSTS_MAX   100

struct sc_task *sc_task_new(struct sc *sc, struct sm_str body)
{
	struct sc_task *t = sm_calloc(1, sizeof(*t));
	int rc;

	t->sc = sc;
	sm_list_init(&t->link);
	sm_arena_init(&t->arena, "task", 4096, ARENA_BYTES);
	/* Decoded strings point into the body: it has to live as long as they do. */
	body = sm_arena_str(&t->arena, body);
	rc = body.p == NULL ? sm_fail(SM_E_TOOBIG, "task larger than a frame")
	                    : sm_msg_task_decode(body, &t->arena, &t->in);
	if (rc != 0) {
		sm_arena_fini(&t->arena);
		sm_free(t);
		return NULL;
	}
	t->rcpts = sm_arena_must(&t->arena, (t->in.rcpts_count + 1) * sizeof(*t->rcpts));
	for (size_t i = 0; i < t->in.rcpts_count; i++)
		t->rcpts[i].in = &t->in.rcpts[i];
	t->connection = sc->connection;
	t->end_ms = sm_loop_now_ms() + sc->conf->max_task_time_ms;
	if (t->in.probe_ms > 0)
		t->end_ms = SM_MIN(t->end_ms, sm_loop_now_ms() + t->in.probe_ms);
	if (t->in.within_ms > 0)
		t->end_ms = SM_MIN(t->end_ms, sm_loop_now_ms() + t->in.within_ms);
	sc_content_init(&t->content);
	t->transcript = sc_transcript_new(t->in.transcript_bytes);
	sm_list_push(&sc->tasks, &t->link);
	sc->task_count++;
	return t;
}

static void task_free(struct sc_task *t)
{
	sm_list_remove(&t->link);
	t->sc->task_count--;
	sc_content_fini(&t->content);
	sc_transcript_free(&t->transcript);
	sm_arena_fini(&t->arena);
	sm_free(t);
}

static bool any_open(const struct sc_task *t)
{
	for (size_t i = 0; i < t->in.rcpts_count; i++)
		if (t->rcpts[i].state == SC_RCPT_OPEN)
			return true;
	return false;
}

/* The session is free again: keep it for the next message, or say good-bye. */
static void release(struct sc_task *t, struct sc_session *s)
{
	sc_transcript_follow(s, NULL);
	t->session_kept = sc_cache_put(&t->sc->cache, s);
	if (!t->session_kept)
		sc_session_quit(&s);
}

/* What a server says of AUTH may be what it was told there. */
static void note_failure(struct sc_task *t)
{
	const struct sc_why *why = &t->why;

	if (why->stage == SM_STAGE_AUTH && why->code != 0)
		sc_transcript_note(t->transcript, "failed (auth): %d", why->code);
	else
		sc_transcript_note(t->transcript, "failed (%s): %s", sc_stage_name(why->stage),
		                   why->text);
}

/* What qmgr is told of a host. */
static void note_host(struct sc_task *t, size_t at, enum sm_reach reach)
{
	struct sm_msg_host_try *x = &t->tried[t->tried_count++];

	t->reach = reach;
	*x = (struct sm_msg_host_try){
	    .host = (uint8_t)at, .reach = (uint8_t)reach, .text = SM_STR("")};
	if (reach == SM_REACH_OK)
		return;
	note_failure(t);
	x->stage = (uint8_t)t->why.stage;
	x->code = (uint16_t)t->why.code;
	x->text = sm_arena_str(&t->arena, sm_str(t->why.text));
}

static void note_reused(struct sc_task *t, const struct sc_session *s)
{
	char at[SM_SA_TEXT];

	sc_transcript_note(t->transcript, "over a session that was open: %s at %s, TLS: %s",
	                   s->host, sm_sa_text(&s->sa, at), s->tls_text);
}

static void try_host(struct sc_task *t, size_t at, struct sc_session *s)
{
	const struct sm_msg_host *host = &t->in.hosts[at];
	bool was_clean;
	int rc;

	t->session_kept = false;
	t->host_name = host->name;
	for (;;) {
		if (s == NULL) {
			t->host = host->sa;
			sc_cache_give_way(&t->sc->cache, &host->sa);
			const struct sc_open how = {
			    .host = host,
			    .key = t->in.key,
			    .conf = t->in.conf,
			    .lmtp = t->in.agent == SM_AGENT_LMTP,
			    .ta = t->in.ta,
			    .end_ms = t->end_ms,
			    .transcript = t->transcript,
			};
			rc = sc_session_open(t->sc, &how, &t->why, &s);
			if (rc != 0) {
				t->permanent = t->permanent && t->why.permanent;
				note_host(t, at, sm_co_cancelled() ? SM_REACH_NONE : t->why.reach);
				return;
			}
		}
		t->permanent = false;
		t->host = s->sa;
		if (s->transcript != t->transcript) {
			sc_transcript_follow(s, t->transcript);
			note_reused(t, s);
		}
		s->end_ms = t->end_ms;
		was_clean = !t->content.is_unclean;
		rc = t->in.probe_ms > 0 ? sc_probe(t, s) : sc_dialog(t, s);
		if (sm_co_cancelled())
			break;
		if (rc == 0 && (!sc_session_is_used_up(s) || !any_open(t)))
			break;
		if (rc == 0) {
			/* No further transaction over this one: the rest has another. */
			release(t, s);
			s = NULL;
			continue;
		}
		if (!s->reused && !(was_clean && t->content.is_unclean))
			break;
		/* It had been idle and nobody answered, or it was given up for the sake of our
		 * content: this says nothing about the host. */
		sc_session_free(&s);
	}
	if (rc == 0)
		note_host(t, at, SM_REACH_OK);
	else
		note_host(t, at, sm_co_cancelled() ? SM_REACH_NONE : t->why.reach);
	release(t, s);
}

/* A kept session to one of the best hosts saves the connection: ask for it before the order rules.
 */
static size_t first_host(struct sc_task *t, struct sc_session **s)
{
	const struct sm_msg_host *hosts = t->in.hosts;

	*s = NULL;
	for (size_t i = 0; i < t->in.hosts_count && hosts[i].pref == hosts[0].pref; i++) {
		*s = sc_cache_take(&t->sc->cache, t->in.key, &hosts[i].sa);
		if (*s != NULL)
			return i;
	}
	return 0;
}

static void walk(struct sc_task *t)
{
	bool tried[HOSTS_MAX] = {false};
	struct sc_session *s = NULL;

	sm_assert(t->in.hosts_count <= HOSTS_MAX);
	t->tried = sm_arena_must(&t->arena, (t->in.hosts_count + 1) * sizeof(*t->tried));
	t->permanent = t->in.hosts_count > 0;
	size_t at = first_host(t, &s);
	for (size_t n = 0; n < t->in.hosts_count && any_open(t); n++) {
		tried[at] = true;
		try_host(t, at, s);
		s = NULL;
		for (at = 0; at < t->in.hosts_count && tried[at];)
			at++;
		if (sm_co_cancelled() || sm_loop_now_ms() >= t->end_ms || t->why.abort)
			break;
	}
	if (t->why.text[0] == '\0' && any_open(t)) {
		(void)sm_fail(SM_E_NOTFOUND, "no host to send to");
		sc_why_error(&t->why, SM_STAGE_CONNECT, SM_E_NOTFOUND);
	}
}

void sc_task_run(struct sc_task *t)
{
	struct sc_why late;

	t->begun_ms = sm_loop_now_ms();
	sm_co_doing(SM_STR("task for"), t->in.key);
	sm_last_words_set(&t->words);
	for (uint32_t i = 0; i < t->in.rcpts_count; i++)
		(void)SM_FAULT_OF("smtpc.rcpt:", t->in.rcpts[i].addr);
	if (t->in.dsn_kind == SM_DSN_NONE || sc_dsn_compose(t) == 0)
		walk(t);
	if (sm_co_cancelled()) {
		sc_why_error(&late, SM_STAGE_LOCAL, SM_E_CANCEL);
		sc_result_set_all(t, SC_RCPT_OPEN, false, NULL, SM_OUTCOME_TEMP, &late);
	}
	/* A probe only learns: whoever cannot be asked may know the recipient. */
	sc_result_set_all(t, SC_RCPT_OPEN, false, NULL,
	                  t->permanent && t->in.probe_ms == 0 ? SM_OUTCOME_PERM : SM_OUTCOME_TEMP,
	                  &t->why);
	sc_result_send(t);
	sm_last_words_set(NULL);
	task_free(t);
}

static void main_of_task(void *arg)
{
	sc_task_run(arg);
}

void sc_task_start(struct sc_task *t)
{
	const char *refusal = NULL;

	if (t->sc->draining)
		refusal = "smtpc is shutting down";
	else if (t->sc->task_count > (size_t)t->sc->conf->max_threads)
		refusal = "smtpc has more tasks than it asked for";
	else if ((t->co = sm_co_spawn("task", main_of_task, t)) == NULL)
		refusal = sm_diag();
	if (refusal == NULL)
		return;
	t->why = (struct sc_why){.stage = SM_STAGE_LOCAL};
	(void)sc_text_local(t->why.text, "4.3.2", refusal);
	sc_result_set_all(t, SC_RCPT_OPEN, false, NULL, SM_OUTCOME_TEMP, &t->why);
	sc_result_send(t);
	task_free(t);
}

void sc_task_cancel_all(struct sc *sc)
{
	SM_LIST_FOR (t, &sc->tasks, struct sc_task, link) {
		if (t->co != NULL)
			sm_co_cancel(t->co);
	}
}
