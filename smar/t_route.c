/* Where recipients go, and why some go nowhere: a zone, a mailertable, and a table of what is
 * expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <unistd.h>

#include "libsm/rand.h"
#include "smar/check.h"
#include "smar/dns.h"
#include "smar/dns_cache.h"
#include "smar/own.h"
#include "smar/resolve.h"
#include "smar/t_dns_run.h"

static const struct t_dns_row zone[] = {
    {"one.example", AR_DNS_MX, 600, "10 a.one.example"},
    {"a.one.example", AR_DNS_A, 900, "192.0.2.1"},
    {"a.one.example", AR_DNS_AAAA, 900, "2001:db8::1"},
    {"two.example", AR_DNS_MX, 600, "20 b.two.example"},
    {"two.example", AR_DNS_MX, 600, "10 a.two.example"},
    {"a.two.example", AR_DNS_A, 300, "192.0.2.2"},
    {"b.two.example", AR_DNS_A, 300, "192.0.2.3"},
    {"like-two.example", AR_DNS_MX, 600, "7 b.two.example"},
    {"like-two.example", AR_DNS_MX, 600, "5 a.two.example"},
    {"equal.example", AR_DNS_MX, 600, "10 b.two.example"},
    {"equal.example", AR_DNS_MX, 600, "10 a.two.example"},
    {"nomx.example", AR_DNS_A, 600, "192.0.2.4"},
    {"null.example", AR_DNS_MX, 600, "0 "},
    {"half-null.example", AR_DNS_MX, 600, "0 "},
    {"half-null.example", AR_DNS_MX, 600, "10 a.one.example"},
    {"nothing.example", AR_DNS_SOA, 600, "600"},
    {"no-address.example", AR_DNS_MX, 600, "10 none.example"},
    {"no-address.example", AR_DNS_MX, 600, "20 nothing.example"},
    {"servfail.example", 0, 0, "SERVFAIL"},
    {"half-servfail.example", AR_DNS_MX, 600, "10 servfail.example"},
    {"half-servfail.example", AR_DNS_MX, 600, "20 a.two.example"},
    {"mx-servfail.example", AR_DNS_MX, 600, "10 servfail.example"},
    {"mx-servfail.example", AR_DNS_MX, 600, "20 none.example"},
    {"a-only.example", AR_DNS_A, 600, "192.0.2.5"},
    {"a-only.example", AR_DNS_AAAA, 0, "SERVFAIL"},
    {"bad-mx.example", AR_DNS_MX, 600, "10 192.0.2.9"},
    {"own-first.example", AR_DNS_MX, 600, "10 mail.own.example"},
    {"own-first.example", AR_DNS_MX, 600, "20 a.two.example"},
    {"own-last.example", AR_DNS_MX, 600, "10 a.two.example"},
    {"own-last.example", AR_DNS_MX, 600, "20 Alias.OWN.example"},
    {"own-last.example", AR_DNS_MX, 600, "20 b.two.example"},
    {"own-last.example", AR_DNS_MX, 600, "30 a.one.example"},
    {"own-addr.example", AR_DNS_MX, 600, "10 a.two.example"},
    {"own-addr.example", AR_DNS_MX, 600, "20 hidden.example"},
    {"own-addr.example", AR_DNS_MX, 600, "30 b.two.example"},
    {"own-only.example", AR_DNS_MX, 600, "10 hidden.example"},
    {"hidden.example", AR_DNS_A, 600, "198.51.100.1"},
    {"loop4.example", AR_DNS_A, 600, "127.0.0.1"},
    {"loop6.example", AR_DNS_AAAA, 600, "::1"},
    {"mapped.example", AR_DNS_AAAA, 600, "::ffff:127.0.0.2"},
    {"zero.example", AR_DNS_A, 600, "0.0.0.0"},
    {"multicast.example", AR_DNS_A, 600, "224.0.0.1"},
    {"broadcast.example", AR_DNS_A, 600, "255.255.255.255"},
    {"half-loop.example", AR_DNS_A, 600, "127.0.0.1"},
    {"half-loop.example", AR_DNS_A, 600, "192.0.2.7"},
    {"cname.example", AR_DNS_CNAME, 600, "two.example"},
    {"two.example", AR_DNS_SOA, 600, "600"},
    {"many.example", AR_DNS_MX, 600, "10 many-a.example"},
    {"many-a.example", AR_DNS_A, 600, "203.0.113.1"},
    {"many-a.example", AR_DNS_A, 600, "203.0.113.2"},
    {"many-a.example", AR_DNS_A, 600, "203.0.113.3"},
    {"many-a.example", AR_DNS_A, 600, "203.0.113.4"},
    {"many-a.example", AR_DNS_A, 600, "203.0.113.5"},
    {"mail.own.example", AR_DNS_A, 600, "198.51.100.1"},
    /* Clients. */
    {"1.2.0.192.in-addr.arpa", AR_DNS_PTR, 600, "a.one.example"},
    {"2.2.0.192.in-addr.arpa", AR_DNS_PTR, 600, "a.one.example"},
    {"3.2.0.192.in-addr.arpa", AR_DNS_PTR, 600, "servfail.example"},
    {"4.2.0.192.in-addr.arpa", 0, 0, "SERVFAIL"},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", AR_DNS_PTR, 600,
     "a.one.example"},
    {NULL, 0, 0, NULL},
};

