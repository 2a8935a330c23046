/* Inside of the configuration code: values back to text. The parsers are in conf.h. */
#ifndef SM_CONF_VALUE_H
#define SM_CONF_VALUE_H

#include "libsm/buf.h"
#include "libsm/conf.h"

/* "1h5m", "500us"; reads back as the same number. `v` >= 0 in milli- or microseconds. */
void sm_conf_put_time(struct sm_buf *b, int64_t v, bool microseconds);
/* "64KB": the largest unit that is exact. `v` >= 0 in bytes. */
void sm_conf_put_size(struct sm_buf *b, int64_t v);
/* The value of option `o` as it would be written in a file, without name and semicolon. Not for
 * sections. */
void sm_conf_put_value(struct sm_buf *b, const struct sm_opt *o, const void *target);
/* `v`, a number of option `o`, with the option's unit. */
void sm_conf_put_number(struct sm_buf *b, const struct sm_opt *o, int64_t v);

static inline bool sm_conf_unit_is(const struct sm_opt *o, const char *unit)
{
	return o->unit != NULL && strcmp(o->unit, unit) == 0;
}

#endif
