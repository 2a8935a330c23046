/*
 * From lists in DNS to actions.
 *
 * Invariant: what is no address of 127.0.0.0/8, or is one of 127.255.255.0/24, is never looked up;
 * one such record makes the whole answer worthless. Thread: the loop's; coroutine when it may wait.
 */
#include "smar/dnsbl.h"

#include <stdlib.h>

#include "libsm/log.h"
#include "libsm/loop.h"
#include "smar/check_int.h"
#include "smar/reverse.h"

enum {
	ALARM_EVERY_MS = 10 * 60 * 1000, /* for each list */
	TEST_EVERY_MS = 24 * 60 * 60 * 1000,
	/* Answers of the test are looked at so much later than they were asked for. */
	TEST_SLACK_MS = 1000,
	NET_LOOPBACK = 127,
	TAG_BYTES = AR_DNSBL_TAG_MAX + 2
};

static struct {
	const struct ar *ar;
	struct sm_timer timer;
	struct ar_dnsbl_stats stats;
	/* By the list's place: after a reload it may be another list, which is then told late. */
	int64_t quiet_until_ms[AR_DNSBL_MAX];
	uint64_t unsaid[AR_DNSBL_MAX];
} d;

static const struct ar_dnsbl_conf *list_of(const struct ar *ar, size_t i)
{
	return &((const struct ar_dnsbl_conf *)ar->conf->dnsbl.v)[i];
}

/* ---- questions ---- */

/* In lower case, as the cache wants it. False: no address of the Internet. */
static bool question(const struct ar_dnsbl_conf *list, const struct sm_sa *client,
                     char out[AR_DNS_NAME_MAX + 1])
{
	char zone[AR_DNS_NAME_MAX + 1];

	sm_str_lower(list->domain, zone);
	return ar_reverse_name(client, sm_str_n(zone, list->domain.n),
	                       sm_str_n(zone, list->domain.n), out);
}

static void start_question(const struct ar_dnsbl_conf *list, const struct sm_sa *client)
{
	char name[AR_DNS_NAME_MAX + 1];
	struct ar_answer *a;

	if (!question(list, client, name))
		return;
	a = ar_cache_get(sm_str(name), AR_DNS_A);
	ar_answer_put(&a);
}

void ar_dnsbl_ask(const struct ar *ar, const struct sm_sa *client)
{
	for (size_t i = 0; i < ar->conf->dnsbl.count; i++)
		start_question(list_of(ar, i), client);
}

/* ---- answers ---- */

static bool is_strange(const uint8_t addr[4])
{
	return addr[0] != NET_LOOPBACK || (addr[1] == 255 && addr[2] == 255);
}

/* The record that says that the list does not work for us; NULL: none. */
static const struct ar_rr *strange_one(const struct ar_answer *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (is_strange(a->rr[i].addr))
			return &a->rr[i];
	return NULL;
}

static void alarm_of(const struct ar *ar, const struct ar_ctx *ctx, size_t i,
                     const struct ar_rr *rr)
{
	int64_t now_ms = sm_loop_now_ms();

	if (ctx->dry != NULL)
		return;
	d.stats.strange++;
	d.unsaid[i]++;
	if (now_ms < d.quiet_until_ms[i])
		return;
	sm_log(SM_ERROR, "ar.dnsbl", "list=%S answer=%u.%u.%u.%u count=%llu trouble=%s",
	       list_of(ar, i)->domain, rr->addr[0], rr->addr[1], rr->addr[2], rr->addr[3],
	       (unsigned long long)d.unsaid[i],
	       "this answer is an error of the list or of its use, not a listing");
	d.quiet_until_ms[i] = now_ms + ALARM_EVERY_MS;
	d.unsaid[i] = 0;
}

/* "tag:", as keys are. */
static struct sm_str tag_of(const struct ar_dnsbl_conf *list, char out[TAG_BYTES])
{
	size_t n = list->tag.n;

	sm_str_lower(list->tag, out);
	out[n] = ':';
	return sm_str_n(out, n + 1);
}

static void tell(const struct ar_ctx *ctx, const struct ar_dnsbl_conf *list,
                 const struct sm_sa *client, const struct ar_keys *keys)
{
	if (ctx->dry != NULL)
		return;
	d.stats.listed++;
	sm_log(SM_INFO, "ar.dnsbl", "list=%S client=%A key=%S", list->domain, client, keys->key);
}

static int by_address(const void *a, const void *b)
{
	return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, 4);
}

/*
 * Each address of the answer, the lowest first: servers turn them around, and the result may not
 * depend on that.
 */
static int find_addresses(const struct ar *ar, const struct ar_ctx *ctx,
                          const struct ar_dnsbl_conf *list, const struct sm_sa *client,
                          const struct ar_answer *a, struct ar_action *out)
{
	const uint8_t *sorted[AR_DNS_RR_MAX];
	char tag[TAG_BYTES];
	int rc = 0;

	for (size_t i = 0; i < a->count; i++)
		sorted[i] = a->rr[i].addr;
	qsort(sorted, a->count, sizeof(sorted[0]), by_address);
	for (size_t i = 0; i < a->count && rc == 0 && out->none; i++) {
		struct ar_rr rr = {0};
		struct ar_keys keys;
		struct sm_sa sa;

		memcpy(rr.addr, sorted[i], 4);
		sa = ar_rr_sa(&rr, AR_DNS_A);
		ar_keys_ip(&keys, tag_of(list, tag), &sa, 0);
		rc = ar_access_find(ar, ctx, &keys, out);
		if (rc == 0 && !out->none)
			tell(ctx, list, client, &keys);
	}
	return rc;
}