static const char mailertable[] =
    "local.example lmtp:\n"
    "lmtp.example 24^lmtp:[10.0.0.1] a.two.example\n"
    "fixed.example 2525^esmtp:[127.0.0.1] [IPv6:2001:db8::9]\n"
    "fixed2.example 2525^[127.0.0.1]  [IPV6:2001:db8::9]\n"
    "gate.example 26^two.example [10.0.0.2]\n"
    "gone.example none.example\n"
    "host.example [two.example] [a.two.example]\n"
    "nomx-host.example 2525^[cname-a.example]\n"
    "here.example 2525^[mail.own.example] [loop4.example]\n"
    "lmtp-here.example 24^lmtp:loop4.example\n"
    "dice.example [10.0.0.1],[10.0.0.2],[10.0.0.3] [10.0.0.4]\n"
    ".sub.example lmtp:\n"
    "[192.0.2.99] [10.0.0.3]\n"
    "literal-own.example [198.51.100.1]\n"
    "[198.51.100.1] lmtp:\n"
    "feed.example lmtp:[unix:/run/Feed]\n"
    "like-two.example mx:\n"
    "Member@two.example 587^[10.0.0.7]\n"
    "ways.example lmtp:[unix:/run/Feed] {recipients >= 3, size <= 1000, first} "
    "else none.example else 26^[10.0.0.4] {size <= 2000, only} else mx:\n"
    "waits.example servfail.example {size <= 2000, only} else [10.0.0.5]\n";

