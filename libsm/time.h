/*
 * Clocks. All waiting is in monotonic milliseconds; wall time is only for people and for files.
 * Named deadlines (`deadline_ms`) are absolute monotonic times; SM_NEVER is allowed only where a
 * header says so.
 */
#ifndef SM_TIME_H
#define SM_TIME_H

#include "libsm/base.h"

#define SM_NEVER INT64_MAX

int64_t sm_now_ms(void); /* monotonic */
int64_t sm_now_us(void); /* monotonic */
int64_t sm_wall_s(void); /* seconds since 1970 */
int64_t sm_wall_ms(void);

/* Tests: from now on all four clocks stand at `mono_ms`/`wall_s` and move only by
 * sm_time_fake_step. */
void sm_time_fake(int64_t mono_ms, int64_t wall_s);
void sm_time_fake_step(int64_t ms);
void sm_time_real(void);

/* RFC 5322 3.3 date-time of `wall_s` in the local zone, e.g. "Fri, 20 Nov 2026 23:33:52 +0000";
 * `out` has room for 40 bytes. */
#define SM_TIME_RFC5322_MAX 40
void sm_time_rfc5322(int64_t wall_s, char out[SM_TIME_RFC5322_MAX]);
/* "2026-11-20T23:33:52.123Z" */
#define SM_TIME_ISO_MAX 32
void sm_time_iso(int64_t wall_ms, char out[SM_TIME_ISO_MAX]);

#endif
