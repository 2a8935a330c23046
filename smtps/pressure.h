/*
 * How hard the host works and how much waits in the queue, and what that means for clients: new
 * sessions are delayed before the greeting, or refused; while too much waits MAIL is refused as
 * well. Each section of smtps has limits of its own, so the way back from a filter may have none.
 */
#ifndef SS_PRESSURE_H
#define SS_PRESSURE_H

#include "libsm/offload.h"
#include "smtps/reply.h"

struct ss;
struct ss_conf;
struct ss_session;

enum ss_pressure { SS_PRESSURE_NONE, SS_PRESSURE_DELAY, SS_PRESSURE_REFUSE };

struct ss_pressure_state {
	int64_t load_percent;                   /* load average of a minute x 100 */
	uint32_t waiting;                       /* recipients in the queue, as qmgr said last */
	enum ss_pressure told_load, told_queue; /* in the log */
	/* The look at the load average. */
	struct sm_offload_job job;
	struct sm_timer timer;
	int fd;
	bool open, looking;
	int64_t seen_percent; /* the helper's */
};

/* Pure: 0 in the configuration is no limit. */
enum ss_pressure ss_pressure_of_load(const struct ss_conf *c, int64_t load_percent);
enum ss_pressure ss_pressure_of_queue(const struct ss_conf *c, uint32_t waiting);
/* Text of /proc/loadavg as percent: "1.25 ..." is 125. SM_E_SYNTAX. */
int ss_pressure_parse(struct sm_str text, int64_t *percent) SM_MUST_CHECK;

/* Before rights are dropped; a host without load average has none that is too high. */
void ss_pressure_open(struct ss *ss);
/* At the start, behind sm_offload_init, and after each reload. */
void ss_pressure_watch(struct ss *ss);
void ss_pressure_close(struct ss *ss);
/* qmgr said how much waits. */
void ss_pressure_waiting(struct ss *ss, uint32_t waiting);

/* The 421 for a new client, or SS_R_NONE. */
enum ss_reply_name ss_pressure_refusal(const struct ss *ss);
/* The 452 to MAIL of a session that is open, or SS_R_NONE. */
enum ss_reply_name ss_pressure_mail(const struct ss_session *s);
/* Wait with the greeting, if that is due. False: the process ends meanwhile, and nothing was said.
 */
bool ss_pressure_wait(struct ss_session *s) SM_YIELDS SM_MUST_CHECK;

#endif
