/*
 * When the queue is run: times by the local clock. Pure: of the rows, a moment, and the time zone.
 *
 *   row   = days [ 1*WSP time "-" time ] 1*WSP every
 *   days  = "*" / day [ "-" day ] *( "," day [ "-" day ] )    ; Mon Tue Wed Thu Fri Sat Sun
 *   time  = hour ":" minute                                   ; 00:00 to 24:00
 *   every = "never" / a time of the configuration: 15m, 3h    ; whole minutes, at most a day
 *
 * The first row that a minute is in says whether there is a run: each `every` from the beginning of
 * its window, which is in it while its end is not. A window over midnight (22:00-06:00) belongs to
 * the day it begins on. What the clock leaves out in spring is made up for when it has jumped; what
 * comes twice in autumn comes twice.
 */
#ifndef QM_SCHEDULE_H
#define QM_SCHEDULE_H

#include "libsm/conf.h"

#define QM_SCHEDULE_ROWS 32
#define QM_NO_RUN        INT64_MAX

struct qm_schedule_row {
	uint8_t days;              /* bit 0: Sunday */
	uint16_t from_min, to_min; /* of the day; to < from: over midnight */
	uint16_t every_min;        /* 0: never */
};
struct qm_schedule {
	size_t count;
	struct qm_schedule_row rows[QM_SCHEDULE_ROWS + 1];
};

/* Rows as the configuration has them, and every `interval_ms` (0: never) at all other times.
 * SM_E_SYNTAX, SM_E_RANGE with a diag. */
int qm_schedule_parse(const struct sm_conf_list *rows, int64_t interval_ms,
                      struct qm_schedule *out) SM_MUST_CHECK;
/* The first run later than this moment, wall seconds at a full minute; QM_NO_RUN: there is none.
 * At the most some milliseconds of work, when it is a week away. */
int64_t qm_schedule_next(const struct qm_schedule *s, int64_t now_s);

#endif
