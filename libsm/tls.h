/*
 * TLS over struct sm_net, by OpenSSL, which only tls*.c see. A connection starts in clear; after
 * sm_tls_accept or sm_tls_connect the same sm_net_read, sm_net_write, sm_net_writev, sm_net_pending
 * and sm_net_close go through TLS. There is no way back: when TLS has ended, in whatever way, every
 * read and write fails and the net can only be closed.
 *
 * A context is made from a configuration, never changed, and counted: whoever reloads makes a new
 * one and gives up the old one, which lives as long as a connection has it. One thread, the loop's;
 * the context may be made in a helper thread, because it reads files.
 *
 * In a build without OpenSSL the tables are there and sm_tls_*_new give SM_E_NOTSUP.
 */
#ifndef SM_TLS_H
#define SM_TLS_H

#include "libsm/arena.h"
#include "libsm/conf.h"
#include "libsm/net.h"

struct sm_priv_path;
struct sm_tls_ctx;

enum sm_tls_version { SM_TLS_1_0, SM_TLS_1_1, SM_TLS_1_2, SM_TLS_1_3 };

/* flags of a server */
enum {
	SM_TLS_RELAY_IF_VERIFIED = 1,
	SM_TLS_RELAY_BY_MAP = 2,
	SM_TLS_REQUEST_CERT = 4,
	SM_TLS_RESUME = 8, /* session tickets */
};

/* The section `tls { }` of a server or a client, filled by one of the tables. Paths that are not
 * absolute are relative to the working directory. */
struct sm_tls_conf {
	struct sm_conf_list cert_file; /* PEM: certificate, then what leads to the CA. Empty: a
	                                  server offers no TLS, a client shows no certificate */
	struct sm_conf_list key_file;  /* PEM; as many as cert_file, in its order; empty: the key is
	                                  in cert_file */
	struct sm_str ca_file, ca_dir; /* PEM; empty: none */
	int min_version;               /* enum sm_tls_version */
	struct sm_str ciphers;         /* of TLS 1.2 and older, as ciphers(1); empty: OpenSSL's */
	struct sm_str ciphersuites;    /* of TLS 1.3; empty: OpenSSL's */
	int64_t handshake_timeout_ms;
	/* Server only. */
	uint32_t flags;               /* SM_TLS_* */
	struct sm_conf_list implicit; /* names of listeners whose clients speak TLS at once */
};
extern const struct sm_opt sm_tls_server_opts[], sm_tls_client_opts[];

/*
 * Reads and checks all of it: 0, or an error with a diag that names the file. Key and certificate
 * must fit, and nobody but the owner (and the group, if root owns it) may read the key:
 * SM_E_DENIED. Nothing is read again later: what is opened here is all that TLS needs of the file
 * system. Call it once before rights are dropped: then OpenSSL sets itself up, random numbers
 * included. `service` binds tickets: those of another one are worth nothing.
 */
int sm_tls_server_new(const struct sm_tls_conf *c, const char *service,
                      struct sm_tls_ctx **ctx) SM_MUST_CHECK;
int sm_tls_client_new(const struct sm_tls_conf *c, struct sm_tls_ctx **ctx) SM_MUST_CHECK;
struct sm_tls_ctx *sm_tls_ctx_ref(struct sm_tls_ctx *ctx);
void sm_tls_ctx_unref(struct sm_tls_ctx **ctx); /* harmless with NULL; sets it NULL */
/* When the first of its certificates ends, in seconds since 1970; 0: it has none. */
int64_t sm_tls_ctx_until_s(const struct sm_tls_ctx *ctx);
/*
 * A file of the configuration that somebody with more rights has opened (open_files): whenever a
 * context wants `path`, this descriptor is read instead. Owned from here on; replaces the one
 * before. SM_E_TOOBIG: there are too many.
 */
int sm_tls_file(const char *path, int fd) SM_MUST_CHECK;
/*
 * What has to stay readable for a reload, as rules for sm_priv_drop: the directories of the files,
 * and those where symbolic links lead. Puts at most `max` into `out` and gives the count.
 */
size_t sm_tls_paths(const struct sm_tls_conf *c, struct sm_arena *a, struct sm_priv_path *out,
                    size_t max);

/*
 * The handshake. 0, or SM_E_TLS (the diag has OpenSSL's reason, or why the peer was not trusted),
 * SM_E_TIMEOUT, SM_E_EOF, SM_E_CANCEL, SM_E_SYS; after an error the net can only be closed. What
 * was read from the net in clear but not used must be empty before: that is the caller's to check.
 */
int sm_tls_accept(struct sm_net *n, struct sm_tls_ctx *ctx,
                  int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

/* Whom a client wants to talk to. */
struct sm_tls_peer {
	struct sm_str sni;       /* name to send; empty: none */
	struct sm_str cache_key; /* sessions are resumed within it; empty: never. What is wanted of
	                            the peer below is part of the key by itself */
	bool verify;             /* true: SM_E_TLS unless the chain leads to a CA and a name fits.
	                            false: the same is looked at, and told by sm_tls_facts */
	struct sm_conf_list names; /* any of these may be in the certificate; empty: sni */
	int min_version;           /* enum sm_tls_version; below that of the context: no effect */
};
int sm_tls_connect(struct sm_net *n, struct sm_tls_ctx *ctx, const struct sm_tls_peer *peer,
                   int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

enum sm_tls_verify {
	SM_TLS_NONE,    /* no certificate was asked for */
	SM_TLS_NO_CERT, /* the peer has none */
	SM_TLS_OK,      /* the chain leads to a CA; as client: and a name fits */
	SM_TLS_FAILED
};
struct sm_tls_facts {
	const char *protocol; /* "TLSv1.3"; static, like all char * here */
	const char *cipher;
	int bits; /* of the cipher's key */
	bool resumed;
	enum sm_tls_verify verify;
	const char *verify_word; /* "NONE", "NO", "OK", "FAIL" */
	const char *verify_text; /* why it failed, else "" */
	/* Of the peer's certificate, in the arena; empty when there is none. */
	struct sm_str issuer, subject; /* sm_tls_dn: at most SM_TLS_DN_MAX bytes, cut */
	struct sm_str name; /* as client: the one that fits; as server: the CN. UTF-8 of any kind */
	struct sm_str sni;  /* as server: the name that the client asked for; any bytes but NUL */
};
/* After a successful handshake only. */
void sm_tls_facts(const struct sm_net *n, struct sm_arena *a, struct sm_tls_facts *out);

/*
 * A distinguished name as the access map has it: "/C=US/CN=Darth+20Mail". What is not printable,
 * '<', '>', '(', ')', '"', '+', and ' ' is '+' and two hexadecimal digits; so is '/' in a value, so
 * that nobody makes up a component. `der`: the DER of an X.501 Name; SM_E_SYNTAX. Cut at
 * SM_TLS_DN_MAX.
 */
#define SM_TLS_DN_MAX 1024
int sm_tls_dn(struct sm_str der, struct sm_arena *a, struct sm_str *out) SM_MUST_CHECK;
/* Does `name` (what a peer claims; any bytes) fit the pattern of a certificate: equal, or "*." for
 * exactly one label? Case is folded. */
bool sm_tls_name_fits(struct sm_str pattern, struct sm_str name);

/* Memory and descriptors of sm_tls_file, at the end. */
void sm_tls_cleanup(void);

#endif
