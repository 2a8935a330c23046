/*
 * The policy of greylisting: what becomes of a client, by what is known of its address and what
 * time it is. Pure; any thread.
 *
 *   unknown      it was not here, or that is forgotten: refuse, it is greylisted from now on
 *   greylisted   it was here, and has not come back at the right time yet: less than `wait` after
 *                the first time it is refused once more; until `expire` it becomes whitelisted
 *   whitelisted  it comes in. Silent for white_timeout, it is unknown again; silent for
 * white_expire, it may be removed when room is needed
 *
 * Times are seconds of the greylist's own clock (struct ar_grey_clock), which never jumps.
 */
#ifndef AR_GREY_H
#define AR_GREY_H

#include "libsm/net.h"
#include "smar/grey_conf.h"

enum ar_grey_state { AR_GREY_UNKNOWN, AR_GREY_LISTED, AR_GREY_WHITE };

struct ar_grey_entry {
	enum ar_grey_state state; /* AR_GREY_UNKNOWN: there is none */
	int64_t first_s;          /* since when it is in this state, or came there */
	int64_t last_s;           /* seen */
	int64_t expires_s;        /* from then on it may be removed */
};

/* Decide, and change the entry; true: it comes in. *write: the entry has to be stored. */
bool ar_grey_decide(struct ar_grey_entry *e, int64_t now_s, const struct ar_grey_conf *conf,
                    bool *write);

/*
 * The clock. While smar runs it goes by the monotonic clock, whatever is done to the time of day;
 * over a restart it advances by the time of day, but not backwards, and not by more than
 * AR_GREY_GAP_MAX_S: a time of day that was wrong at a boot neither whitelists nor forgets.
 */
enum { AR_GREY_GAP_MAX_S = 7 * 24 * 60 * 60 };
struct ar_grey_clock {
	int64_t base_s;       /* the greylist's time ... */
	int64_t monotonic_ms; /* ... then */
};
/* What is stored of it. */
struct ar_grey_stamp {
	int64_t grey_s, wall_s;
};
/* `was` NULL: there is nothing stored. */
void ar_grey_clock_start(struct ar_grey_clock *c, const struct ar_grey_stamp *was, int64_t wall_s,
                         int64_t monotonic_ms);
int64_t ar_grey_clock_now(const struct ar_grey_clock *c, int64_t monotonic_ms);

/* The key of an address: its family (4 or 6) and its bits under the mask. 0: it has none. */
enum { AR_GREY_KEY_MAX = 17 };
struct ar_grey_key {
	uint8_t n;
	uint8_t p[AR_GREY_KEY_MAX];
};
void ar_grey_key_of(const struct sm_sa *sa, unsigned bits4, unsigned bits6,
                    struct ar_grey_key *out);

/*
 * Records as they are stored (doc/formats.md), big-endian. SM_E_CORRUPT: it is none, and what comes
 * out is AR_GREY_UNKNOWN.
 */
enum { AR_GREY_RECORD_BYTES = 26, AR_GREY_META_BYTES = 25, AR_GREY_TIME_BYTES = 8 };
struct ar_grey_meta {
	struct ar_grey_stamp stamp;
	uint64_t count; /* of entries */
};
void ar_grey_record_put(const struct ar_grey_entry *e, uint8_t out[AR_GREY_RECORD_BYTES]);
int ar_grey_record_get(struct sm_str in, struct ar_grey_entry *out);
void ar_grey_meta_put(const struct ar_grey_meta *m, uint8_t out[AR_GREY_META_BYTES]);
int ar_grey_meta_get(struct sm_str in, struct ar_grey_meta *out) SM_MUST_CHECK;

#endif
