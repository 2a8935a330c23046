/* Shared by the tests of calls between processes: a server and a link in one process. */
#ifndef SM_T_RPC_H
#define SM_T_RPC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/rpc_int.h"
#include "libsm/t_patience.h"

struct t_rpc {
	char path[64];
	struct sm_rpc_server *server;
	struct sm_link *link;
	struct sm_rpc_server_conf sconf;
	struct sm_link_conf lconf;
	void (*body)(void);
	struct sm_peer *last; /* newest at the server */
	int opened, closed, up, down, got;
	bool hold; /* keep requests unanswered */
	uint64_t held[2000];
	size_t held_count;
	struct sm_peer *held_peer;
	const char *shut; /* where the server closes its peer: "open", "frame" */
};
extern struct t_rpc t;

int t_rpc_set_up(void **state); /* addresses and configurations, but no connection */
int t_rpc_tear_down(void **state);
void t_run(void (*body)(void)); /* in a coroutine, until it ends */

int64_t t_soon(void);   /* a deadline that is not reached */
void t_settle(void);    /* lets the loop turn for a moment */
void t_both_ends(void); /* the server listens, the link is up */

/* Asks the server for the verdict with this number, and gives what the call gives. */
int t_ask(uint64_t n, uint16_t *code, int64_t deadline_ms);
void t_assert_works(void);
void t_answer(struct sm_peer *p, uint64_t tag, uint16_t code);

#define T_RPC(f) cmocka_unit_test_setup_teardown(f, t_rpc_set_up, t_rpc_tear_down)

#endif
