/* Records of the greylist: whatever stands there, what comes out can be decided on and stored
 * again; and nets as operators write them. */
#include "libsm/err.h"
#include "smar/grey_row.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const struct ar_grey_conf conf = {.wait_ms = 300000,
                                         .expire_ms = 86400000,
                                         .white_expire_ms = 864000000,
                                         .white_timeout_ms = 8640000000,
                                         .netmask = 0xFFFFFF00,
                                         .netmask6 = 64};

static void decide(struct ar_grey_entry *e, int64_t now_s)
{
	uint8_t record[AR_GREY_RECORD_BYTES];
	struct ar_grey_entry again;
	bool write, white = e->state == AR_GREY_WHITE, listed = e->state == AR_GREY_LISTED;
	bool accept = ar_grey_decide(e, now_s, &conf, &write);

	/* Nobody comes in who is not known. */
	sm_assert(!accept || white || listed);
	sm_assert(accept == (e->state == AR_GREY_WHITE));
	ar_grey_record_put(e, record);
	sm_assert(ar_grey_record_get(sm_str_n((char *)record, sizeof(record)), &again) == 0);
	sm_assert(memcmp(&again, e, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str in = sm_str_n((const char *)p, n);
	struct ar_grey_entry e = {0};
	struct ar_grey_clock clock;
	struct ar_grey_meta meta;
	struct ar_grey_key net;
	struct sm_buf b;
	unsigned bits;

	for (int64_t now_s = 1; now_s < INT64_C(1) << 39; now_s *= 7) {
		(void)ar_grey_record_get(in, &e);
		decide(&e, now_s);
		decide(&e, now_s + 400);
	}
	if (ar_grey_meta_get(in, &meta) == 0) {
		ar_grey_clock_start(&clock, &meta.stamp, 1795217632, 5);
		sm_assert(ar_grey_clock_now(&clock, 5) >= meta.stamp.grey_s);
	}
	if (ar_grey_net_parse(in, &conf, &net, &bits) == 0) {
		sm_assert(net.n == 0 || net.n == 5 || net.n == 17);
		sm_assert(bits <= 8U * net.n);
	}
	sm_buf_init(&b, 4096);
	ar_grey_row_put(&b, &net, &e, 1000);
	sm_buf_fini(&b);
	return 0;
}
