/*
 * Fault points: parse what a test asks for, count passes, and fail, sleep or die accordingly.
 *
 * Threads: every function may be called from any thread; one mutex guards the table, and nobody
 * sleeps under it. Unless something is armed a pass costs one atomic read.
 */
#include "libsm/fault.h"

#ifdef SM_TESTING

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/rand.h"
#include "libsm/str.h"
#include "libsm/time.h"

#define MAX_ARMED    32
#define POINT_MAX    64
#define TEXT_MAX     4096
#define MAX_DELAY_MS 600000
#define MAX_STEP_S   (100 * INT64_C(365) * 86400)

enum action { FAIL, ERRNO, DELAY, KILL, ABORT, STEP };
enum when { ALWAYS, NTH, FROM, CHANCE };

struct armed {
	char point[POINT_MAX];
	enum action action;
	int err;           /* ERRNO */
	uint64_t delay_ms; /* DELAY */
	int64_t step_ms;   /* STEP */
	enum when when;
	uint64_t n; /* of NTH, FROM; percent of CHANCE */
	uint64_t passes;
	bool struck;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct armed table[MAX_ARMED]; /* under lock */
static size_t count;                  /* under lock */
static atomic_bool any;
static _Atomic int64_t clock_ms;
static int file_fd = -1; /* SM_FAULTS_FILE, held open: a sandboxed process cannot open it again */

/* Seconds, with a sign or without. */
static int parse_step(struct sm_str s, struct armed *a)
{
	bool back = sm_str_has_prefix(s, SM_STR("-"));
	uint64_t step_s;
	int rc = sm_str_u64(sm_str_from(s, back), 10, MAX_STEP_S, &step_s);

	if (strcmp(a->point, "clock") != 0)
		return sm_fail(SM_E_SYNTAX, "only the clock makes a step");
	if (rc == 0)
		a->step_ms = (back ? -1000 : 1000) * (int64_t)step_s;
	return rc;
}

static int parse_action(struct sm_str s, struct armed *a)
{
	static const struct {
		struct sm_str name;
		enum action action;
		int err;
	} names[] = {
	    {SM_STR("eio"), ERRNO, EIO},     {SM_STR("enospc"), ERRNO, ENOSPC},
	    {SM_STR("erofs"), ERRNO, EROFS}, {SM_STR("emfile"), ERRNO, EMFILE},
	    {SM_STR("short"), FAIL, 0},      {SM_STR("fail"), FAIL, 0},
	    {SM_STR("kill"), KILL, 0},       {SM_STR("abort"), ABORT, 0},
	};
	const struct sm_str delay = SM_STR("delay:"), step = SM_STR("step:");

	if (sm_str_has_prefix(s, delay)) {
		a->action = DELAY;
		return sm_str_u64(sm_str_from(s, delay.n), 10, MAX_DELAY_MS, &a->delay_ms);
	}
	if (sm_str_has_prefix(s, step)) {
		a->action = STEP;
		return parse_step(sm_str_from(s, step.n), a);
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(names); i++) {
		if (sm_str_eq(s, names[i].name)) {
			a->action = names[i].action;
			a->err = names[i].err;
			return 0;
		}
	}
	return sm_fail(SM_E_SYNTAX, "no such fault action: " SM_STR_FMT, SM_STR_ARG(s));
}

/* when = N / N+ / N% */
static int parse_when(struct sm_str s, struct armed *a)
{
	uint64_t max = UINT64_MAX;

	a->when = NTH;
	if (sm_str_has_suffix(s, SM_STR("+")))
		a->when = FROM;
	if (sm_str_has_suffix(s, SM_STR("%"))) {
		a->when = CHANCE;
		max = 100;
	}
	if (a->when != NTH)
		s.n--;
	int rc = sm_str_u64(s, 10, max, &a->n);

	if (rc == 0 && a->n == 0 && a->when != CHANCE)
		rc = sm_fail(SM_E_RANGE, "passes are counted from 1");
	return rc;
}

/* point=action[@when] */
static int parse_one(struct sm_str s, struct armed *a)
{
	struct sm_str rest, when;
	struct sm_str point = sm_str_split(s, '=', &rest);
	struct sm_str action = sm_str_split(rest, '@', &when);
	int rc;

	*a = (struct armed){.when = ALWAYS};
	if (point.n == 0 || rest.p == NULL)
		return sm_fail(SM_E_SYNTAX, "not point=action: " SM_STR_FMT, SM_STR_ARG(s));
	if ((rc = sm_str_copy(point, a->point, sizeof(a->point))) != 0)
		return rc;
	if ((rc = parse_action(action, a)) != 0)
		return rc;
	return when.p ? parse_when(when, a) : 0;
}

int sm_fault_arm(const char *text)
{
	struct armed fresh[MAX_ARMED];
	int64_t step_ms = 0;
	size_t n = 0;

	/* All or nothing: a text with an error in it leaves armed what was. */
	for (const char *p = text; p && *p;) {
		size_t len = strcspn(p, ",\n");
		struct sm_str one = sm_str_trim(sm_str_n(p, len));

		p += len + (p[len] != '\0');
		if (one.n == 0)
			continue;
		if (n == MAX_ARMED)
			return sm_fail(SM_E_SYNTAX, "more than %d faults", MAX_ARMED);
		if (parse_one(one, &fresh[n]) != 0)
			return sm_fail_in(SM_E_SYNTAX, "fault");
		step_ms += fresh[n++].step_ms;
	}
	pthread_mutex_lock(&lock);
	if (n > 0)
		memcpy(table, fresh, n * sizeof(fresh[0]));
	count = n;
	atomic_store(&any, n > 0);
	atomic_store(&clock_ms, step_ms);
	pthread_mutex_unlock(&lock);
	return 0;
}

int sm_fault_reload(void)
{
	char text[TEXT_MAX];

	if (file_fd == -1)
		return sm_fail(SM_E_NOTFOUND, "SM_FAULTS_FILE was not there at the start");
	ssize_t n = pread(file_fd, text, sizeof(text) - 1, 0);

	if (n == -1)
		return sm_fail_sys(errno, "SM_FAULTS_FILE");
	text[n] = '\0';
	return sm_fault_arm(text);
}

void sm_fault_init(void)
{
	const char *text = getenv("SM_FAULTS");
	const char *file = getenv("SM_FAULTS_FILE");
	int rc = text ? sm_fault_arm(text) : 0;

	if (file && file_fd == -1)
		file_fd = open(file, O_RDONLY | O_CLOEXEC);
	if (rc == 0 && file_fd != -1 && !text)
		rc = sm_fault_reload();
	if (rc != 0) {
		/* A test that asks for something else than it thinks would pass for the wrong
		 * reason. */
		fprintf(stderr, "fault points: %s\n", sm_diag());
		abort();
	}
}

static bool due(const struct armed *a)
{
	switch (a->when) {
	case ALWAYS:
		return true;
	case NTH:
		return a->passes == a->n;
	case FROM:
		return a->passes >= a->n;
	case CHANCE:
		return sm_rand_below(100) < a->n;
	}
	return false;
}

static void sleep_ms(uint64_t ms)
{
	struct timespec ts = {.tv_sec = (time_t)(ms / 1000),
	                      .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&ts, &ts) == -1 && errno == EINTR)
		continue;
}