static int find_failure(const struct ar *ar, const struct ar_ctx *ctx,
                        const struct ar_dnsbl_conf *list, const struct sm_sa *client,
                        const struct ar_answer *a, struct ar_action *out)
{
	char tag[TAG_BYTES];
	struct ar_keys keys;
	int rc;

	ar_keys_word(&keys, tag_of(list, tag), a->refused ? SM_STR("perm") : SM_STR("temp"));
	rc = ar_access_find(ar, ctx, &keys, out);
	if (rc == 0 && !out->none)
		tell(ctx, list, client, &keys);
	return rc;
}

static int check_list(const struct ar *ar, const struct ar_ctx *ctx, size_t i,
                      const struct sm_sa *client, struct ar_action *out)
{
	const struct ar_dnsbl_conf *list = list_of(ar, i);
	char name[AR_DNS_NAME_MAX + 1];
	const struct ar_rr *strange;
	struct ar_answer *a;
	int rc = 0;

	if (!question(list, client, name))
		return 0;
	a = ar_ask(ctx, sm_str(name), AR_DNS_A);
	if (a == NULL)
		return SM_E_AGAIN;
	strange = strange_one(a);
	if (strange != NULL)
		alarm_of(ar, ctx, i, strange);
	else if (a->status == AR_DNS_TEMP)
		rc = find_failure(ar, ctx, list, client, a, out);
	else
		rc = find_addresses(ar, ctx, list, client, a, out);
	ar_answer_put(&a);
	return rc;
}

int ar_dnsbl_check(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_sa *client,
                   struct ar_action *out)
{
	int rc = 0;

	*out = (struct ar_action){.kind = AR_ACTION_CONT, .none = true};
	for (size_t i = 0; i < ar->conf->dnsbl.count && rc == 0 && out->none; i++)
		rc = check_list(ar, ctx, i, client, out);
	return rc;
}

struct ar_dnsbl_stats ar_dnsbl_stats(void)
{
	return d.stats;
}

/* ---- does it work? ---- */

static struct sm_sa test_address(uint8_t last)
{
	const struct ar_rr rr = {.addr = {NET_LOOPBACK, 0, 0, last}};

	return ar_rr_sa(&rr, AR_DNS_A);
}

/* What the list says of 127.0.0.`last`; no answer in time is TEMP. */
static enum ar_dns_status tested(const struct ar_dnsbl_conf *list, uint8_t last, bool *strange)
{
	struct sm_sa sa = test_address(last);
	enum ar_dns_status status = AR_DNS_TEMP;
	char name[AR_DNS_NAME_MAX + 1];
	struct ar_answer *a = NULL;

	*strange = false;
	if (question(list, &sa, name))
		a = ar_cache_get(sm_str(name), AR_DNS_A);
	if (a != NULL) {
		status = a->status;
		*strange = strange_one(a) != NULL;
	}
	ar_answer_put(&a);
	return status;
}

static void judge(const struct ar_dnsbl_conf *list)
{
	bool strange_first, strange_second;
	enum ar_dns_status first = tested(list, 1, &strange_first);
	enum ar_dns_status second = tested(list, 2, &strange_second);
	const char *trouble = NULL;

	if (strange_first || strange_second)
		trouble = "it answers with addresses that are no listing: it is not in use";
	else if (first == AR_DNS_TEMP || second == AR_DNS_TEMP)
		trouble = "it does not answer";
	else if (first == AR_DNS_OK)
		trouble = "127.0.0.1 is listed: it lists every address, or is no such list";
	else if (second != AR_DNS_OK)
		trouble = "127.0.0.2 is not listed: it may be gone";
	if (trouble != NULL)
		sm_log(SM_WARN, "ar.dnsbl", "list=%S trouble=%s", list->domain, trouble);
}

static void start_test(void *arg);

static void end_test(void *arg SM_UNUSED)
{
	for (size_t i = 0; i < d.ar->conf->dnsbl.count; i++)
		judge(list_of(d.ar, i));
	sm_timer_set(&d.timer, sm_now_ms() + TEST_EVERY_MS, start_test, NULL);
}

static void start_test(void *arg SM_UNUSED)
{
	struct sm_sa listed = test_address(2), not_listed = test_address(1);

	ar_dnsbl_ask(d.ar, &not_listed);
	ar_dnsbl_ask(d.ar, &listed);
	sm_timer_set(&d.timer, sm_now_ms() + d.ar->dns_timeout_ms + TEST_SLACK_MS, end_test, NULL);
}

void ar_dnsbl_start(const struct ar *ar)
{
	d.ar = ar;
	ar_dnsbl_test_soon();
}

void ar_dnsbl_test_soon(void)
{
	if (d.ar != NULL)
		sm_timer_set(&d.timer, sm_now_ms(), start_test, NULL);
}

void ar_dnsbl_stop(void)
{
	sm_timer_cancel(&d.timer);
	d.ar = NULL;
}
