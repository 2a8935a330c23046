/*
 * All parts of the queue together: their order at the start, at the end, and at a reload.
 *
 * Invariant: a part is opened after everything it calls, and closed before it; helpers end before
 * what they work on is freed.
 */
#include "qmgr/now.h"

#include "libsm/offload.h"
#include "libsm/time.h"

#define DRAIN_MS                                                                                  \
	10000 /* for results of what smtpc delivers at this moment: each spares somebody a second \
	         copy */

static struct qm_sched_conf sched_conf(const struct qm *q)
{
	const struct qm_conf *c = q->conf;

	return (struct qm_sched_conf){
	    .hosts = {.oci = (unsigned)c->smtpc.initial_connections,
	              .ocm = (unsigned)c->smtpc.max_connections,
	              .omr = (unsigned)c->smtpc.max_message_rate,
	              .octo_ms = c->occ_timeout_ms,
	              /* Who wants tries more often than that wants these as well. */
	              .penalty_ms = SM_MIN(c->smtpc.dead_host_min_ms, c->retry_min_ms),
	              .penalty_max_ms = SM_MIN(c->smtpc.dead_host_max_ms, c->retry_max_ms),
	              .max = (size_t)c->occ_max_entries,
	              .limits = q->limits},
	    .lmtp_max_rcpts = (unsigned)c->smtpc.lmtp_max_rcpts,
	    .smtp_max_rcpts = (unsigned)c->smtpc.smtp_max_rcpts,
	    .max_routes = (size_t)c->occ_max_entries,
	};
}

/* A map that is not there limits nothing. A broken one is no reason to stop mail: what holds goes
 * on to hold. */
static void load_limits(struct qm *q)
{
	struct qm_limits *l;
	char path[512];
	int err = sm_str_copy(q->conf->conf_map, path, sizeof(path));

	if (err != 0)
		err = sm_fail(err, "name of the map is too long");
	else
		err = qm_limits_load(path, &l);
	if (err != 0) {
		sm_log(SM_ERROR, "qm.limits", "stat=kept entries=%zu error=%E",
		       q->limits ? qm_limits_count(q->limits) : (size_t)0, err);
		return;
	}
	qm_limits_free(&q->limits);
	q->limits = l;
	sm_log(SM_INFO, "qm.limits", "stat=%s entries=%zu map=%S",
	       qm_limits_absent(l) ? "no_map" : "loaded", qm_limits_count(l), q->conf->conf_map);
}

/* All that replay copied is durable: only now is there a queue that may be added to and worked on.
 */
static void settled(void *arg)
{
	struct qm *q = arg;

	q->running = true;
	qm_defer_run(q);
	if (q->on_running)
		q->on_running(q);
}

static int open_parts(struct qm *q, struct qm_recovered *found)
{
	int err;

	qm_expand_open(q);
	qm_now_open(q, found);
	if ((err = qm_defer_open(q)) != 0 || (err = qm_kept_open(q)) != 0 ||
	    (err = qm_bulk_open(q)) != 0 || (err = qm_halt_open(q)) != 0)
		return err;
	qm_run_open(q);
	qm_etrn_open(q);
	if ((err = qm_space_open(q)) != 0 || (err = qm_content_open(q, found)) != 0 ||
	    (err = qm_resolver_open(q)) != 0)
		return err;
	/* Before delivery: what is free at a hop is offered to its few probes first. */
	qm_verify_open(q);
	if ((err = qm_delivery_open(q)) != 0 || (err = qm_incoming_open(q, found)) != 0 ||
	    (err = qm_control_open(q)) != 0)
		return err;
	return qm_compact_open(q);
}

int qm_queue_open(struct qm *q)
{
	struct qm_sched_conf sched;
	struct cdb_conf cdb = {.gid = (gid_t)-1};
	struct qm_recovered found;
	char base[256];
	int err;

	qm_txn_table_init(&q->txns);
	qm_transcript_open(q);
	qm_blocked_init(&q->blocked, (size_t)q->conf->occ_max_entries);
	qm_look_at_clock(q);
	qm_resources_init(&q->resources);
	load_limits(q);
	sched = sched_conf(q);
	qm_sched_init(&q->sched, &sched);
	q->edbc = qm_edbc_new();
	if ((err = sm_str_copy(q->proc->global.cdb_base_directory, base, sizeof(base))) != 0)
		return sm_fail(err, "CDB_base_directory is too long");
	cdb.base = base;
	if ((err = cdb_open(&cdb, &q->cdb)) != 0 ||
	    (err = qm_store_open(q->conf, &q->txns, q->edbc, &found, &q->store)) != 0)
		return err;
	sm_log(SM_NOTICE, "qm.recovered", "from_ibdb=%zu deferred=%zu quarantined=%zu",
	       found.from_ibdb, found.deferred, found.quarantined);
	err = open_parts(q, &found);
	sm_free(found.ended);
	if (err == 0)
		qm_store_settled(q->store, settled, q);
	return err;
}

void qm_queue_close(struct qm *q)
{
	q->stopping = true;
	sm_timer_cancel(&q->stop_timer);
	qm_dsn_close(q);
	sm_offload_fini();
	qm_compact_close(q);
	qm_control_close(q);
	qm_etrn_close(q);
	qm_run_close(q);
	qm_verify_close(q);
	qm_incoming_close(q);
	qm_delivery_close(q);
	qm_transcript_close(q);
	qm_resolver_close(q);
	qm_now_close(q);
	qm_expand_close(q);
	qm_bulk_close(q);
	qm_halt_close(q);
	qm_kept_close(q);
	qm_defer_close(q);
	qm_content_close(q);
	qm_space_close(q);
	qm_store_close(&q->store);
	qm_edbc_free(&q->edbc);
	qm_sched_fini(&q->sched);
	qm_limits_free(&q->limits);
	qm_blocked_fini(&q->blocked);
	qm_txn_table_fini(&q->txns);
	cdb_close(&q->cdb);
}

static void late(void *arg)
{
	struct qm *q = arg;

	sm_log(SM_WARN, "qm.stop", "tasks=%zu stat=not_waited_for", qm_delivery_tasks(q));
	sm_loop_stop(SM_EXIT_OK);
}

/* Everything that was promised is in the logs: only results are worth waiting for. */
void qm_queue_stop(struct qm *q)
{
	if (q->stopping)
		return;
	q->stopping = true;
	sm_log(SM_NOTICE, "qm.stop", "active=%zu deferred=%zu tasks=%zu", q->txns.by_id.count,
	       qm_edbc_count(q->edbc), qm_delivery_tasks(q));
	if (qm_delivery_tasks(q) == 0)
		sm_loop_stop(SM_EXIT_OK);
	else
		sm_timer_set(&q->stop_timer, sm_loop_now_ms() + DRAIN_MS, late, q);
}

void qm_queue_reload(struct qm *q, const struct qm_conf *conf)
{
	struct qm_sched_conf sched;

	q->conf = conf;
	load_limits(q);
	sched = sched_conf(q);
	qm_sched_reload(&q->sched, &sched, sm_loop_now_ms());
	qm_verify_reload(q);
	qm_transcript_reload(q);
	qm_run_reload(q);
	qm_etrn_reload(q);
	qm_incoming_reload(q);
	qm_now_reload(q);
}
