/*
 * Certificates, keys and CAs: from files into a context. Invariant: all of a configuration is good,
 * or the context is not made; nothing asks for a passphrase. Any thread.
 */
#include "libsm/tls_int.h"

#ifdef SM_HAVE_TLS
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "libsm/err.h"
#include "libsm/tls_file.h"

enum {
	NAMES_MAX = 1000, /* of one certificate */
	CHAIN_CERTS_MAX = 20,
	CA_NAMES_MAX = 64, /* told to clients: all of a large store would not help them */
	CA_FILES_MAX = 4096,
};

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static BIO *bio_of(const struct sm_tls_bytes *b)
{
	return BIO_new_mem_buf(b->p, (int)b->n);
}

/* The next certificate, or NULL: *bad tells whether there is something that is none. */
static X509 *next_cert(BIO *bio, bool *bad)
{
	X509 *x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	unsigned long e = ERR_peek_last_error();

	*bad = x == NULL &&
	       (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE);
	if (!*bad)
		ERR_clear_error();
	return x;
}

/* ---- ours ---- */

static int read_cert(struct sm_tls_pair *p, struct sm_str path)
{
	struct sm_tls_bytes b;
	X509 *x;
	bool bad = false;
	BIO *bio;
	int rc = sm_tls_read(path, "cert_file", false, &b);

	if (rc != 0)
		return rc;
	bio = bio_of(&b);
	p->cert = next_cert(bio, &bad);
	p->chain = sk_X509_new_null();
	while (p->cert != NULL && !bad && sk_X509_num(p->chain) < CHAIN_CERTS_MAX &&
	       (x = next_cert(bio, &bad)) != NULL)
		(void)sk_X509_push(p->chain, x);
	(void)BIO_free(bio);
	sm_tls_bytes_free(&b);
	if (bad)
		return sm_tls_fail("cert_file " SM_STR_FMT, SM_STR_ARG(path));
	if (p->cert == NULL)
		return sm_fail(SM_E_SYNTAX, "cert_file " SM_STR_FMT ": there is no certificate",
		               SM_STR_ARG(path));
	return 0;
}

static int read_key(struct sm_tls_pair *p, struct sm_str path, struct sm_str cert)
{
	struct sm_tls_bytes b;
	BIO *bio;
	int rc = sm_tls_read(path, "key_file", true, &b);

	if (rc != 0)
		return rc;
	bio = bio_of(&b);
	p->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	(void)BIO_free(bio);
	sm_tls_bytes_free(&b);
	if (p->key == NULL)
		return sm_tls_fail("key_file " SM_STR_FMT ": no key that can be read",
		                   SM_STR_ARG(path));
	if (X509_check_private_key(p->cert, p->key) != 1)
		return sm_tls_fail("key_file " SM_STR_FMT " is not for cert_file " SM_STR_FMT,
		                   SM_STR_ARG(path), SM_STR_ARG(cert));
	return 0;
}

static void add_name(struct sm_tls_pair *p, const ASN1_STRING *s)
{
	size_t n = (size_t)ASN1_STRING_length(s);
	char *copy;

	if (p->names.count == NAMES_MAX || n == 0)
		return;
	copy = sm_malloc(n);
	memcpy(copy, ASN1_STRING_get0_data(s), n);
	p->names.v = sm_realloc(p->names.v, p->names.count + 1, sizeof(*p->names.v));
	p->names.v[p->names.count++] = sm_str_n(copy, n);
}

/* Which names it is for: subjectAltName, and without that the last CN. */
static void read_names(struct sm_tls_pair *p)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(p->cert, NID_subject_alt_name, NULL, NULL);
	X509_NAME *subject = X509_get_subject_name(p->cert);
	int at = -1, cn = -1;

	for (int i = 0; i < sk_GENERAL_NAME_num(alt); i++) {
		int type;
		const void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(alt, i), &type);
		if (type == GEN_DNS)
			add_name(p, value);
	}
	while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0)
		cn = at;
	if (alt == NULL && cn >= 0)
		add_name(p, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, cn)));
	GENERAL_NAMES_free(alt);
}

static void note_end(struct sm_tls_ctx *c, const X509 *x)
{
	struct tm tm;
	int64_t end_s;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) != 1)
		return;
	end_s = (int64_t)timegm(&tm);
	if (c->until_s == 0 || end_s < c->until_s)
		c->until_s = end_s;
}

static bool has_kind(const struct sm_tls_ctx *c, size_t before, const EVP_PKEY *key)
{
	for (size_t i = 0; i < before; i++)
		if (EVP_PKEY_get_base_id(c->pairs[i].key) == EVP_PKEY_get_base_id(key))
			return true;
	return false;
}

