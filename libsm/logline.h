/*
 * Reading lines of a log back, in both formats (log.h), as files have them, with dates of log2time,
 * or behind what syslog puts in front. For tools; what is read is as hostile as what clients wrote.
 */
#ifndef SM_LOGLINE_H
#define SM_LOGLINE_H

#include "libsm/log.h"

#define SM_LOGLINE_PAIRS 48

struct sm_logline {
	enum sm_sev sev;
	struct sm_str event;
	size_t count; /* what is beyond SM_LOGLINE_PAIRS is left out */
	struct {
		struct sm_str key, value;
	} pair[SM_LOGLINE_PAIRS];
};

/*
 * Takes `line` apart, without its end; escapes are undone in place, so the views point into it.
 * SM_E_SYNTAX: no line of this log. A line that was cut gives the pairs before the cut and perhaps
 * a part of the next one.
 */
int sm_logline_parse(char *line, size_t n, struct sm_logline *out) SM_MUST_CHECK;
/* The value of a key; SM_STR_NONE: there is none. */
struct sm_str sm_logline_get(const struct sm_logline *l, const char *key);
/* The same as a transaction id; 0, or SM_E_SYNTAX. */
int sm_logline_id(const struct sm_logline *l, const char *key, struct sm_id *id) SM_MUST_CHECK;
/* As a number, 0 when there is none. */
uint64_t sm_logline_u64(const struct sm_logline *l, const char *key);

#endif
