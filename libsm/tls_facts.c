/*
 * What a handshake came to, in words. Invariant: text of a peer's certificate leaves here bounded,
 * and names as the access map has them cannot be made to look like others. Thread: the loop's; the
 * names are pure.
 */
#include "libsm/tls_int.h"

#ifdef SM_HAVE_TLS
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "libsm/err.h"

enum { CN_MAX = 256 };

/* Cut where the next byte, or the next escape as a whole, has no room: half of one would be another
 * name. */
struct dn {
	char text[SM_TLS_DN_MAX];
	size_t n;
	bool full;
};

static void put(struct dn *d, const char *p, size_t n)
{
	d->full = d->full || d->n + n > sizeof(d->text);
	if (d->full)
		return;
	memcpy(d->text + d->n, p, n);
	d->n += n;
}

static void put_text(struct dn *d, const char *p, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	static const struct sm_str special = SM_STR("<>()\"+ /");

	for (size_t i = 0; i < size && !d->full; i++) {
		unsigned char c = (unsigned char)p[i];
		const char escape[3] = {'+', hex[c >> 4], hex[c & 15]};

		if (c > ' ' && c <= '~' && sm_str_chr(special, p[i]) < 0)
			put(d, p + i, 1);
		else
			put(d, escape, sizeof(escape));
	}
}

static void put_type(struct dn *d, const ASN1_OBJECT *type)
{
	int nid = OBJ_obj2nid(type);
	char oid[80];
	int len;

	if (nid != NID_undef) {
		const char *name = OBJ_nid2sn(nid);
		put_text(d, name, strlen(name));
		return;
	}
	len = OBJ_obj2txt(oid, sizeof(oid), type, 1);
	if (len > 0)
		put_text(d, oid, SM_MIN((size_t)len, sizeof(oid) - 1));
}

struct sm_str sm_tls_name_text(const X509_NAME *name, struct sm_arena *a)
{
	struct dn d = {.n = 0};

	for (int i = 0; i < X509_NAME_entry_count(name) && !d.full; i++) {
		X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		ASN1_STRING *value = X509_NAME_ENTRY_get_data(e);
		unsigned char *utf8 = NULL;
		int len = ASN1_STRING_to_UTF8(&utf8, value);

		put(&d, "/", 1);
		put_type(&d, X509_NAME_ENTRY_get_object(e));
		put(&d, "=", 1);
		if (len >= 0)
			put_text(&d, (const char *)utf8, (size_t)len);
		else
			put_text(&d, (const char *)ASN1_STRING_get0_data(value),
			         (size_t)ASN1_STRING_length(value));
		OPENSSL_free(utf8);
	}
	ERR_clear_error();
	return sm_arena_str(a, sm_str_n(d.text, d.n));
}

int sm_tls_dn(struct sm_str der, struct sm_arena *a, struct sm_str *out)
{
	const unsigned char *p = (const unsigned char *)der.p;
	X509_NAME *name =
	    der.n > 0 && der.n <= LONG_MAX ? d2i_X509_NAME(NULL, &p, (long)der.n) : NULL;

	*out = SM_STR("");
	if (name == NULL) {
		ERR_clear_error();
		return sm_fail(SM_E_SYNTAX, "no distinguished name");
	}
	*out = sm_tls_name_text(name, a);
	X509_NAME_free(name);
	return 0;
}

/* The last CN, as it was written. */
static struct sm_str common_name(const X509 *x, struct sm_arena *a)
{
	X509_NAME *subject = X509_get_subject_name(x);
	int at = -1, cn = -1, len;
	struct sm_str out = SM_STR("");
	unsigned char *utf8 = NULL;

	while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0)
		cn = at;
	if (cn < 0)
		return out;
	len =
	    ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, cn)));
	if (len > 0)
		out = sm_arena_str(a, sm_str_head(sm_str_n(utf8, (size_t)len), CN_MAX));
	OPENSSL_free(utf8);
	ERR_clear_error();
	return out;
}

static void judge(const struct sm_tls *t, const X509 *x, struct sm_tls_facts *out)
{
	long why;

	if (t->ctx->server && !t->ctx->asks) {
		out->verify = SM_TLS_NONE;
		return;
	}
	if (x == NULL) {
		out->verify = SM_TLS_NO_CERT;
		return;
	}
	why = SSL_get_verify_result(t->ssl);
	if (why != X509_V_OK)
		out->verify_text = X509_verify_cert_error_string(why);
	else if (!t->ctx->server && !t->name_ok)
		out->verify_text = "certificate is for another name";
	out->verify = out->verify_text[0] == '\0' ? SM_TLS_OK : SM_TLS_FAILED;
}

void sm_tls_facts(const struct sm_net *n, struct sm_arena *a, struct sm_tls_facts *out)
{
	static const char *const words[] = {"NONE", "NO", "OK", "FAIL"};
	const struct sm_tls *t = n->tls;
	X509 *x = SSL_get0_peer_certificate(t->ssl);
	const char *sni;

	*out = (struct sm_tls_facts){
	    .protocol = SSL_get_version(t->ssl),
	    .cipher = SSL_get_cipher_name(t->ssl),
	    .bits = SSL_get_cipher_bits(t->ssl, NULL),
	    .resumed = SSL_session_reused(t->ssl) == 1,
	    .verify_text = "",
	    .issuer = SM_STR(""),
	    .subject = SM_STR(""),
	    .name = SM_STR(""),
	    .sni = SM_STR(""),
	};
	judge(t, x, out);
	out->verify_word = words[out->verify];
	if (x != NULL) {
		out->issuer = sm_tls_name_text(X509_get_issuer_name(x), a);
		out->subject = sm_tls_name_text(X509_get_subject_name(x), a);
	}
	if (t->ctx->server) {
		if (x != NULL)
			out->name = common_name(x, a);
		sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
		if (sni != NULL)
			out->sni = sm_arena_str(a, sm_str(sni));
	} else if (t->name_ok) {
		out->name = sm_arena_str(a, sm_str(t->name));
	}
}

#endif
