/*
 * Words and numbers for people. Nothing that came from elsewhere reaches a terminal but through
 * qc_text: what controls it, or turns the direction of writing, is shown as \xHH or \u{HHHH}.
 */
#include "misc/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "libsm/json.h"

const char *qc_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

int64_t qc_num(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

bool qc_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

/* Characters without a place of their own on the screen, or with power over others. */
static bool harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

/* The next character as it is shown, its width in *columns; gives the bytes that it took. */
static size_t next(struct sm_str s, char out[16], unsigned *columns)
{
	uint32_t c = 0;
	size_t n = sm_utf8(s, &c);

	if (n > 0 && !harmful(c)) {
		memcpy(out, s.p, n);
		out[n] = '\0';
		*columns = 1;
		return n;
	}
	if (n <= 1)
		*columns = (unsigned)snprintf(out, 16, "\\x%02x", (unsigned)(unsigned char)s.p[0]);
	else
		*columns = (unsigned)snprintf(out, 16, "\\u{%x}", (unsigned)c);
	return n ? n : 1;
}

static unsigned width_of(struct sm_str s)
{
	unsigned all = 0, one;
	char out[16];

	while (s.n > 0) {
		s = sm_str_from(s, next(s, out, &one));
		all += one;
	}
	return all;
}

void qc_text(struct sm_buf *b, const char *utf8, unsigned width, bool fill)
{
	struct sm_str s = sm_str(utf8);
	unsigned at = 0, one, most = width;
	bool cut = width > 0 && width_of(s) > width;
	char out[16];

	if (cut)
		most = width > 3 ? width - 3 : 0;
	while (s.n > 0) {
		size_t n = next(s, out, &one);

		if (width > 0 && at + one > most)
			break;
		sm_buf_cstr(b, out);
		at += one;
		s = sm_str_from(s, n);
	}
	if (cut) {
		sm_buf_cstr(b, "...");
		at += 3;
	}
	for (; fill && at < width; at++)
		sm_buf_char(b, ' ');
}

const char *qc_duration(int64_t s, char out[24])
{
	static const struct {
		int64_t s;
		char unit;
	} units[] = {{7 * 86400, 'w'}, {86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	size_t i = 0;

	if (s <= 0)
		return "now";
	/* Weeks only from two on: ten days are no "1w3d". */
	if (s < 14 * 86400)
		i = 1;
	while (s < units[i].s)
		i++;

	int64_t whole = s / units[i].s,
		rest = units[i].s > 60 ? s % units[i].s / units[i + 1].s : 0;

	if (rest > 0 && whole < 10)
		snprintf(out, 24, "%" PRId64 "%c%" PRId64 "%c", whole, units[i].unit, rest,
		         units[i + 1].unit);
	else
		snprintf(out, 24, "%" PRId64 "%c", whole, units[i].unit);
	return out;
}

const char *qc_size(int64_t bytes, char out[24])
{
	static const char units[] = "KMGT";
	int i = -1;
	double v = (double)bytes;

	while (v >= 1024 && i < 3) {
		v /= 1024;
		i++;
	}
	if (i < 0)
		snprintf(out, 24, "%" PRId64, bytes);
	else
		snprintf(out, 24, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[i]);
	return out;
}

const char *qc_time(int64_t wall_s, char out[24])
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (wall_s <= 0 || localtime_r(&t, &tm) == NULL || strftime(out, 24, "%F %T", &tm) == 0)
		return "-";
	return out;
}

bool qc_seconds(const char *text, int64_t *out)
{
	struct sm_str s = sm_str(text);
	int64_t sum = 0;

	if (s.n == 0)
		return false;
	while (s.n > 0) {
		size_t n = 0;
		uint64_t v;
		int64_t unit;

		while (n < s.n && sm_isdigit(s.p[n]))
			n++;
		if (n == 0 || n == s.n || sm_str_u64(sm_str_head(s, n), 10, 1000000, &v) != 0)
			return false;
		switch (s.p[n]) {
		case 's':
			unit = 1;
			break;
		case 'm':
			unit = 60;
			break;
		case 'h':
			unit = 3600;
			break;
		case 'd':
			unit = 86400;
			break;
		case 'w':
			unit = 7 * 86400;
			break;
		default:
			return false;
		}
		sum += (int64_t)v * unit;
		s = sm_str_from(s, n + 1);
	}
	*out = sum;
	return sum > 0;
}
