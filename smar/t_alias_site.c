/* A smar with aliases for tests: its configuration, maps and files, and questions to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smar/t_alias_site.h"

#include "libsm/addr.h"
#include "libsm/buf.h"
#include "libsm/loop.h"
#include "libsm/offload.h"
#include "smar/resolve.h"

static const char mailertable[] = "host.example lmtp:\n"
				  "local.dom lmtp:\n"
				  "first.dom lmtp:\n"
				  "second.dom lmtp:\n"
				  ".domain lmtp:\n"
				  "virt.dom lmtp:\n"
				  ". [192.0.2.1]\n";

char t_alias_dir[64];

int t_alias_set_up(void **state SM_UNUSED)
{
	snprintf(t_alias_dir, sizeof(t_alias_dir), "/tmp/t_alias.XXXXXX");
	assert_non_null(mkdtemp(t_alias_dir));
	return 0;
}

int t_alias_tear_down(void **state SM_UNUSED)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -r %s", t_alias_dir);
	return system(command);
}

/* One string for each line. */
static void entries(struct sm_buf *b, const char *name, const char *lines)
{
	struct sm_str text = sm_str(lines), line;

	sm_buf_printf(b, "map %s { type = inline; entries = {", name);
	while (text.n > 0) {
		line = sm_str_split(text, '\n', &text);
		sm_buf_char(b, '"');
		for (size_t i = 0; i < line.n; i++)
			sm_buf_printf(b, line.p[i] == '"' || line.p[i] == '\\' ? "\\%c" : "%c",
			              line.p[i]);
		sm_buf_printf(b, "\"%s", text.n > 0 ? "," : "");
	}
	sm_buf_cstr(b, "}; }\n");
}

/* `aliases`, `users`: lines "key value", NULL: not configured. */
void t_alias_begin(const char *aliases, const char *flags, const char *more, const char *users,
                   const char *user_flags)
{
	struct sm_buf b;

	sm_buf_init(&b, 1 << 24);
	if (aliases != NULL) {
		entries(&b, "al", aliases);
		sm_buf_printf(&b,
		              "aliases { name = al; flags = { %s }; include_directory = \"%s\"; "
		              "%s }\n",
		              flags, t_alias_dir, more);
	}
	if (users != NULL) {
		entries(&b, "us", users);
		sm_buf_printf(&b, "local_user_map { name = us; flags = { %s }; }\n", user_flags);
	}
	sm_buf_char(&b, '\0');
	t_site_open(sm_buf_p(&b), mailertable);
	site.ar.hostname = SM_STR("host.example");
	sm_buf_fini(&b);
}

void t_alias_end(void)
{
	ar_alias_fini();
	t_site_close();
}

/* ---- in a coroutine, for files and the loop's timers ---- */

static void (*body)(void);

static void run_body(void *arg SM_UNUSED)
{
	body();
	sm_loop_stop(0);
}

void t_alias_in_loop(void (*fn)(void))
{
	assert_int_equal(sm_loop_init(), 0);
	assert_int_equal(sm_offload_init(1), 0);
	body = fn;
	assert_non_null(sm_co_spawn("test", run_body, NULL));
	assert_int_equal(sm_loop_run(), 0);
	sm_offload_fini();
	ar_alias_fini();
	sm_co_cleanup();
	sm_loop_fini();
}

int t_alias_ask_in(struct sm_arena *a, const char *rcpt, const char *after, unsigned flags,
                   unsigned level, struct sm_msg_route *out)
{
	struct ar_ctx ctx = {
	    .a = a, .deadline_ms = sm_now_ms() + 60000, .may_wait = sm_co_self() != NULL};
	struct sm_msg_route_get m = {
	    .rcpt = sm_str(rcpt), .after = sm_str(after), .flags = flags, .level = (uint8_t)level};

	return ar_resolve(&site.ar, &ctx, &m, out);
}

int t_alias_ask(const char *rcpt, const char *after, unsigned flags, unsigned level,
                struct sm_msg_route *out)
{
	return t_alias_ask_in(&site.arena, rcpt, after, flags, level, out);
}

/* "550 5.1.1 text", "route KEY", or members: "a@b" final, "a@b?" not, "a@b/sender". */
const char *t_alias_answer(const char *rcpt, unsigned flags, unsigned level)
{
	struct sm_msg_route m;
	struct sm_buf b;
	struct sm_str s;
	int rc = t_alias_ask(rcpt, "", flags, level, &m);

	if (rc != 0)
		return "AGAIN";
	sm_buf_init(&b, 1 << 20);
	if (m.status == SM_ROUTE_OK)
		sm_buf_printf(&b, "route " SM_STR_FMT, SM_STR_ARG(m.key));
	else if (m.status != SM_ROUTE_ALIAS)
		sm_buf_printf(&b, "%u " SM_STR_FMT, m.code, SM_STR_ARG(m.text));
	for (size_t i = 0; m.status == SM_ROUTE_ALIAS && i < m.aliases_count; i++) {
		const struct sm_msg_alias_item *x = &m.aliases[i];

		sm_buf_printf(&b, "%s" SM_STR_FMT "%s%s" SM_STR_FMT, i > 0 ? " " : "",
		              SM_STR_ARG(x->addr), (x->flags & SM_ALIAS_FINAL) != 0 ? "" : "?",
		              x->sender.n > 0 ? "/" : "", SM_STR_ARG(x->sender));
		assert_int_equal((x->flags & SM_ALIAS_LIST) != 0, x->sender.n > 0);
	}
	s = sm_arena_str(&site.arena, sm_buf_view(&b));
	sm_buf_fini(&b);
	return s.p;
}

void t_alias_put(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", t_alias_dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0644), 0);
}