/*
 * Tell the log, once for each that is armed: a test must know that what it asked for has happened.
 * Any thread, and the process may be gone with the next instruction: a line of its own, at once.
 */
static void tell(struct armed *a)
{
	static const char *const names[] = {[FAIL] = "fail", [ERRNO] = "errno", [DELAY] = "delay",
	                                    [KILL] = "kill", [ABORT] = "abort", [STEP] = "step"};
	int64_t now = sm_wall_ms();
	char line[160];
	int n;

	if (a->struck)
		return;
	a->struck = true;
	n = snprintf(line, sizeof(line),
	             "%lld.%03d NOTICE fault.struck point=%s, action=%s, errno=%d, pass=%llu\n",
	             (long long)(now / 1000), (int)(now % 1000), a->point, names[a->action], a->err,
	             (unsigned long long)a->passes);
	(void)!write(STDERR_FILENO, line, (size_t)n);
}

int sm_fault(const char *point)
{
	uint64_t delay_ms = 0;
	int rc = 0;

	if (SM_LIKELY(!atomic_load_explicit(&any, memory_order_relaxed)))
		return 0;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++) {
		struct armed *a = &table[i];

		if (strcmp(a->point, point) != 0)
			continue;
		a->passes++;
		if (!due(a))
			continue;
		tell(a);
		switch (a->action) {
		case FAIL:
			rc = -1;
			break;
		case ERRNO:
			rc = a->err;
			break;
		case DELAY:
			delay_ms += a->delay_ms;
			break;
		case KILL:
			kill(getpid(), SIGKILL);
			break;
		case ABORT:
			abort();
		case STEP: /* nobody passes there */
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	if (delay_ms > 0)
		sleep_ms(delay_ms);
	return rc;
}

int64_t sm_fault_clock_ms(void)
{
	return atomic_load_explicit(&clock_ms, memory_order_relaxed);
}

int sm_fault_of(const char *prefix, struct sm_str value)
{
	char point[POINT_MAX];
	int n;

	if (SM_LIKELY(!atomic_load_explicit(&any, memory_order_relaxed)))
		return 0;
	n = snprintf(point, sizeof(point), "%s" SM_STR_FMT, prefix, SM_STR_ARG(value));
	return n < 0 || (size_t)n >= sizeof(point) ? 0 : sm_fault(point);
}

uint64_t sm_fault_passes(const char *point)
{
	uint64_t passes = 0;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].point, point) == 0)
			passes = SM_MAX(passes, table[i].passes);
	pthread_mutex_unlock(&lock);
	return passes;
}

#endif
