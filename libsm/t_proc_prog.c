/* A worker for t_proc.c: does nothing but say what it got. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/proc.h"

struct conf {
	int64_t count;
	struct sm_str word, map, fixed;
};

static const struct sm_opt opts[] = {
    {.name = "count",
     .type = SM_OPT_INT,
     .offset = offsetof(struct conf, count),
     .def = "3",
     .max = 10,
     .reload = true,
     .help = "how many"},
    {.name = "word",
     .type = SM_OPT_STR,
     .offset = offsetof(struct conf, word),
     .def = "none",
     .reload = true,
     .help = "which"},
    {.name = "map",
     .type = SM_OPT_PATH,
     .offset = offsetof(struct conf, map),
     .def = "prog.map",
     .unit = "etc",
     .help = "map",
     .reload = true},
    {.name = "fixed",
     .type = SM_OPT_STR,
     .offset = offsetof(struct conf, fixed),
     .def = "f",
     .help = "at start"},
    SM_OPT_END,
};

static void say(const struct sm_proc *p, const char *what, const struct conf *c)
{
	printf("%s: count=%d word=" SM_STR_FMT " map=" SM_STR_FMT " fixed=" SM_STR_FMT
	       " host=" SM_STR_FMT " index=%d level=%d\n",
	       what, (int)c->count, SM_STR_ARG(c->word), SM_STR_ARG(c->map), SM_STR_ARG(c->fixed),
	       SM_STR_ARG(p->global.hostname), p->index, (int)p->worker.log_level);
	fflush(stdout);
}

static int short_opt(struct sm_proc *p, int opt, const char *arg)
{
	return sm_conf_set(opts, p->conf, &p->arena, opt == 'c' ? "count" : "word", arg,
	                   opt == 'c' ? "-c" : "-w");
}

static int check(const void *conf)
{
	const struct conf *c = conf;

	return c->count == 10 && sm_str_eq(c->word, SM_STR("odd"))
	           ? sm_fail(SM_E_RANGE, "ten is not odd")
	           : 0;
}

static void on_reload(struct sm_proc *p, const void *conf)
{
	say(p, conf == p->conf ? "same" : "reload", conf);
}

static void on_term(struct sm_proc *p)
{
	say(p, p->abandoned ? "abandoned" : "term", p->conf);
	sm_loop_stop(SM_EXIT_OK);
}

static void on_file(struct sm_proc *p, const char *name, int fd)
{
	char text[100];
	ssize_t n = pread(fd, text, sizeof(text), 0);

	(void)p;
	printf("file: %s %.*s\n", name, n > 0 ? (int)n : 0, text);
	fflush(stdout);
	close(fd);
}

int main(int argc, char **argv)
{
	struct sm_proc p = {
	    .name = "prog",
	    .opts = opts,
	    .conf_size = sizeof(struct conf),
	    .check = check,
	    .short_opts = "c:w:",
	    .short_opt = short_opt,
	    .usage = "  -c N      count\n",
	    .on_reload = on_reload,
	    .on_term = on_term,
	    .on_file = on_file,
	};
	bool done;
	int status = sm_proc_start(&p, argc, argv, &done);

	if (done)
		return status;
	say(&p, "start", p.conf);
	sm_proc_ready(&p);
	sm_proc_status(&p, "count is %d", (int)((struct conf *)p.conf)->count);
	return sm_proc_end(&p, sm_loop_run());
}
