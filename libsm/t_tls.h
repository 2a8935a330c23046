/* Shared by the tests of TLS: certificates, configurations, and both ends in one process, over a
 * socket pair. */
#ifndef SM_T_TLS_H
#define SM_T_TLS_H

#include "libsm/t_co.h"
#include "libsm/tls.h"

extern char t_tls_dir[]; /* with the certificates that t_tls_setup makes */
extern struct sm_arena t_arena;

struct sm_str t_at(const char *name); /* the path of a file there */
struct sm_conf_list t_list(const char *a, const char *b);
struct sm_tls_conf t_server_conf(void);
struct sm_tls_conf t_client_conf(const char *cert); /* NULL: none */

struct t_ends {
	struct sm_net a, b; /* server, client */
	struct sm_tls_ctx *server, *client;
	struct sm_tls_peer peer;
	struct sm_tls_facts at_server, at_client;
	int server_rc, client_rc;
	bool talk; /* say something in both directions, so that tickets are read */
};

void t_both(struct t_ends *e, const struct sm_tls_conf *server, const struct sm_tls_conf *client);
void t_fini(struct t_ends *e);
void t_open_ends(struct t_ends *e);
void t_serve(void *arg); /* coroutines of the two; arg: the ends */
void t_dial(void *arg);
void t_meet(struct t_ends *e); /* opens, runs both until they end */

int t_tls_setup(void **state); /* of the group */
int t_tls_teardown(void **state);

#endif
