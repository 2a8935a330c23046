/*
 * Logging: one event is one line: time, severity, event name, then pairs that a remote party cannot
 * forge. As key=value, or as JSON:
 *
 *     1795217632.123 INFO ss.rcpt ss_sess=S00..., ss_ta=S00..., rcpt=<a@b>, stat=550
 *     {"time":"2026-11-21T03:20:32.123Z","sev":"INFO","proc":"smtps","pid":7,"event":"ss.rcpt",...}
 *
 * Lines go to descriptor 2 (the log file that the supervisor opened) or to syslog when the `log`
 * section names a facility; syslog's lines have no time of ours. Lines gather and are written once
 * per loop turn; the log never blocks the process: what a full pipe does not take is counted and
 * reported later. Values are escaped in one place: as key=value, bytes outside of printable ASCII,
 * and ',' '"' '\', become \xHH, and a value with spaces stands in quotes; as JSON, strings are
 * ASCII with \uXXXX, numbers are numbers, and what is no UTF-8 becomes U+FFFD. Keys and event names
 * are literals; which there are, doc/formats.md says, and checks/t_log_schema.sh that it says all.
 */
#ifndef SM_LOG_H
#define SM_LOG_H

#include "libsm/conf.h"
#include "libsm/id.h"
#include "libsm/net.h"

/* Levels 0 (only errors) .. 15; 9 is normal, 12 to 14 for testing. Severity decides with the level:
 * ERROR and worse always, WARN >= 3, NOTICE >= 6, INFO >= 9, DEBUG >= 13. */
enum sm_sev { SM_DEBUG, SM_INFO, SM_NOTICE, SM_WARN, SM_ERROR, SM_CRIT, SM_FATAL };

/* Of events and keys, in each process' line proc.ready: rises when a name changes its meaning or
 * goes, not when one is added. */
#define SM_LOG_SCHEMA 1

void sm_log_init(const char *ident, int level);
void sm_log_syslog(const struct sm_conf_log *conf); /* when a facility was configured */
void sm_log_format(enum sm_log_format format);
void sm_log_level(int level);
int sm_log_level_now(void);
bool sm_log_on(enum sm_sev sev);
/* Write what has gathered (also before abort and exit). */
void sm_log_flush(void);
/* From now on to `fd`, which stays the caller's: it takes the place of descriptor 2. Only this may
 * change that after sm_log_attach_loop. */
int sm_log_redirect(int fd) SM_MUST_CHECK;
/* After the loop is there: flush once per turn instead of at once. Detach before sm_loop_fini. */
void sm_log_attach_loop(void);
void sm_log_detach_loop(void);

/*
 * One event. `pairs` is NULL or a printf-like list, which must be a string literal, because it is
 * taken apart only once: each %-directive is escaped as a value, what is literal stands as it is.
 *     sm_log(SM_INFO, "ss.mail", "ss_ta=%I mail=<%S> size=%llu", id, sender, size)
 * Directives: %S struct sm_str; %s char *; %d int, %u and %x unsigned, each also with l, ll or z
 * before it; %m int64_t milliseconds, shown as seconds; %I struct sm_id; %C struct sm_cid; %A const
 * struct sm_sa *; %E int error code (its text and the diag); %%. Another one is a bug (asserted).
 * With `?` behind the percent sign the pair is left out when its value is empty, 0 or no id. A
 * value is cut at 640 bytes, a line at 8 KiB (in JSON: whole pairs, then "cut":true). Pairs are
 * separated by a space in the list. Only the loop's thread logs.
 */
void sm_log(enum sm_sev sev, const char *event, const char *pairs, ...);
/* Escape as values are: for others who print peer data (control answers, dumps). At most `max`
 * bytes, then "...". */
struct sm_buf;
void sm_log_escape(struct sm_buf *b, struct sm_str s, size_t max);
/* The same for text that people read and no program takes apart: spaces stay. */
void sm_log_escape_text(struct sm_buf *b, struct sm_str s, size_t max);
/* "DEBUG", "INFO", ... */
const char *sm_log_sev_name(enum sm_sev sev);

#endif
