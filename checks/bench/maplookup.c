/*
 * Lookups in smar's mailertable through rpc, from one client: recipients of domains that are there
 * ("d0.bench.example" ... , local) and of as many that are not, so many questions at a time. Each
 * answer is checked. Prints one line of figures; exit 1 when an answer was wrong or none came.
 *
 *     maplookup SOCKET ENTRIES OUTSTANDING COUNT      or "10s": for so long; TERM ends it
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "libsm/log.h"
#include "libsm/loop.h"
#include "libsm/rand.h"
#include "libsm/rpc.h"

enum { OUTSTANDING_MAX = 4096, DEADLINE_MS = 30000, CONNECT_MS = 60000 };

struct question {
	struct sm_call call;
	bool there;
	int64_t asked_us;
	char rcpt[64];
};

static struct {
	uint64_t entries, count, asked, answered, wrong, failed;
	int64_t until_ms, begun_us, worst_us;
	size_t outstanding, open;
	struct sm_link *link;
	struct sm_arena arena;
	struct question v[OUTSTANDING_MAX];
} bench;

static volatile sig_atomic_t ended;

static void on_term(int sig SM_UNUSED)
{
	ended = 1;
}

static bool done(void)
{
	if (ended)
		return true;
	return bench.count > 0 ? bench.asked >= bench.count : sm_now_ms() >= bench.until_ms;
}

static void answered(int err, const struct sm_frame *f, void *arg);

static void ask(struct question *q)
{
	/* Relaying is allowed: the domain alone decides. */
	struct sm_msg_rcpt_check m = {.flags = SM_CHECK_MAY_RELAY};

	if (done()) {
		if (bench.open == 0)
			sm_loop_stop(0);
		return;
	}
	q->there = bench.asked++ % 2 == 0;
	snprintf(q->rcpt, sizeof(q->rcpt), "u@%c%llu.bench.example", q->there ? 'd' : 'n',
	         (unsigned long long)sm_rand_below(bench.entries));
	m.rcpt = sm_str(q->rcpt);
	bench.open++;
	q->asked_us = sm_now_us();
	sm_call(&q->call, sm_link_peer(bench.link), SM_MSG_rcpt_check, &m,
	        sm_now_ms() + DEADLINE_MS, answered, q);
}

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct question *q = arg;
	struct sm_msg_verdict v;

	bench.open--;
	bench.answered++;
	bench.worst_us = SM_MAX(bench.worst_us, sm_now_us() - q->asked_us);
	sm_arena_reset(&bench.arena);
	if (err != 0 || f->type != SM_MSG_verdict ||
	    sm_msg_verdict_decode(f->body, &bench.arena, &v) != 0)
		bench.failed++;
	else if (v.code != 0 || ((v.flags & SM_VERDICT_LOCAL) != 0) != q->there)
		bench.wrong++;
	ask(q);
}

static void begin(void *arg SM_UNUSED)
{
	if (sm_link_wait(bench.link, sm_now_ms() + CONNECT_MS) != 0) {
		fprintf(stderr, "maplookup: %s\n", sm_link_trouble(bench.link));
		sm_loop_stop(1);
		return;
	}
	bench.begun_us = sm_now_us();
	bench.until_ms += sm_now_ms();
	for (size_t i = 0; i < bench.outstanding; i++)
		ask(&bench.v[i]);
}

static int tell(int status)
{
	double seconds = (double)(sm_now_us() - bench.begun_us) / 1e6;

	if (status != 0)
		return status;
	printf("lookups=%llu seconds=%.3f per_second=%.0f worst_ms=%.1f wrong=%llu failed=%llu\n",
	       (unsigned long long)bench.answered, seconds, (double)bench.answered / seconds,
	       (double)bench.worst_us / 1e3, (unsigned long long)bench.wrong,
	       (unsigned long long)bench.failed);
	return bench.wrong + bench.failed > 0;
}

int main(int argc, char **argv)
{
	struct sm_link_conf conf = {.role = SM_ROLE_SMAR};
	int status;

	if (argc != 5) {
		fprintf(stderr, "usage: maplookup SOCKET ENTRIES OUTSTANDING COUNT|SECONDSs\n");
		return 64;
	}
	conf.path = argv[1];
	bench.entries = strtoull(argv[2], NULL, 10);
	bench.outstanding = strtoul(argv[3], NULL, 10);
	bench.count = strtoull(argv[4], NULL, 10);
	if (argv[4][strlen(argv[4]) - 1] == 's') {
		bench.until_ms = (int64_t)bench.count * 1000;
		bench.count = 0;
	}
	if (bench.outstanding == 0 || bench.outstanding > OUTSTANDING_MAX || bench.entries == 0)
		return 64;
	sm_log_init("maplookup", 3);
	if (sm_loop_init() != 0)
		return 71;
	sm_arena_init(&bench.arena, "answer", 4096, 1 << 20);
	sm_rpc_self(SM_ROLE_SMTPS, 0);
	signal(SIGTERM, on_term);
	bench.link = sm_link_open(&conf);
	status = sm_co_spawn("bench", begin, NULL) != NULL ? tell(sm_loop_run()) : 71;
	sm_link_free(&bench.link);
	sm_arena_fini(&bench.arena);
	sm_co_cleanup();
	sm_loop_fini();
	return status;
}
