/* For tests that ask: a loop with a DNS server on it and the real resolver and cache. */
#ifndef AR_T_DNS_RUN_H
#define AR_T_DNS_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smar/dns.h"
#include "smar/dns_cache.h"
#include "smar/t_dnsd.h"

struct t_dns_body {
	void (*fn)(void);
};

static inline void t_dns_body(void *arg)
{
	((struct t_dns_body *)arg)->fn();
	sm_loop_stop(0);
}

/* Runs it in a coroutine; a question that nobody answers takes so long. */
static inline void t_dns_run(const struct t_dns_row *rows, const struct ar_cache_conf *cache,
                             int timeout_ms, void (*fn)(void))
{
	struct ar_dns_conf conf = {.count = 1, .timeout_ms = timeout_ms};
	struct t_dns_body body = {fn};

	assert_int_equal(sm_loop_init(), 0);
	conf.servers[0] = t_dnsd_start(rows);
	ar_cache_init(cache);
	assert_int_equal(ar_dns_init(&conf), 0);
	assert_non_null(sm_co_spawn("test", t_dns_body, &body));
	assert_int_equal(sm_loop_run(), 0);
	ar_dns_fini();
	ar_cache_fini();
	t_dnsd_stop();
	sm_co_cleanup();
	sm_loop_fini();
}

#endif
