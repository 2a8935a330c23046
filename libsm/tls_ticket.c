/*
 * Session tickets (RFC 5077, RFC 8446 4.6.1): the keys that make and open them. Invariant: a key
 * makes tickets for an hour and opens them for another one, then it is gone, and what was recorded
 * on the wire stays closed; no context knows the keys of another one, so a ticket is worth
 * something only to the service, and the set of CAs, that gave it out. Thread: the loop's.
 */
#include "libsm/tls_int.h"

#ifdef SM_HAVE_TLS
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "libsm/time.h"

enum { KEY_S = 3600 };

static int64_t now_s(void)
{
	return sm_now_ms() / 1000 + 1;
}

static bool make(struct sm_tls_ticket_key *k)
{
	k->made_s = now_s();
	return RAND_bytes(k->name, sizeof(k->name)) == 1 &&
	       RAND_priv_bytes(k->cipher, sizeof(k->cipher)) == 1 &&
	       RAND_priv_bytes(k->mac, sizeof(k->mac)) == 1;
}

/* Without random numbers there is no new key, and no old one is used for longer. */
static bool turn(struct sm_tls_ctx *c)
{
	int64_t age_s = now_s() - c->ticket[0].made_s;
	struct sm_tls_ticket_key fresh;

	if (c->ticket[0].made_s != 0 && age_s < KEY_S)
		return true;
	if (!make(&fresh))
		return false;
	if (c->ticket[0].made_s != 0 && age_s < 2 * (int64_t)KEY_S)
		c->ticket[1] = c->ticket[0];
	else
		explicit_bzero(&c->ticket[1], sizeof(c->ticket[1]));
	c->ticket[0] = fresh;
	explicit_bzero(&fresh, sizeof(fresh));
	return true;
}

static bool set_mac(EVP_MAC_CTX *mac, const struct sm_tls_ticket_key *k)
{
	unsigned char key[sizeof(k->mac)];
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof(key)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end(),
	};
	bool ok;

	memcpy(key, k->mac, sizeof(key));
	ok = EVP_MAC_CTX_set_params(mac, params) == 1;
	explicit_bzero(key, sizeof(key));
	return ok;
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb wants it: -1 error, 0 no such key, 1 fine, 2 fine, and
 * make a new one. */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int making)
{
	struct sm_tls_ctx *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const struct sm_tls_ticket_key *k = NULL;

	if (!turn(c))
		return -1;
	if (making) {
		k = &c->ticket[0];
		memcpy(name, k->name, sizeof(k->name));
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1 ||
		    EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) != 1)
			return -1;
		return set_mac(mac, k) ? 1 : -1;
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(c->ticket) && k == NULL; i++)
		if (c->ticket[i].made_s != 0 &&
		    memcmp(name, c->ticket[i].name, sizeof(c->ticket[i].name)) == 0)
			k = &c->ticket[i];
	if (k == NULL)
		return 0;
	if (!set_mac(mac, k) ||
	    EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) != 1)
		return -1;
	/* In TLS 1.3 a ticket is good for once. */
	return k == &c->ticket[0] && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}

void sm_tls_tickets(struct sm_tls_ctx *c)
{
	(void)SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ssl, ticket_key);
}

#endif
