/* What log.c (where lines go) and log_line.c (what they look like) share. */
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
