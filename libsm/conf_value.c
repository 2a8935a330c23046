/*
 * The values of the configuration language: numbers, booleans, times and sizes, from text and back.
 * Pure functions; any thread.
 */
#include "libsm/conf_value.h"

#include <inttypes.h>

#include "libsm/err.h"

int sm_conf_bool(struct sm_str s, bool *out)
{
	static const char *const words[] = {"0", "false", "off", "1", "true", "on"};

	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++) {
		if (sm_str_caseeq(s, sm_str(words[i]))) {
			*out = i >= 3;
			return 0;
		}
	}
	return sm_fail(SM_E_SYNTAX, "must be 0, false, off, 1, true or on");
}

int sm_conf_int(struct sm_str s, int64_t *out)
{
	bool minus = sm_str_has_prefix(s, SM_STR("-"));
	uint64_t v;
	int rc;

	s = sm_str_from(s, minus);
	if (sm_str_has_caseprefix(s, SM_STR("0x"))) {
		rc = sm_str_u64(sm_str_from(s, 2), 16, INT64_MAX, &v);
	} else if (s.n > 1 && s.p[0] == '0') {
		rc = 0;
		v = 0;
		for (size_t i = 1; rc == 0 && i < s.n; i++) {
			if (s.p[i] < '0' || s.p[i] > '7')
				return sm_fail(
				    SM_E_SYNTAX,
				    "a leading 0 means octal, which has digits 0 to 7 only");
			if (v > INT64_MAX / 8)
				rc = SM_E_RANGE;
			else
				v = v * 8 + (uint64_t)(s.p[i] - '0');
		}
	} else {
		rc = sm_str_u64(s, 10, INT64_MAX, &v);
	}
	if (rc == SM_E_RANGE)
		return sm_fail(rc, "number is too large");
	if (rc != 0)
		return sm_fail(SM_E_SYNTAX, "must be a number");
	*out = minus ? -(int64_t)v : (int64_t)v;
	return 0;
}

struct unit {
	const char *name;
	int64_t factor;
};

/*
 * A bare number, which counts `bare`, or any sequence of numbers with units: "1h 5m 12s", "5m3s".
 * In a sequence numbers are decimal.
 */
static int quantity(struct sm_str s, const struct unit *units, int64_t bare, const char *hint,
                    int64_t *out)
{
	int64_t sum = 0, v, part;
	size_t i = 0;
	int rc;

	s = sm_str_trim(s);
	if (s.n > 0 && s.p[0] != '-' && sm_conf_int(s, &v) == 0) {
		if (__builtin_mul_overflow(v, bare, out))
			return sm_fail(SM_E_RANGE, "number is too large");
		return 0;
	}
	if (s.n == 0)
		return sm_fail(SM_E_SYNTAX, "must be %s", hint);
	while (i < s.n) {
		const struct unit *u = units;
		size_t digits = i, unit;
		uint64_t n;

		while (i < s.n && sm_isdigit(s.p[i]))
			i++;
		rc = sm_str_u64(sm_str_n(s.p + digits, i - digits), 10, INT64_MAX, &n);
		if (rc == SM_E_RANGE)
			return sm_fail(rc, "number is too large");
		for (unit = i; i < s.n && sm_isalpha(s.p[i]); i++)
			;
		while (u->name != NULL &&
		       !sm_str_caseeq(sm_str(u->name), sm_str_n(s.p + unit, i - unit)))
			u++;
		if (rc != 0 || u->name == NULL)
			return sm_fail(SM_E_SYNTAX, "must be %s", hint);
		if (__builtin_mul_overflow((int64_t)n, u->factor, &part) ||
		    __builtin_add_overflow(sum, part, &sum))
			return sm_fail(SM_E_RANGE, "number is too large");
		while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t'))
			i++;
	}
	*out = sum;
	return 0;
}

static const struct unit time_units[] = {
    {"w", 7LL * 86400 * 1000000},
    {"d", 86400LL * 1000000},
    {"h", 3600LL * 1000000},
    {"m", 60LL * 1000000},
    {"s", 1000000},
    {"ms", 1000},
    {"us", 1},
    {NULL, 0},
};

int sm_conf_time(struct sm_str s, bool microseconds, int64_t *out)
{
	int64_t us;
	int rc = quantity(
	    s, time_units, microseconds ? 1 : 1000000,
	    microseconds ? "a time such as 500us or 2ms (a bare number counts microseconds)"
			 : "a time such as 90s or 1h 5m (units w d h m s ms; a bare number counts "
			   "seconds)",
	    &us);

	if (rc != 0)
		return rc;
	if (!microseconds && us % 1000 != 0)
		return sm_fail(SM_E_SYNTAX, "is finer than a millisecond");
	*out = microseconds ? us : us / 1000;
	return 0;
}

/* The short names are for reading only: what prints takes the first that fits. */
static const struct unit size_units[] = {
    {"GB", 1LL << 30}, {"MB", 1LL << 20}, {"KB", 1LL << 10}, {"B", 1},
    {"G", 1LL << 30},  {"M", 1LL << 20},  {"K", 1LL << 10},  {NULL, 0},
};

int sm_conf_size(struct sm_str s, bool kilobytes, int64_t *out)
{
	return quantity(
	    s, size_units, kilobytes ? 1024 : 1,
	    kilobytes
		? "a size such as 64KB or 10MB (units B KB MB GB; a bare number counts KB)"
		: "a size such as 64KB or 10MB (units B KB MB GB; a bare number counts bytes)",
	    out);
}

/* Back to text: the largest unit first, exact, and what the parsers above read back as the same
 * number. */
static void put_quantity(struct sm_buf *b, const struct unit *units, int64_t v, const char *zero)
{
	if (v == 0)
		sm_buf_cstr(b, zero);
	for (const struct unit *u = units; u->name != NULL; u++) {
		if (v / u->factor > 0)
			sm_buf_printf(b, "%" PRId64 "%s", v / u->factor, u->name);
		v %= u->factor;
	}
}

void sm_conf_put_time(struct sm_buf *b, int64_t v, bool microseconds)
{
	/* What does not fit into microseconds is far above every bound; say it in the unit that
	 * holds it. */
	if (!microseconds && v > INT64_MAX / 1000)
		sm_buf_printf(b, "%" PRId64 "ms", v);
	else
		put_quantity(b, time_units, microseconds ? v : v * 1000,
		             microseconds ? "0us" : "0s");
}

void sm_conf_put_size(struct sm_buf *b, int64_t v)
{
	for (const struct unit *u = size_units; u->name != NULL; u++) {
		if (v % u->factor == 0 && (v > 0 || u->factor == 1)) {
			sm_buf_printf(b, "%" PRId64 "%s", v / u->factor, u->name);
			return;
		}
	}
}
