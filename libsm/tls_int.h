/*
 * TLS among its own files: contexts, connections, what they have of OpenSSL. For tls*.c alone.
 */
#ifndef SM_TLS_INT_H
#define SM_TLS_INT_H

#include "libsm/tls.h"

#ifdef SM_HAVE_TLS
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "libsm/hash.h"
#include "libsm/list.h"

/* A certificate of ours. */
struct sm_tls_pair {
	X509 *cert;
	EVP_PKEY *key;
	STACK_OF(X509) * chain;
	struct sm_conf_list names; /* it is for; each from sm_malloc */
};

/* Keys of tickets: those of this hour, and of the hour before. */
struct sm_tls_ticket_key {
	unsigned char name[16], cipher[32], mac[32];
	int64_t made_s; /* 0: none; monotonic */
};

struct sm_tls_ctx {
	unsigned refs;
	SSL_CTX *ssl;
	bool server, asks; /* asks: clients are asked for a certificate */
	int min_version;
	int64_t until_s;
	struct sm_tls_pair *pairs;
	size_t pair_count;
	struct sm_tls_ticket_key ticket[2]; /* [0] is in use */
	/* tls_client.c */
	struct sm_hash sessions;
	struct sm_list oldest; /* struct kept.link */
};

struct sm_tls {
	struct sm_net *net;
	struct sm_tls_ctx *ctx; /* a reference */
	SSL *ssl;
	bool up;            /* the handshake is done */
	bool eof;           /* the peer has closed its socket */
	bool said_bye;      /* close_notify was sent */
	int dead;           /* why nothing goes any more */
	int sys_errno;      /* of the last system call, 0: it was good */
	unsigned updates;   /* KeyUpdates of the peer */
	const char *abuse;  /* what the peer must not do; static */
	char *cache_key;    /* tls_client.c; NULL: not to be resumed */
	size_t cache_key_n; /* it may hold any byte */
	bool name_ok;       /* tls_client.c */
	char name[256];     /* the one that fits */
};

/* OpenSSL's reason for the last failure, then its queue is empty: SM_E_TLS and "text: reason". */
int sm_tls_fail(const char *fmt, ...) SM_PRINTF(1, 2);

/* tls_ctx.c */
int sm_tls_version_number(int version); /* OpenSSL's for an enum sm_tls_version */
/* tls_cert.c: loads certificates and keys into c->pairs, and CAs into the store of c->ssl. */
int sm_tls_load_pairs(struct sm_tls_ctx *c, const struct sm_tls_conf *conf) SM_MUST_CHECK;
int sm_tls_load_cas(struct sm_tls_ctx *c, const struct sm_tls_conf *conf) SM_MUST_CHECK;
void sm_tls_free_pairs(struct sm_tls_ctx *c);
/* tls_ticket.c: tickets by keys that nobody but this context has. */
void sm_tls_tickets(struct sm_tls_ctx *c);
/* tls_client.c */
void sm_tls_client_rules(struct sm_tls_ctx *c);
void sm_tls_sessions_init(struct sm_tls_ctx *c);
void sm_tls_sessions_fini(struct sm_tls_ctx *c);
/* tls_io.c: put TLS on the net, not begun. */
struct sm_tls *sm_tls_put(struct sm_net *n, struct sm_tls_ctx *ctx);
int sm_tls_handshake(struct sm_tls *t, const char *doing,
                     int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* tls_facts.c */
struct sm_str sm_tls_name_text(const X509_NAME *name, struct sm_arena *a);

#endif
#endif
