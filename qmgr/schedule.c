/*
 * Minute for minute from now on: is it one of the schedule's? That is the whole of it, so days that
 * have 23 or 25 hours need no rules of their own. Pure; any thread.
 */
#include "qmgr/schedule.h"

#include <time.h>

#include "libsm/err.h"

#define DAY_MIN      1440
#define HORIZON_MIN  (8 * DAY_MIN) /* each row comes by within a week */
#define EVERY_MAX_MS (24 * 3600 * 1000LL)

/* ---- reading ---- */

static int complain(struct sm_str row, const char *what)
{
	return sm_fail(SM_E_SYNTAX, "queue_run.schedule: \"" SM_STR_FMT "\": %s",
	               SM_STR_ARG(sm_str_head(row, 80)), what);
}

static struct sm_str next_word(struct sm_str *s)
{
	size_t from = 0, to;

	while (from < s->n && (s->p[from] == ' ' || s->p[from] == '\t'))
		from++;
	for (to = from; to < s->n && s->p[to] != ' ' && s->p[to] != '\t';)
		to++;

	struct sm_str w = sm_str_n(s->p ? s->p + from : NULL, to - from);

	*s = sm_str_from(*s, to);
	return w;
}

/* What is before the first `sep`; *rest: what is behind it, p NULL when there is none. */
static struct sm_str cut_at(struct sm_str s, char sep, struct sm_str *rest)
{
	ptrdiff_t at = sm_str_chr(s, sep);

	*rest = at < 0 ? SM_STR_NONE : sm_str_from(s, (size_t)at + 1);
	return at < 0 ? s : sm_str_head(s, (size_t)at);
}

static int day_of(struct sm_str s)
{
	static const char *const names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

	for (int i = 0; i < 7; i++)
		if (sm_str_caseeq(s, sm_str(names[i])))
			return i;
	return -1;
}

static bool days_of(struct sm_str s, uint8_t *out)
{
	struct sm_str rest, last;

	*out = 0x7f;
	if (sm_str_eq(s, SM_STR("*")))
		return true;
	for (*out = 0; s.p != NULL; s = rest) {
		struct sm_str first = cut_at(cut_at(s, ',', &rest), '-', &last);
		int from = day_of(first), to = last.p != NULL ? day_of(last) : from;

		if (from < 0 || to < 0)
			return false;
		for (int d = from;; d = (d + 1) % 7) {
			*out |= (uint8_t)(1u << d);
			if (d == to)
				break;
		}
	}
	return true;
}

static bool minute_of(struct sm_str s, uint16_t *out)
{
	uint64_t hour, minute;
	struct sm_str rest;
	struct sm_str first = cut_at(s, ':', &rest);

	if (first.n == 0 || first.n > 2 || rest.p == NULL || rest.n != 2 ||
	    sm_str_u64(first, 10, 24, &hour) != 0 || sm_str_u64(rest, 10, 59, &minute) != 0 ||
	    (hour == 24 && minute != 0))
		return false;
	*out = (uint16_t)(hour * 60 + minute);
	return true;
}

static bool window_of(struct sm_str s, struct qm_schedule_row *r)
{
	struct sm_str rest;
	struct sm_str first = cut_at(s, '-', &rest);

	return rest.p != NULL && minute_of(first, &r->from_min) && minute_of(rest, &r->to_min) &&
	       r->from_min != r->to_min && r->from_min != DAY_MIN;
}

static bool every_of(int64_t ms, uint16_t *out)
{
	if (ms < 0 || ms > EVERY_MAX_MS || ms % 60000 != 0)
		return false;
	*out = (uint16_t)(ms / 60000);
	return true;
}

