/*
 * The clocks and the two printed forms of time. The fake clock is one for the whole process,
 * because helper threads must see the same time as the loop; its variables are atomics and may be
 * read anywhere.
 */
#include "libsm/time.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "libsm/fault.h"

static atomic_bool fake;
static _Atomic int64_t fake_mono_us, fake_wall_ms;

static int64_t read_us(clockid_t clock)
{
	struct timespec ts;

	sm_assert(clock_gettime(clock, &ts) == 0);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t sm_now_us(void)
{
	if (SM_UNLIKELY(atomic_load_explicit(&fake, memory_order_acquire)))
		return fake_mono_us;
	return read_us(CLOCK_MONOTONIC);
}

int64_t sm_now_ms(void)
{
	return sm_now_us() / 1000;
}

int64_t sm_wall_ms(void)
{
	if (SM_UNLIKELY(atomic_load_explicit(&fake, memory_order_acquire)))
		return fake_wall_ms;
	return read_us(CLOCK_REALTIME) / 1000 + SM_FAULT_CLOCK_MS();
}

int64_t sm_wall_s(void)
{
	return sm_wall_ms() / 1000;
}

void sm_time_fake(int64_t mono_ms, int64_t wall_s)
{
	fake_mono_us = mono_ms * 1000;
	fake_wall_ms = wall_s * 1000;
	atomic_store_explicit(&fake, true, memory_order_release);
}

void sm_time_fake_step(int64_t ms)
{
	sm_assert(fake);
	fake_mono_us += ms * 1000;
	fake_wall_ms += ms;
}

void sm_time_real(void)
{
	atomic_store_explicit(&fake, false, memory_order_release);
}

/* A time whose year has not four digits cannot be printed in either form; it is shown as the
 * nearest that can. */
static time_t printable(int64_t wall_s)
{
	const int64_t year_0 = -62167132800, year_9999 = 253402214400;

	return (time_t)SM_MIN(SM_MAX(wall_s, year_0), year_9999);
}

/* `v` in decimal, with leading zeros up to `width` digits, cut to them from above. Gives the place
 * behind. */
static char *put(char *to, int v, int width)
{
	for (int i = width - 1; i >= 0; i--, v /= 10)
		to[i] = (char)('0' + v % 10);
	return to + width;
}

static char *put_clock(char *to, const struct tm *tm)
{
	to = put(to, tm->tm_hour, 2);
	*to++ = ':';
	to = put(to, tm->tm_min, 2);
	*to++ = ':';
	return put(to, tm->tm_sec, 2);
}

void sm_time_rfc5322(int64_t wall_s, char out[SM_TIME_RFC5322_MAX])
{
	/* Not strftime: the names are English whatever the locale. */
	static const char days[] = "Sun, Mon, Tue, Wed, Thu, Fri, Sat, ";
	static const char months[] = " Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec ";
	time_t t = printable(wall_s);
	struct tm tm;
	char *to = out;

	sm_assert(localtime_r(&t, &tm) != NULL);
	to = mempcpy(to, days + 5 * tm.tm_wday, 5);
	to = put(to, tm.tm_mday, tm.tm_mday < 10 ? 1 : 2);
	to = mempcpy(to, months + 4 * tm.tm_mon, 5);
	to = put(to, tm.tm_year + 1900, 4);
	*to++ = ' ';
	to = put_clock(to, &tm);
	int zone_min = (int)(tm.tm_gmtoff / 60);

	to = mempcpy(to, zone_min < 0 ? " -" : " +", 2);
	zone_min = zone_min < 0 ? -zone_min : zone_min;
	to = put(to, zone_min / 60, 2);
	to = put(to, zone_min % 60, 2);
	*to = '\0';
}

void sm_time_iso(int64_t wall_ms, char out[SM_TIME_ISO_MAX])
{
	int64_t s = wall_ms / 1000;
	int64_t ms = wall_ms % 1000;

	if (ms < 0) {
		ms += 1000;
		s--;
	}
	time_t t = printable(s);
	struct tm tm;
	char *to = out;

	sm_assert(gmtime_r(&t, &tm) != NULL);
	to = put(to, tm.tm_year + 1900, 4);
	*to++ = '-';
	to = put(to, tm.tm_mon + 1, 2);
	*to++ = '-';
	to = put(to, tm.tm_mday, 2);
	*to++ = 'T';
	to = put_clock(to, &tm);
	*to++ = '.';
	to = put(to, (int)ms, 3);
	*to++ = 'Z';
	*to = '\0';
}
