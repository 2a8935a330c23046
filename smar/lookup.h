/*
 * Lookup orders: the keys that are tried, one after the other, for a domain, an address of the
 * Internet or a mail address. Pure.
 *
 *   domain a.b.tld      a.b.tld  .b.tld  .tld  and "." where the map has a default
 *                       (an address literal has no parents; "b.tld" does not match a.b.tld)
 *   IPv4 1.2.3.4        1.2.3.4  1.2.3  1.2  1
 *   IPv6 2001:db8::1    in full, lower case, groups without leading zeros:
 *                       2001:db8:0:0:0:0:0:1  2001:db8:0:0:0:0:0  ...  2001
 *   user+detail@a.tld   for a.tld and each parent as above (".tld"), d:
 *                       user+detail@d  user++@d  user+*@d  user*@d  user@d  @d
 *                       then, where the map wants it, without domain:
 *                       user+detail  user++  user+*  user*  user
 *   "user+detail" and "user+*" only if there is a delimiter, "user++" only if the detail is not
 *   empty, "user" only if there is no delimiter, or the map matches details implicitly. The first
 *   "+" is the configured delimiter, the second one and "*" are fixed. A delimiter at the very
 *   start, or in a quoted local part, is none.
 *
 * Before each key stands the tag ("to:"), if there is one.
 */
#ifndef AR_LOOKUP_H
#define AR_LOOKUP_H

#include "libsm/net.h"
#include "libsm/str.h"

enum { AR_KEY_MAX = 600 }; /* longest key: tag, local part and domain */

enum ar_keys_flags {
	AR_KEYS_DEFAULT = 1,         /* domains: "." at the end */
	AR_KEYS_LOCALPART = 2,       /* addresses: then without domain */
	AR_KEYS_LOCALPART_ONLY = 4,  /* addresses: without domain from the start */
	AR_KEYS_IMPLICIT_DETAIL = 8, /* "user@d" matches with a detail, too */
	AR_KEYS_EXACT = 16           /* the first key only, as it stands */
};
enum ar_keys_kind { AR_KEYS_OF_DOMAIN, AR_KEYS_OF_IP, AR_KEYS_OF_ADDRESS, AR_KEYS_OF_WORD };

/*
 * Domains in UTF-8 are looked up by their A-labels (libsm/utf8.h), and keys of tables are kept so:
 * whoever wrote a domain how, it is the same.
 *
 * An address (or a local part, or a domain) in lower case, its domain as it is compared; in the
 * arena.
 */
struct sm_arena;
struct sm_str ar_address_key(struct sm_arena *a, struct sm_str address);
/*
 * A key as somebody wrote it, with or without tag, in the same form: what is behind the last "@" is
 * a domain. Without "@" it may be a domain or a local part: then *other is true, and this is what
 * it is as a domain. False: the key in lower case is the only one. `out`: AR_KEY_MAX + 1 bytes.
 */
bool ar_key_ascii(struct sm_str key, char *out, struct sm_str *ascii, bool *other);

/* An address taken apart at the delimiter: views of its lower-case text. */
struct ar_parts {
	struct sm_str local; /* whole local part */
	struct sm_str user, detail;
	struct sm_str domain;
	bool has_detail; /* there is a delimiter; the detail may be empty */
	char delimiter;
};
/* `mailbox`: local@domain in lower case, without <>; quoted local parts as they are written. */
void ar_parts_of(struct sm_str mailbox, char delimiter, struct ar_parts *out);

struct ar_keys {
	struct sm_str key;       /* the current one, NUL-terminated, valid until the next call */
	struct sm_str subdomain; /* of the domain that a key with a leading dot matched: what is
	                            before the dot */
	struct ar_parts parts;
	enum ar_keys_kind kind;
	unsigned flags;
	/* Of lookup.c. */
	struct sm_str tag, rest;
	unsigned step, form;
	char text[AR_KEY_MAX + 1];
};
/* `tag` with its colon, or empty; strings stay the caller's and are in lower case. */
void ar_keys_domain(struct ar_keys *k, struct sm_str tag, struct sm_str domain, unsigned flags);
void ar_keys_ip(struct ar_keys *k, struct sm_str tag, const struct sm_sa *sa, unsigned flags);
void ar_keys_address(struct ar_keys *k, struct sm_str tag, const struct ar_parts *parts,
                     unsigned flags);
/* One key: the tag and this word. */
void ar_keys_word(struct ar_keys *k, struct sm_str tag, struct sm_str word);
/* The next key; false at the end. Keys that are longer than AR_KEY_MAX are passed over. */
bool ar_keys_next(struct ar_keys *k);

#endif
