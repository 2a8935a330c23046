/*
 * The entries of the access map: what may stand right, and what it may stand for.
 *
 *   value     = [ "quick:" ] ( "relay" / "ok" / "reject" / "discard" / "cont" / "error:" reply )
 *   reply     = code SP class "." 1*3DIGIT "." 1*3DIGIT SP text
 *   code      = ( "4" / "5" ) ( "0" ... "5" ) DIGIT      ; class is the code's first digit
 *
 * and for protectedrcpt:
 *
 *   value       = restriction *( blanks restriction )
 *   restriction = ( "from:" / "list:" ) address / "cltaddr:" ip
 *   address     = "<" pattern ">" / pattern
 *
 * and for etrn: the domains that may be asked for, ".domain" for all below it, "." for all:
 *
 *   value       = domain *( blanks domain )
 *
 * Behind smtps_session_conf:, smtpc_session_conf: and smtpc_rcpt_conf: stands text of the
 * configuration language.
 *
 * Words are the same in upper and lower case. Pure; any thread.
 */
#ifndef AR_ACCESS_RHS_H
#define AR_ACCESS_RHS_H

#include "libsm/str.h"

enum { AR_ACTION_TEXT_MAX = 480 }; /* bytes of a reply's enhanced code and text: it is one line */

enum ar_action_kind {
	AR_ACTION_CONT,
	AR_ACTION_OK,
	AR_ACTION_RELAY,
	AR_ACTION_ERROR,
	AR_ACTION_DISCARD
};
struct ar_action {
	enum ar_action_kind kind;
	bool quick;
	/* Of access.h: nothing was found; nobody said so, the map could not be asked. */
	bool none, failed;
	uint16_t code;      /* ERROR */
	struct sm_str text; /* ERROR: "5.7.1 text", part of the value or static; printable, at most
	                       AR_ACTION_TEXT_MAX */
};
/* A value. SM_E_SYNTAX: the diag says why. What is too long of a text is cut. */
int ar_action_parse(struct sm_str value, struct ar_action *out) SM_MUST_CHECK;

enum ar_restriction_kind { AR_RESTRICTION_FROM, AR_RESTRICTION_LIST, AR_RESTRICTION_CLIENT };
struct ar_restriction {
	enum ar_restriction_kind kind;
	struct sm_str what; /* without brackets; case as written */
};
/* The next restriction of a value; moves *rest behind it. SM_E_EOF: there is none; SM_E_SYNTAX. */
int ar_restriction_next(struct sm_str *rest, struct ar_restriction *out) SM_MUST_CHECK;

/*
 * A whole entry as createmap gets it: is there a tag, can such a key ever be looked up, may this
 * value stand there, is its text short enough? SM_E_SYNTAX, and the diag says what is wrong. An
 * unknown tag is that of a black list.
 */
int ar_access_check_entry(struct sm_str key, struct sm_str value) SM_MUST_CHECK;
/* Text of the configuration language, as sm_conf_bind_session wants it, and no longer than this:
 * its values are the other program's affair, so only the grammar is checked. SM_E_SYNTAX,
 * SM_E_TOOBIG. */
enum { AR_CONF_TEXT_MAX = 8192 };
int ar_access_check_conf(struct sm_str value) SM_MUST_CHECK;
/* Does "relay" mean something behind this tag ("to:")? */
bool ar_access_may_relay(struct sm_str tag);
/* Has this tag ("to:") a meaning of its own, so that no list in DNS can have it? */
bool ar_access_tag_taken(struct sm_str tag);

#endif