int sm_tls_load_pairs(struct sm_tls_ctx *c, const struct sm_tls_conf *conf)
{
	size_t n = conf->cert_file.count;

	if (conf->key_file.count != 0 && conf->key_file.count != n)
		return sm_fail(SM_E_SYNTAX, "key_file: there are %zu for %zu of cert_file",
		               conf->key_file.count, n);
	c->pairs = sm_calloc(n + 1, sizeof(*c->pairs));
	for (size_t i = 0; i < n; i++) {
		struct sm_tls_pair *p = &c->pairs[i];
		struct sm_str cert = conf->cert_file.v[i],
			      key = conf->key_file.count != 0 ? conf->key_file.v[i] : cert;
		SSL_CTX *into = c->ssl;
		int rc;

		c->pair_count++;
		if ((rc = read_cert(p, cert)) != 0 || (rc = read_key(p, key, cert)) != 0)
			return rc;
		read_names(p);
		note_end(c, p->cert);
		/* The first of its kind is the default. Another one is tried where it does no harm:
		 * a handshake is too late to learn that it is not good enough. */
		if (has_kind(c, i, p->key) &&
		    (into = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method())) ==
		        NULL)
			return sm_tls_fail("SSL_CTX_new");
		if (into != c->ssl)
			SSL_CTX_set_security_level(into, SSL_CTX_get_security_level(c->ssl));
		if (SSL_CTX_use_cert_and_key(into, p->cert, p->key, p->chain, 1) != 1)
			rc = sm_tls_fail("cert_file " SM_STR_FMT, SM_STR_ARG(cert));
		if (into != c->ssl)
			SSL_CTX_free(into);
		if (rc != 0)
			return rc;
	}
	return 0;
}

void sm_tls_free_pairs(struct sm_tls_ctx *c)
{
	for (size_t i = 0; i < c->pair_count; i++) {
		struct sm_tls_pair *p = &c->pairs[i];
		X509_free(p->cert);
		EVP_PKEY_free(p->key);
		sk_X509_pop_free(p->chain, X509_free);
		for (size_t k = 0; k < p->names.count; k++)
			sm_free((void *)(uintptr_t)p->names.v[k].p);
		sm_free(p->names.v);
	}
	SM_FREE(c->pairs);
	c->pair_count = 0;
}

/* ---- whom we trust ---- */

/* Gives how many there were, or an error. */
static int load_ca_file(struct sm_tls_ctx *c, struct sm_str path, bool tell)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c->ssl);
	struct sm_tls_bytes b;
	bool bad = false;
	int n = 0, rc;
	BIO *bio;
	X509 *x;

	rc = sm_tls_read(path, "CAcert_file", false, &b);
	if (rc != 0)
		return rc;
	bio = bio_of(&b);
	while (rc == 0 && (x = next_cert(bio, &bad)) != NULL) {
		if (X509_STORE_add_cert(store, x) != 1)
			rc = sm_tls_fail("CAcert_file " SM_STR_FMT, SM_STR_ARG(path));
		else if (tell && c->server && n < CA_NAMES_MAX)
			(void)SSL_CTX_add_client_CA(c->ssl, x);
		X509_free(x);
		n++;
	}
	(void)BIO_free(bio);
	sm_tls_bytes_free(&b);
	if (rc == 0 && bad)
		rc = sm_tls_fail("CAcert_file " SM_STR_FMT, SM_STR_ARG(path));
	return rc != 0 ? rc : n;
}

/* What is none is passed over: such directories also hold lists of revoked certificates, and what
 * makes them. */
static int load_ca_dir(struct sm_tls_ctx *c, struct sm_str path)
{
	char name[PATH_MAX], file[PATH_MAX + 256];
	int n = 0, files = 0, rc;
	struct dirent *e;
	DIR *d;

	if ((rc = sm_str_copy(path, name, sizeof(name))) != 0)
		return sm_fail(rc, "CAcert_directory: no path");
	d = opendir(name);
	if (d == NULL)
		return sm_fail_sys(errno, "CAcert_directory %s", name);
	while ((e = readdir(d)) != NULL && files < CA_FILES_MAX) {
		if (e->d_name[0] == '.')
			continue;
		files++;
		(void)snprintf(file, sizeof(file), "%s/%s", name, e->d_name);
		rc = load_ca_file(c, sm_str(file), false);
		if (rc > 0)
			n += rc;
	}
	(void)closedir(d);
	ERR_clear_error();
	return n;
}

int sm_tls_load_cas(struct sm_tls_ctx *c, const struct sm_tls_conf *conf)
{
	if (!sm_str_empty(conf->ca_file)) {
		int n = load_ca_file(c, conf->ca_file, true);
		if (n <= 0)
			return n < 0
			           ? n
			           : sm_fail(SM_E_SYNTAX,
			                     "CAcert_file " SM_STR_FMT ": there is no certificate",
			                     SM_STR_ARG(conf->ca_file));
	}
	if (!sm_str_empty(conf->ca_dir)) {
		int n = load_ca_dir(c, conf->ca_dir);
		if (n <= 0)
			return n < 0 ? n
			             : sm_fail(SM_E_SYNTAX,
			                       "CAcert_directory " SM_STR_FMT
			                       ": there is no certificate",
			                       SM_STR_ARG(conf->ca_dir));
	}
	return 0;
}

#endif
