/*
 * What smtps asks about a client, a sender, a recipient and a certificate: the lookups of the
 * access map in the order of the dialogue, and what else decides.
 *
 * In each stage the checks run one after the other until one says something else than "go on".
 *   connect  cltaddr:, name of the client, cltresolve:, cltname:, black lists     check_conn.c
 *   MAIL     routable domain, local sender known, from:, mxbadip:                check_mail.c
 *   RCPT     local recipient known, relaying, protectedrcpt:, to:, greylisting   check_rcpt.c
 *            its next hop to be asked                                          check_verify.c
 *   TLS      certissuer:, certsubject:                                           check_cert.c
 *   ETRN     etrn:                                                               check_etrn.c
 */
#ifndef AR_CHECK_H
#define AR_CHECK_H

#include "libsm/msg.h"
#include "smar/ar.h"

/* Each fills the whole answer (strings in ctx->a or static): 0; SM_E_AGAIN, only without may_wait,
 * as for ar_route. */
int ar_check_conn(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_conn_check *m,
                  struct sm_msg_conn_verdict *out) SM_YIELDS SM_MUST_CHECK;
int ar_check_mail(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_mail_check *m,
                  struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;
int ar_check_rcpt(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_rcpt_check *m,
                  struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;
/* RELAY or nothing; 4xx: it cannot be told now. Issuer and subject are encoded already, where they
 * came from (sm_tls_dn): what is a part of a value and what is not can be told there only. */
int ar_check_cert(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_cert_check *m,
                  struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;

/* May this client ask for the mail of a node? OK or nothing; 4xx: it cannot be told now. */
int ar_check_etrn(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_etrn_check *m,
                  struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;

/*
 * For people, who have a DN as text: as it stands in the access map: bytes that are not printable
 * and < > ( ) " + and blank are
 * "+" and two hexadecimal digits. In lower case, as all keys. p NULL: longer than any key.
 */
struct sm_str ar_dn_key(struct sm_arena *a, struct sm_str dn);

#endif
