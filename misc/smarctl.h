/*
 * smarctl: what operators wonder about, asked of smar. smarctl.c has the command line, _check.c
 * plays a dialogue, _print.c shows answers to people.
 */
#ifndef MISC_SMARCTL_H
#define MISC_SMARCTL_H

#include "misc/ctl.h"
#include "smtps/conf.h"

#define AC_SOCKET SMX_QUEUEDIR "/smarctl/smar"
#define AC_CONF   SMX_SYSCONFDIR "/smx.conf"

enum { AC_RCPTS_MAX = 100 };

struct ac {
	const char *socket;
	bool json;
	struct sm_buf out;

	/* check */
	const char *conf_path, *client, *client_name, *helo, *auth, *from, *listener, *flags;
	const char *to[AC_RCPTS_MAX];
	size_t to_count;
};

/* Ask smar; each line goes to stdout, and also to `look` (may be NULL). Gives the exit status. */
int ac_ask(struct ac *ac, const char *verb, const struct sm_str *words, size_t count,
           void (*look)(void *arg, const json_t *line), void *arg);
/* An argument "--name=value", until the end of the process. */
struct sm_str ac_option(const char *name, const char *value);
/* The whole of `check`. */
int ac_check(struct ac *ac);

/* ---- smarctl_print.c: lines for people, appended to `b` ---- */

void ac_print(struct sm_buf *b, const json_t *line);

#endif