static int read_row(struct sm_str row, struct qm_schedule_row *out)
{
	struct sm_str rest = row, w[4];
	int64_t ms = 0;
	size_t n = 0;

	while (n < SM_ARRAY_SIZE(w) && (w[n] = next_word(&rest)).n > 0)
		n++;
	*out = (struct qm_schedule_row){.to_min = DAY_MIN};
	if (n != 2 && n != 3)
		return complain(row,
		                "not days, a window like 08:00-18:00 if it has one, and how often");
	if (!days_of(w[0], &out->days))
		return complain(row, "days are like Mon-Fri,Sun, or *");
	if (n == 3 && !window_of(w[1], out))
		return complain(row, "a window is like 08:00-18:00");
	if (sm_str_caseeq(w[n - 1], SM_STR("never")))
		return 0;
	if (sm_conf_time(w[n - 1], false, &ms) != 0 || ms == 0 || !every_of(ms, &out->every_min))
		return complain(row,
		                "how often is a time like 15m, in whole minutes, at most a day, or "
		                "never");
	return 0;
}

int qm_schedule_parse(const struct sm_conf_list *rows, int64_t interval_ms, struct qm_schedule *out)
{
	int err;

	*out = (struct qm_schedule){0};
	if (rows->count > QM_SCHEDULE_ROWS)
		return sm_fail(SM_E_RANGE, "queue_run.schedule: more than %d rows",
		               QM_SCHEDULE_ROWS);
	for (size_t i = 0; i < rows->count; i++)
		if ((err = read_row(rows->v[i], &out->rows[out->count++])) != 0)
			return err;
	out->rows[out->count] = (struct qm_schedule_row){.days = 0x7f, .to_min = DAY_MIN};
	if (!every_of(interval_ms, &out->rows[out->count++].every_min))
		return sm_fail(SM_E_RANGE,
		               "queue_run.interval is no number of whole minutes, at most a day");
	return 0;
}

/* ---- asking ---- */

/* A minute by the local clock. */
struct local {
	int day, minute;
};

static bool on(const struct qm_schedule_row *r, int day)
{
	return r->days >> day & 1;
}

static bool is_in(const struct qm_schedule_row *r, struct local l)
{
	if (r->from_min < r->to_min)
		return on(r, l.day) && l.minute >= r->from_min && l.minute < r->to_min;
	return (l.minute >= r->from_min && on(r, l.day)) ||
	       (l.minute < r->to_min && on(r, (l.day + 6) % 7));
}

static bool is_run(const struct qm_schedule *s, struct local l)
{
	const struct qm_schedule_row *r = s->rows;

	while (r < s->rows + s->count && !is_in(r, l))
		r++;
	return r < s->rows + s->count && r->every_min > 0 &&
	       (l.minute - r->from_min + DAY_MIN) % DAY_MIN % r->every_min == 0;
}

static struct local before(struct local l)
{
	return l.minute > 0 ? (struct local){l.day, l.minute - 1}
	                    : (struct local){(l.day + 6) % 7, DAY_MIN - 1};
}

/* Is there a run at this minute, or in those that the clock left out before it? */
static bool comes(const struct qm_schedule *s, const struct tm *tm, long jumped_s)
{
	struct local l = {tm->tm_wday, tm->tm_hour * 60 + tm->tm_min};

	for (long left = SM_MAX(0, jumped_s / 60); !is_run(s, l); left--) {
		if (left == 0)
			return false;
		l = before(l);
	}
	return true;
}

int64_t qm_schedule_next(const struct qm_schedule *s, int64_t now_s)
{
	time_t t = (time_t)(now_s - now_s % 60);
	struct tm tm;
	long offset_s;
	bool ever = false;

	for (size_t i = 0; i < s->count; i++)
		ever = ever || s->rows[i].every_min > 0;
	if (!ever || localtime_r(&t, &tm) == NULL)
		return QM_NO_RUN;
	offset_s = tm.tm_gmtoff;
	for (int i = 0; i < HORIZON_MIN; i++) {
		t += 60;
		if (localtime_r(&t, &tm) == NULL)
			break;
		if (comes(s, &tm, tm.tm_gmtoff - offset_s))
			return (int64_t)t;
		offset_s = tm.tm_gmtoff;
	}
	return QM_NO_RUN;
}
