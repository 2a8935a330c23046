/* A smar with aliases for tests (`site`): its configuration, maps and files, and questions to it.
 * Whatever fails fails the test. */
#ifndef T_ALIAS_SITE_H
#define T_ALIAS_SITE_H

#include "smar/alias.h"
#include "smar/t_site.h"

extern char t_alias_dir[64]; /* that of lists */

/* Of a group of tests: its directory for lists. */
int t_alias_set_up(void **state);
int t_alias_tear_down(void **state);

/* `aliases`, `users`: lines "key value", NULL: not configured; `flags` of theirs; `more`: of the
 * section aliases. */
void t_alias_begin(const char *aliases, const char *flags, const char *more, const char *users,
                   const char *user_flags);
void t_alias_end(void);
/* A list: a file below aliases.include_directory. */
void t_alias_put(const char *name, const char *text);

/* Run it in a coroutine, for files and the loop's timers. */
void t_alias_in_loop(void (*fn)(void));
/* As qmgr does. What ar_resolve() says; strings in `a`, or in site.arena. */
int t_alias_ask_in(struct sm_arena *a, const char *rcpt, const char *after, unsigned flags,
                   unsigned level, struct sm_msg_route *out);
int t_alias_ask(const char *rcpt, const char *after, unsigned flags, unsigned level,
                struct sm_msg_route *out);
/* The same in words: "550 5.1.1 text", "route KEY", or members: "a@b" final, "a@b?" not,
 * "a@b/sender"; "AGAIN". */
const char *t_alias_answer(const char *rcpt, unsigned flags, unsigned level);

#endif
