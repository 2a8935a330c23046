/*
 * What happens after a process ended without being asked to: again after some delay, or not at all.
 * Pure: a function of what was remembered, how long the process ran and how it ended.
 */
#ifndef MC_BRAKE_H
#define MC_BRAKE_H

#include "libsm/base.h"

/* Of the configuration of the service. */
struct mc_brake_rule {
	int64_t min_delay_ms, max_delay_ms; /* between a death and the next start */
	int64_t good_time_ms;               /* a life this long is no quick death */
	unsigned limit;                     /* quick deaths in a row before giving up; 0: never */
};

/* What is remembered of one process slot; zeroed memory is a good start. */
struct mc_brake {
	unsigned deaths; /* quick ones in a row */
	unsigned temps;  /* exits with "temporary failure" in a row: back-off, but no crash loop */
};

enum mc_brake_what {
	MC_AGAIN,   /* after delay_ms */
	MC_LOOP,    /* the same, and the operator must be told: it dies over and over */
	MC_GIVEUP,  /* not again: too many quick deaths */
	MC_HOPELESS /* not again: the exit status says that a restart will not help */
};
struct mc_brake_next {
	enum mc_brake_what what;
	int64_t delay_ms;
};

/* Quick deaths after which it is called a crash loop; said again whenever their number has doubled.
 */
#define MC_LOOP_DEATHS 5

/*
 * How fast programs are started for connections: so many a second, and at once no more than would
 * be started in a second. Zeroed memory is a good start.
 */
struct mc_rate {
	int64_t free_us; /* when those so far are paid for */
};
/* 0: one may be started now; else in so many ms. `per_second` 0: no limit. */
int64_t mc_rate_wait_ms(const struct mc_rate *r, int64_t per_second, int64_t now_ms);
void mc_rate_take(struct mc_rate *r, int64_t per_second, int64_t now_ms);

/* `status` as waitpid gives it. */
struct mc_brake_next mc_brake_ended(struct mc_brake *b, const struct mc_brake_rule *rule,
                                    int64_t ran_ms, int status);

#endif
