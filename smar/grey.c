/*
 * States, clock, keys and records of the greylist. Invariants: an entry is whitelisted only by a
 * client that came a second time between wait and expire; the clock never goes back. Pure; any
 * thread.
 */
#include "smar/grey.h"

#include "libsm/err.h"

enum {
	RECORD_VERSION = 1,
	META_VERSION = 1,
	STORE_EVERY_S = 60, /* a whitelisted client that sends all day is written so often */
};
#define TIME_MAX_S (INT64_C(1) << 40)

/* ---- states ---- */

static void set_listed(struct ar_grey_entry *e, int64_t now_s, const struct ar_grey_conf *conf)
{
	*e = (struct ar_grey_entry){.state = AR_GREY_LISTED,
	                            .first_s = now_s,
	                            .last_s = now_s,
	                            .expires_s = now_s + conf->expire_ms / 1000};
}

static void set_seen(struct ar_grey_entry *e, int64_t now_s, const struct ar_grey_conf *conf)
{
	e->last_s = now_s;
	e->expires_s = now_s + conf->white_expire_ms / 1000;
}

static bool decide_listed(struct ar_grey_entry *e, int64_t now_s, const struct ar_grey_conf *conf,
                          bool *write)
{
	int64_t age_s = now_s - e->first_s;

	if (age_s >= 0 && age_s < conf->wait_ms / 1000)
		return false;
	*write = true;
	/* From the future: of another clock. It is not proved that it has waited. */
	if (age_s < 0 || age_s >= conf->expire_ms / 1000) {
		set_listed(e, now_s, conf);
		return false;
	}
	e->state = AR_GREY_WHITE;
	set_seen(e, now_s, conf);
	return true;
}

static bool decide_white(struct ar_grey_entry *e, int64_t now_s, const struct ar_grey_conf *conf,
                         bool *write)
{
	int64_t idle_s = now_s - e->last_s;

	if (idle_s >= conf->white_timeout_ms / 1000) {
		*write = true;
		set_listed(e, now_s, conf);
		return false;
	}
	if (idle_s >= STORE_EVERY_S || idle_s >= conf->white_expire_ms / 1000 / 10) {
		*write = true;
		set_seen(e, now_s, conf);
	}
	return true;
}

bool ar_grey_decide(struct ar_grey_entry *e, int64_t now_s, const struct ar_grey_conf *conf,
                    bool *write)
{
	*write = false;
	switch (e->state) {
	case AR_GREY_UNKNOWN:
		break;
	case AR_GREY_LISTED:
		return decide_listed(e, now_s, conf, write);
	case AR_GREY_WHITE:
		return decide_white(e, now_s, conf, write);
	}
	*write = true;
	set_listed(e, now_s, conf);
	return false;
}

/* ---- the clock ---- */

void ar_grey_clock_start(struct ar_grey_clock *c, const struct ar_grey_stamp *was, int64_t wall_s,
                         int64_t monotonic_ms)
{
	c->monotonic_ms = monotonic_ms;
	c->base_s = wall_s;
	if (was == NULL)
		return;
	c->base_s = was->grey_s;
	if (wall_s > was->wall_s)
		c->base_s += SM_MIN(wall_s - was->wall_s, (int64_t)AR_GREY_GAP_MAX_S);
}

int64_t ar_grey_clock_now(const struct ar_grey_clock *c, int64_t monotonic_ms)
{
	return c->base_s + (monotonic_ms - c->monotonic_ms) / 1000;
}

/* ---- keys ---- */

static void copy_bits(uint8_t *out, const uint8_t *in, size_t n, unsigned bits)
{
	for (size_t i = 0; i < n; i++) {
		unsigned here = bits >= 8 ? 8 : bits;

		out[i] = (uint8_t)(in[i] & (0xFF00U >> here));
		bits -= here;
	}
}

void ar_grey_key_of(const struct sm_sa *sa, unsigned bits4, unsigned bits6, struct ar_grey_key *out)
{
	const uint8_t *v6 = sa->u.in6.sin6_addr.s6_addr;

	memset(out, 0, sizeof(*out));
	if (sa->len == 0)
		return;
	if (sa->u.sa.sa_family == AF_INET) {
		out->n = 5;
		out->p[0] = 4;
		copy_bits(out->p + 1, (const uint8_t *)&sa->u.in4.sin_addr, 4, bits4);
	} else if (sa->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&sa->u.in6.sin6_addr)) {
		out->n = 5;
		out->p[0] = 4;
		copy_bits(out->p + 1, v6 + 12, 4, bits4);
	} else if (sa->u.sa.sa_family == AF_INET6) {
		out->n = 17;
		out->p[0] = 6;
		copy_bits(out->p + 1, v6, 16, bits6);
	}
}

/* ---- records ---- */

static uint8_t *put64(uint8_t *p, int64_t v)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		*p++ = (uint8_t)((uint64_t)v >> shift);
	return p;
}

static int64_t get64(struct sm_str in, size_t at)
{
	uint64_t v = 0;

	for (size_t i = 0; i < 8; i++)
		v = v << 8 | (uint8_t)in.p[at + i];
	return (int64_t)v;
}

/* So that nothing overflows that is done with it. */
static bool is_time(int64_t v)
{
	return v >= 0 && v <= TIME_MAX_S;
}

void ar_grey_record_put(const struct ar_grey_entry *e, uint8_t out[AR_GREY_RECORD_BYTES])
{
	out[0] = RECORD_VERSION;
	out[1] = (uint8_t)e->state;
	(void)put64(put64(put64(out + 2, e->first_s), e->last_s), e->expires_s);
}

int ar_grey_record_get(struct sm_str in, struct ar_grey_entry *out)
{
	*out = (struct ar_grey_entry){.state = AR_GREY_UNKNOWN};
	if (in.n != AR_GREY_RECORD_BYTES || in.p[0] != RECORD_VERSION ||
	    (in.p[1] != AR_GREY_LISTED && in.p[1] != AR_GREY_WHITE) || !is_time(get64(in, 2)) ||
	    !is_time(get64(in, 10)) || !is_time(get64(in, 18)))
		return SM_E_CORRUPT;
	*out = (struct ar_grey_entry){(enum ar_grey_state)in.p[1], get64(in, 2), get64(in, 10),
	                              get64(in, 18)};
	return 0;
}

void ar_grey_meta_put(const struct ar_grey_meta *m, uint8_t out[AR_GREY_META_BYTES])
{
	out[0] = META_VERSION;
	(void)put64(put64(put64(out + 1, m->stamp.grey_s), m->stamp.wall_s), (int64_t)m->count);
}

int ar_grey_meta_get(struct sm_str in, struct ar_grey_meta *out)
{
	*out = (struct ar_grey_meta){0};
	if (in.n != AR_GREY_META_BYTES || in.p[0] != META_VERSION || !is_time(get64(in, 1)) ||
	    !is_time(get64(in, 9)) || get64(in, 17) < 0)
		return SM_E_CORRUPT;
	*out = (struct ar_grey_meta){{get64(in, 1), get64(in, 9)}, (uint64_t)get64(in, 17)};
	return 0;
}
