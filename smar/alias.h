/*
 * Aliases: addresses that stand for others.
 *
 * The flags of the section say what is looked up: local parts, for local addresses (localpart, also
 * without any flag); full addresses for local addresses (local_domains) or for all (all_domains);
 * both when localpart is given as well, the full address first. The map's value is what
 * alias_rhs.h describes.
 *
 * An alias that names itself ends there. "owner-NAME" beside NAME makes NAME a mailing list: its
 * members get their mail with the sender owner-NAME@domain, in the domain that the mail was for.
 * When the value of owner-NAME begins with "verp:", the sender says for each member who it is:
 * owner-NAME+user=domain@domain. A member for whom that is too long gets the plain one.
 */
#ifndef AR_ALIAS_H
#define AR_ALIAS_H

#include "libsm/msg.h"
#include "smar/address.h"
#include "smar/alias_rhs.h"

/* ---- one level ---- */

struct ar_alias_found {
	struct sm_str rhs;       /* in ctx->a or the map's memory */
	struct sm_str subdomain; /* in ctx->a: what a key with a leading dot left of the domain */
};
/* Is an address local as far as aliases go? 0; SM_E_AGAIN, only without may_wait; else a temporary
 * failure. */
int ar_alias_local(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                   bool *local) SM_YIELDS SM_MUST_CHECK;
/* The entry of an address; `parts` in lower case; `local`: its domain is. 0, SM_E_NOTFOUND;
 * SM_E_AGAIN, only without may_wait; else a temporary failure. */
int ar_alias_find(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                  bool local, struct ar_alias_found *out) SM_YIELDS SM_MUST_CHECK;
/* Has the list an owner, and does it want VERP? As above; a key that fits every local part
 * (@domain) is no owner. */
int ar_alias_owner(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                   bool local, bool *verp) SM_YIELDS SM_MUST_CHECK;
/*
 * What an address stands for, one level of it, with the lists that it includes: all members are
 * addresses (canonical), in ctx->a, which has to have room for as many as the configuration allows.
 * `mailbox`: canonical, in any case. As ar_alias_find;
 * SM_E_RANGE: macros make no address of it; SM_E_TOOBIG: too many members; what else is wrong with
 * the entry or a list is a temporary failure, whatever its class.
 */
int ar_alias_members(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str mailbox,
                     struct ar_rhs *out) SM_YIELDS SM_MUST_CHECK;
/* Is there a member for which match(arg, member) holds? One level; needs no room in ctx->a. 0: yes.
 * SM_E_NOTFOUND: no, or it is no alias. Otherwise as above. */
int ar_alias_any(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str mailbox,
                 bool (*match)(void *arg, struct sm_str member), void *arg) SM_YIELDS SM_MUST_CHECK;

/* ---- all levels ---- */

enum { AR_ALIAS_CHUNK = 1000 }; /* members in one answer */

/*
 * Answer for a recipient (`rcpt`: m->rcpt) that is an alias: members (SM_ROUTE_ALIAS), or why there
 * are none. 0; SM_E_NOTFOUND: it is none, route it; SM_E_AGAIN: only without may_wait. `out`:
 * strings in ctx->a or static.
 *
 * Members come in the order of their bytes, each once, those behind m->after; at most
 * AR_ALIAS_CHUNK, `more` when there are others. A member is final, or has to be asked for by
 * itself, one level further: a list with an owner of its own, and what cannot be expanded now or
 * ever, so that it spoils nothing for the others.
 */
int ar_alias_route(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
                   const struct ar_address *rcpt, struct sm_msg_route *out) SM_YIELDS SM_MUST_CHECK;
/* Forget the expansions that are kept between the chunks of an answer. */
void ar_alias_fini(void);

#endif
