/*
 * The brake on restarts. Invariant: between two starts of a process that keeps dying there are at
 * least min_delay * 2^(deaths - 1), up to max_delay; a process whose exit status says "do not try
 * again" is not tried again. And the rate of starts for connections. No clock, no state of its own;
 * any thread.
 */
#include "mcp/brake.h"

#include <sys/wait.h>

/* BSD sysexits, and what a shell or our own child before exec says when a program cannot be run. */
enum {
	EX_USAGE_ = 64,
	EX_NOPERM_ = 77,
	EX_CONFIG_ = 78,
	EX_TEMPFAIL_ = 75,
	CANNOT_RUN = 126,
	NO_PROGRAM = 127
};

static int64_t backoff(const struct mc_brake_rule *rule, unsigned nth)
{
	int64_t d = rule->min_delay_ms > 0 ? rule->min_delay_ms : 1;

	for (unsigned i = 1; i < nth && d < rule->max_delay_ms; i++)
		d *= 2;
	return SM_MIN(d, rule->max_delay_ms);
}

/* 5, 10, 20, 40 ... */
static bool worth_telling(unsigned deaths)
{
	unsigned n = MC_LOOP_DEATHS;

	while (n < deaths && n <= UINT32_MAX / 2)
		n *= 2;
	return n == deaths;
}

struct mc_brake_next mc_brake_ended(struct mc_brake *b, const struct mc_brake_rule *rule,
                                    int64_t ran_ms, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (code == EX_USAGE_ || code == EX_CONFIG_ || code == EX_NOPERM_ || code == CANNOT_RUN ||
	    code == NO_PROGRAM)
		return (struct mc_brake_next){MC_HOPELESS, 0};
	if (ran_ms >= rule->good_time_ms)
		b->deaths = b->temps = 0;
	if (code == EX_TEMPFAIL_) {
		b->temps++;
		return (struct mc_brake_next){MC_AGAIN, backoff(rule, b->temps)};
	}
	b->temps = 0;
	if (ran_ms >= rule->good_time_ms)
		return (struct mc_brake_next){MC_AGAIN, backoff(rule, 1)};
	b->deaths++;
	if (rule->limit != 0 && b->deaths >= rule->limit)
		return (struct mc_brake_next){MC_GIVEUP, 0};
	return (struct mc_brake_next){worth_telling(b->deaths) ? MC_LOOP : MC_AGAIN,
	                              backoff(rule, b->deaths)};
}

#define SECOND_US 1000000

int64_t mc_rate_wait_ms(const struct mc_rate *r, int64_t per_second, int64_t now_ms)
{
	int64_t ahead_us;

	if (per_second == 0)
		return 0;
	ahead_us = r->free_us - now_ms * 1000 + SECOND_US / per_second - SECOND_US;
	return ahead_us <= 0 ? 0 : (ahead_us + 999) / 1000;
}

void mc_rate_take(struct mc_rate *r, int64_t per_second, int64_t now_ms)
{
	if (per_second > 0)
		r->free_us = SM_MAX(r->free_us, now_ms * 1000) + SECOND_US / per_second;
}
