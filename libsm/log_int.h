/* What log.c (where lines go), log_line.c (what they look like) and log_form.c (what their lists
 * say) share. */
#ifndef SM_LOG_INT_H
#define SM_LOG_INT_H

#include <stdarg.h>

#include "libsm/buf.h"
#include "libsm/log.h"

#define SM_LOG_LINE_BYTES 8192 /* a line with its end */

/* Who speaks, for lines that are JSON. */
struct sm_log_who {
	char name[64];
	int pid;
};

#define SM_LOG_SEPARATOR ", " /* before each pair, in place of what the list has there */

/* Literal text of a list, and the directive behind it. */
struct sm_log_step {
	struct sm_str text; /* of a pair's first one with the separator before it */
	char directive;     /* NUL: none, the pair ends */
	uint8_t longs;      /* how many l, or 1 for z */
	bool first;         /* of its pair */
	bool optional;      /* if empty, the pair is left out */
	bool lone;          /* it is all of its pair's value */
	bool clean;         /* nothing in it is ever escaped */
	bool number;        /* on the first one: the pair's value is one number */
};
struct sm_log_form {
	const char *list;
	struct sm_log_form *next;
	size_t count;
	struct sm_log_step step[];
};
/* Of a literal or NULL; what it gives stays for good. */
const struct sm_log_form *sm_log_form_of(const char *list);

/*
 * One event as one line without its end into `b`, which is empty and has room for
 * SM_LOG_LINE_BYTES. Gives where the text for syslog begins: what is before it is the time. In JSON
 * that is inside of the object: "{" goes before it.
 */
size_t sm_log_line_kv(struct sm_buf *b, int64_t wall_ms, enum sm_sev sev, const char *event,
                      const char *pairs, va_list *ap);
size_t sm_log_line_json(struct sm_buf *b, int64_t wall_ms, const struct sm_log_who *who,
                        enum sm_sev sev, const char *event, const char *pairs, va_list *ap);

#endif