/* Hosts: "name=address:port/preference", sorted as they come. */
static const struct {
	const char *rcpt;
	enum ar_family family;
	enum sm_route_status status;
	uint16_t code;
	const char *text; /* beginning; or, when OK, the hosts */
	const char *key;
} cases[] = {
    {"u@one.example", AR_FAMILY_PREFER_IPV4, SM_ROUTE_OK, 0,
     "a.one.example=192.0.2.1:25/10 a.one.example=[2001:db8::1]:25/10", "smtp:25:a.one.example"},
    {"u@one.example", AR_FAMILY_PREFER_IPV6, SM_ROUTE_OK, 0,
     "a.one.example=[2001:db8::1]:25/10 a.one.example=192.0.2.1:25/10", "smtp:25:a.one.example"},
    {"u@ONE.Example", AR_FAMILY_IPV4, SM_ROUTE_OK, 0, "a.one.example=192.0.2.1:25/10",
     "smtp:25:a.one.example"},
    {"u@one.example", AR_FAMILY_IPV6, SM_ROUTE_OK, 0, "a.one.example=[2001:db8::1]:25/10", NULL},
    {"u@two.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0,
     "a.two.example=192.0.2.2:25/10 b.two.example=192.0.2.3:25/20",
     "smtp:25:a.two.example|b.two.example"},
    {"u@two.example", AR_FAMILY_IPV6, SM_ROUTE_PERM, 550, "5.4.4 ", NULL},
    {"u@nomx.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "nomx.example=192.0.2.4:25/0", NULL},
    {"u@cname.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0,
     "a.two.example=192.0.2.2:25/10 b.two.example=192.0.2.3:25/20",
     "smtp:25:a.two.example|b.two.example"},
    {"u@null.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 556, "5.1.10 ", NULL},
    {"u@half-null.example", AR_FAMILY_IPV4, SM_ROUTE_OK, 0, "a.one.example=192.0.2.1:25/10", NULL},
    {"u@none.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.1.2 ", NULL},
    {"u@nothing.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.1.2 ", NULL},
    {"u@no-address.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.4 ", NULL},
    {"u@servfail.example", AR_FAMILY_ANY, SM_ROUTE_TEMP, 451, "4.4.3 DNS: MX of servfail.example",
     NULL},
    {"u@half-servfail.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "a.two.example=192.0.2.2:25/20",
     NULL},
    {"u@mx-servfail.example", AR_FAMILY_ANY, SM_ROUTE_TEMP, 451, "4.4.3 ", NULL},
    {"u@a-only.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "a-only.example=192.0.2.5:25/0", NULL},
    {"u@bad-mx.example", AR_FAMILY_ANY, SM_ROUTE_TEMP, 451, "4.4.3 ", NULL},
    {"u@own-first.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@own-last.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "a.two.example=192.0.2.2:25/10", NULL},
    {"u@own-addr.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "a.two.example=192.0.2.2:25/10", NULL},
    {"u@own-only.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@mail.own.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"postmaster", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@loop4.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@loop6.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@mapped.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@zero.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@multicast.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@broadcast.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@half-loop.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "half-loop.example=192.0.2.7:25/0",
     NULL},
    {"u@[192.0.2.77]", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "[192.0.2.77]=192.0.2.77:25/0",
     "smtp:25:[192.0.2.77]"},
    {"u@[IPv6:2001:db8::77]", AR_FAMILY_ANY, SM_ROUTE_OK, 0,
     "[IPv6:2001:db8::77]=[2001:db8::77]:25/0", NULL},
    {"u@[127.0.0.1]", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.4.6 ", NULL},
    {"u@[192.0.2.99]", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "[10.0.0.3]=10.0.0.3:25/0", NULL},
    {"u@[198.51.100.1]", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "=none/0", "lmtp:"},
    {"u@local.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "=none/0", "lmtp:"},
    {"u@x.sub.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "=none/0", "lmtp:"},
    {"u@lmtp.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0,
     "[10.0.0.1]=10.0.0.1:24/0 a.two.example=192.0.2.2:24/1", "lmtp:24:[10.0.0.1] a.two.example"},
    {"u@fixed.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0,
     "[127.0.0.1]=127.0.0.1:2525/0 [ipv6:2001:db8::9]=[2001:db8::9]:2525/1",
     "smtp:2525:[127.0.0.1] [ipv6:2001:db8::9]"},
    {"u@fixed2.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0,
     "[127.0.0.1]=127.0.0.1:2525/0 [ipv6:2001:db8::9]=[2001:db8::9]:2525/1",
     "smtp:2525:[127.0.0.1] [ipv6:2001:db8::9]"},
    {"u@gate.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0,
     "a.two.example=192.0.2.2:26/0 b.two.example=192.0.2.3:26/0 [10.0.0.2]=10.0.0.2:26/1",
     "smtp:26:two.example [10.0.0.2]"},
    /* Our own table is wrong: that is no reason to send mail back. */
    {"u@gone.example", AR_FAMILY_ANY, SM_ROUTE_TEMP, 451, "4.4.3 DNS: mailertable of none.example",
     NULL},
    {"u@feed.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "/run/Feed=unix:/run/Feed/0",
     "lmtp:[unix:/run/Feed]"},
    /* One recipient by himself. */
    {"member@Two.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "[10.0.0.7]=10.0.0.7:587/0",
     "smtp:587:[10.0.0.7]"},
    {"member@two.two.example", AR_FAMILY_ANY, SM_ROUTE_PERM, 550, "5.1.2 ", NULL},
    /* As if there were no line. */
    {"u@like-two.example", AR_FAMILY_IPV4, SM_ROUTE_OK, 0,
     "a.two.example=192.0.2.2:25/5 b.two.example=192.0.2.3:25/7",
     "smtp:25:a.two.example|b.two.example"},
    /* Exchangers are not asked for, and it may be this host. */
    {"u@host.example", AR_FAMILY_IPV4, SM_ROUTE_OK, 0, "a.two.example=192.0.2.2:25/1",
     "smtp:25:[two.example] [a.two.example]"},
    {"u@nomx-host.example", AR_FAMILY_IPV4, SM_ROUTE_TEMP, 451,
     "4.4.3 DNS: mailertable of cname-a.example", NULL},
    {"u@here.example", AR_FAMILY_IPV4, SM_ROUTE_OK, 0,
     "mail.own.example=198.51.100.1:2525/0 loop4.example=127.0.0.1:2525/1",
     "smtp:2525:[mail.own.example] [loop4.example]"},
    {"u@lmtp-here.example", AR_FAMILY_IPV4, SM_ROUTE_OK, 0, "loop4.example=127.0.0.1:24/0",
     "lmtp:24:loop4.example"},
    {"u@literal-own.example", AR_FAMILY_ANY, SM_ROUTE_OK, 0, "[198.51.100.1]=198.51.100.1:25/0",
     NULL},
    {"no domain", AR_FAMILY_ANY, SM_ROUTE_PERM, 553, "5.1.3 ", NULL},
    {"", AR_FAMILY_ANY, SM_ROUTE_PERM, 553, "5.1.3 ", NULL},
};

enum { TIMEOUT_MS = 600 };

static struct ar_conf conf;
static struct ar ar;
static struct sm_arena arena;
static struct ar_ctx ctx;

/* What a decision may do: wait, or not. */
static const struct ar_ctx *patient(void)
{
	ctx = (struct ar_ctx){
	    .a = &arena, .deadline_ms = sm_now_ms() + 2 * TIMEOUT_MS, .may_wait = true};
	return &ctx;
}

static const struct ar_ctx *hasty(void)
{
	ctx = (struct ar_ctx){.a = &arena};
	return &ctx;
}

static void run(void (*fn)(void))
{
	struct sm_conf_list names = {1, &(struct sm_str){"alias.own.example", 17}};
	struct sm_sa own;

	conf = (struct ar_conf){.max_hosts = 4};
	ar = (struct ar){
	    .conf = &conf, .hostname = SM_STR("mail.own.example"), .dns_timeout_ms = TIMEOUT_MS};
	assert_int_equal(ar_mt_parse("mt", sm_str(mailertable), &ar.mt), 0);
	ar_own_init(ar.hostname, &names);
	assert_int_equal(sm_sa_ip(&own, SM_STR("198.51.100.1"), 0), 0);
	ar_own_add_addr(&own);
	sm_arena_init(&arena, "test", 65536, 1 << 24);
	t_dns_run(zone, &(struct ar_cache_conf){1000, 1000}, TIMEOUT_MS, fn);
	sm_arena_fini(&arena);
	ar_own_fini();
	ar_mt_unref(&ar.mt);
}

static struct sm_str hosts_text(const struct sm_msg_route *m)
{
	struct sm_buf b;
	struct sm_str s;

	sm_buf_init(&b, 65536);
	for (size_t i = 0; i < m->hosts_count; i++) {
		char text[SM_SA_TEXT];

		sm_buf_printf(&b, "%s" SM_STR_FMT "=%s/%u", i ? " " : "",
		              SM_STR_ARG(m->hosts[i].name),
		              m->hosts[i].sa.len ? sm_sa_text(&m->hosts[i].sa, text) : "none",
		              m->hosts[i].pref);
	}
	s = sm_arena_str(&arena, sm_buf_view(&b));
	sm_buf_fini(&b);
	return s;
}

static int route_of(const struct ar_ctx *c, struct sm_str rcpt, struct sm_msg_route *m)
{
	const struct sm_msg_route_get q = {.rcpt = rcpt, .route = SM_STR(""), .rcpts = 1};

	return ar_resolve(&ar, c, &q, m);
}

static void body_routes(void)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct sm_msg_route m;
		struct sm_str got;

		sm_arena_reset(&arena);
		conf.address_family = cases[i].family;
		assert_int_equal(route_of(patient(), sm_str(cases[i].rcpt), &m), 0);
		got = m.status == SM_ROUTE_OK ? hosts_text(&m) : m.text;
		if (m.status != cases[i].status || m.code != cases[i].code ||
		    !sm_str_has_prefix(got, sm_str(cases[i].text)) ||
		    (m.status == SM_ROUTE_OK && got.n != strlen(cases[i].text)))
			fail_msg("%s: status %u code %u " SM_STR_FMT, cases[i].rcpt, m.status,
			         m.code, SM_STR_ARG(got));
		if (cases[i].key != NULL && !sm_str_eq(m.key, sm_str(cases[i].key)))
			fail_msg("%s: key " SM_STR_FMT, cases[i].rcpt, SM_STR_ARG(m.key));
		assert_int_equal(m.agent, cases[i].key && strncmp(cases[i].key, "lmtp", 4) == 0
		                              ? SM_AGENT_LMTP
		                              : SM_AGENT_SMTP);
		assert_in_range(m.ttl_s, 1, m.status == SM_ROUTE_OK ? 900 : 60);
	}
}

static void routes(void **state SM_UNUSED)
{
	run(body_routes);
}

static struct sm_str key_of(const char *rcpt)
{
	struct sm_msg_route m;

	assert_int_equal(route_of(patient(), sm_str(rcpt), &m), 0);
	assert_int_equal(m.status, SM_ROUTE_OK);
	return m.key;
}

/* Recipients of domains that have the same exchangers in the same order may go together. */
static void body_keys(void)
{
	struct sm_str two = key_of("u@two.example"),
		      equal = SM_STR("smtp:25:a.two.example b.two.example");

	conf.address_family = AR_FAMILY_IPV4;
	assert_true(sm_str_eq(key_of("u@like-two.example"), two));
	for (int i = 0; i < 20; i++) /* in whatever order they come */
		assert_true(sm_str_eq(key_of("u@equal.example"), equal));
	assert_false(sm_str_eq(two, equal));
	assert_true(sm_str_eq(key_of("u@nomx.example"), SM_STR("smtp:25:nomx.example")));
}

static void keys(void **state SM_UNUSED)
{
	run(body_keys);
}

static void body_fast(void)
{
	struct sm_msg_route m;

	/* Without DNS at once. */
	assert_int_equal(route_of(hasty(), SM_STR("u@fixed.example"), &m), 0);
	assert_int_equal(m.hosts_count, 2);
	assert_int_equal(m.ttl_s, 300);
	assert_int_equal(t_dnsd_asked(), 0);
	/* Else it says so, asks, and knows later. */
	assert_int_equal(route_of(hasty(), SM_STR("u@nomx.example"), &m), SM_E_AGAIN);
	assert_int_equal(route_of(patient(), SM_STR("u@nomx.example"), &m), 0);
	assert_int_equal(route_of(hasty(), SM_STR("u@nomx.example"), &m), 0);
	assert_int_equal(m.hosts_count, 1);
	/* No more addresses than wanted; which of them come first changes. */
	assert_int_equal(route_of(patient(), SM_STR("u@many.example"), &m), 0);
	assert_int_equal(m.hosts_count, 4);
	/* For tests on loopback. */
	ar.loopback_ok = true;
	assert_int_equal(route_of(patient(), SM_STR("u@loop4.example"), &m), 0);
	assert_int_equal(m.status, SM_ROUTE_OK);
}

/* What is joined by commas comes first in turn; what stands behind it never. */
static void body_dice(void)
{
	unsigned first[3] = {0};
	struct sm_msg_route m;

	for (int i = 0; i < 300; i++) {
		assert_int_equal(route_of(hasty(), SM_STR("u@dice.example"), &m), 0);
		assert_int_equal(m.hosts_count, 4);
		assert_int_equal(m.hosts[2].pref, 0);
		assert_int_equal(m.hosts[3].pref, 1);
		assert_true(sm_str_eq(m.hosts[3].name, SM_STR("[10.0.0.4]")));
		first[m.hosts[0].name.p[8] - '1']++;
		sm_arena_reset(&arena);
	}
	for (size_t i = 0; i < 3; i++)
		assert_true(first[i] > 50);
}

static void dice(void **state SM_UNUSED)
{
	run(body_dice);
}

/* The same table as a map, and values that are none. */
static void open_mailertable_map(const char *path)
{
	static struct ar_map_conf map;
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "%swrong.example smtp:a.example\nempty.example \"\"\n", mailertable);
	assert_int_equal(fclose(f), 0);
	map.where.name = SM_STR("mt");
	map.file = sm_str(path);
	map.type = AR_MAP_TEXT;
	conf.map = (struct sm_conf_sections){1, &map};
	conf.mailertable.name = SM_STR("mt");
	if (ar_maps_open(&conf, &ar.maps) != 0)
		fail_msg("%s", sm_diag());
	assert_int_equal(unlink(path), 0);
}

static void body_map(void)
{
	struct sm_msg_rcpt_check rcpt = {.rcpt = SM_STR("u@wrong.example")};
	struct sm_msg_route m;
	struct sm_msg_verdict v;
	static char path[64];

	ar_mt_unref(&ar.mt);
	snprintf(path, sizeof(path), "/tmp/t_route.%d", (int)getpid());
	open_mailertable_map(path);
	body_routes();
	assert_int_equal(route_of(hasty(), SM_STR("u@wrong.example"), &m), 0);
	assert_int_equal(m.status, SM_ROUTE_TEMP);
	assert_int_equal(m.code, 451);
	assert_int_equal(ar_check_rcpt(&ar, hasty(), &rcpt, &v), 0);
	assert_int_equal(v.code, 451);
	rcpt.rcpt = SM_STR("u@a.sub.example");
	assert_int_equal(ar_check_rcpt(&ar, hasty(), &rcpt, &v), 0);
	assert_int_equal(v.code, 0);
	assert_int_equal(v.flags, SM_VERDICT_LOCAL);
	ar_maps_unref(&ar.maps);
}

static void by_map(void **state SM_UNUSED)
{
	run(body_map);
}

static void fast(void **state SM_UNUSED)
{
	run(body_fast);
}

static void assert_client(const char *ip, enum sm_resolve want, const char *name)
{
	struct sm_msg_conn_check m = {.listener = SM_STR("")};
	struct sm_msg_conn_verdict v;

	if (ip != NULL)
		assert_int_equal(sm_sa_ip(&m.client, sm_str(ip), 1234), 0);
	assert_int_equal(ar_check_conn(&ar, patient(), &m, &v), 0);
	assert_int_equal(v.code, 0);
	assert_int_equal(v.resolve, want);
	assert_true(sm_str_eq(v.client_name, sm_str(name)));
}

static void body_checks(void)
{
	struct sm_msg_mail_check mail = {.sender = SM_STR("")};
	struct sm_msg_rcpt_check rcpt = {.rcpt = SM_STR("u@local.example")};
	struct sm_msg_verdict v;

	assert_client("192.0.2.1", SM_RESOLVE_OK, "a.one.example");
	assert_client("::ffff:192.0.2.1", SM_RESOLVE_OK, "a.one.example");
	assert_client("2001:db8::1", SM_RESOLVE_OK, "a.one.example");
	/* A name that does not lead back is nobody's. */
	assert_client("192.0.2.2", SM_RESOLVE_NO, "");
	assert_client("192.0.2.3", SM_RESOLVE_TEMP_A, "");
	assert_client("192.0.2.4", SM_RESOLVE_TEMP_PTR, "");
	assert_client("192.0.2.5", SM_RESOLVE_NO, "");
	assert_client(NULL, SM_RESOLVE_NONE, "");

	assert_int_equal(ar_check_mail(&ar, hasty(), &mail, &v), 0);
	assert_int_equal(v.code, 0);
	mail.sender = SM_STR("u@one.example");
	assert_int_equal(ar_check_mail(&ar, hasty(), &mail, &v), 0);
	assert_int_equal(v.code, 0);
	mail.sender = SM_STR("u@one..example");
	assert_int_equal(ar_check_mail(&ar, hasty(), &mail, &v), 0);
	assert_int_equal(v.code, 553);

	assert_int_equal(ar_check_rcpt(&ar, hasty(), &rcpt, &v), 0);
	assert_int_equal(v.code, 0);
	assert_int_equal(v.flags, SM_VERDICT_LOCAL);
	rcpt.rcpt = SM_STR("u@lmtp.example");
	assert_int_equal(ar_check_rcpt(&ar, hasty(), &rcpt, &v), 0);
	assert_int_equal(v.flags, SM_VERDICT_LOCAL);
	rcpt.rcpt = SM_STR("u@fixed.example");
	assert_int_equal(ar_check_rcpt(&ar, hasty(), &rcpt, &v), 0);
	assert_int_equal(v.flags, 0);
	rcpt.rcpt = SM_STR("u@");
	assert_int_equal(ar_check_rcpt(&ar, hasty(), &rcpt, &v), 0);
	assert_int_equal(v.code, 553);
}

static void checks(void **state SM_UNUSED)
{
	run(body_checks);
}

/* Mail that is told its way, whoever it is for. */
static void body_told(void)
{
	struct sm_msg_route_get q = {.rcpt = SM_STR("u@no-such.example"),
	                             .route = SM_STR("10024^lmtp:[192.0.2.9]")};
	struct sm_msg_route m;

	assert_int_equal(ar_resolve(&ar, hasty(), &q, &m), 0);
	assert_int_equal(m.status, SM_ROUTE_OK);
	assert_int_equal(m.agent, SM_AGENT_LMTP);
	assert_true(sm_str_eq(m.key, SM_STR("lmtp:10024:[192.0.2.9]")));
	assert_true(sm_str_eq(hosts_text(&m), SM_STR("[192.0.2.9]=192.0.2.9:10024/0")));
	q.route = SM_STR("10024^nonsense:x");
	assert_int_equal(ar_resolve(&ar, hasty(), &q, &m), 0);
	assert_int_equal(m.status, SM_ROUTE_TEMP);
	assert_int_equal(m.code, 451);
}

/* Which way, and is another one left? */
static void assert_way(const struct sm_msg_route_get *q, unsigned way, bool other, const char *text)
{
	struct sm_msg_route m;

	assert_int_equal(ar_resolve(&ar, patient(), q, &m), 0);
	if (m.status == SM_ROUTE_OK)
		assert_true(sm_str_eq(m.key, sm_str(text)));
	else
		assert_true(sm_str_has_prefix(m.text, sm_str(text)));
	assert_int_equal(m.way, way);
	assert_int_equal(m.other_way, other);
	sm_arena_reset(&arena);
}

static void body_ways(void)
{
	struct sm_msg_route_get q = {
	    .rcpt = SM_STR("u@ways.example"), .route = SM_STR(""), .rcpts = 3, .size = 1000};

	assert_way(&q, 0, true, "lmtp:[unix:/run/Feed]");
	/* The second one has no host: that leads to the third at once. */
	q.way = 1;
	assert_way(&q, 2, false, "smtp:26:[10.0.0.4]");
	q.way = 0;
	q.rcpts = 2;
	assert_way(&q, 2, false, "smtp:26:[10.0.0.4]");
	q.rcpts = 3;
	q.flags = SM_ROUTE_AGAIN;
	assert_way(&q, 2, false, "smtp:26:[10.0.0.4]");
	/* The last one is for all; what DNS says of the domain is final. */
	q.size = 2001;
	assert_way(&q, 3, false, "5.1.2 ");
	q.way = 200;
	assert_way(&q, 3, false, "5.1.2 ");
	/* One that may not be passed over when it fails. */
	q = (struct sm_msg_route_get){
	    .rcpt = SM_STR("u@waits.example"), .route = SM_STR(""), .rcpts = 1, .size = 2000};
	assert_way(&q, 0, false, "4.4.3 ");
	q.size = 2001;
	assert_way(&q, 1, false, "smtp:25:[10.0.0.5]");
	/* The same as a listener says it. */
	q.rcpt = SM_STR("u@like-two.example");
	q.route = SM_STR("10024^[10.0.0.6] {size <= 2000} else mx:");
	assert_way(&q, 1, false, "smtp:25:a.two.example|b.two.example");
	q.size = 1;
	assert_way(&q, 0, true, "smtp:10024:[10.0.0.6]");
	/* No right hand side, no ways. */
	q = (struct sm_msg_route_get){.rcpt = SM_STR("u@servfail.example"), .route = SM_STR("")};
	assert_way(&q, 0, false, "4.4.3 ");
}

static void ways(void **state SM_UNUSED)
{
	run(body_ways);
}

static void told(void **state SM_UNUSED)
{
	run(body_told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(routes), cmocka_unit_test(keys),
	                                   cmocka_unit_test(fast),   cmocka_unit_test(dice),
	                                   cmocka_unit_test(by_map), cmocka_unit_test(checks),
	                                   cmocka_unit_test(told),   cmocka_unit_test(ways)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
