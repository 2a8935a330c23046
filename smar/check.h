/*
 * What smtps asks about a client, a sender and a recipient. The maps of policy plug in here.
 */
#ifndef AR_CHECK_H
#define AR_CHECK_H

#include "smar/route.h"

/* Each fills the whole answer (strings in ctx->a or static): 0; SM_E_AGAIN, only without may_wait,
 * as for ar_route. */
int ar_check_conn(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_conn_check *m,
                  struct sm_msg_conn_verdict *out) SM_YIELDS SM_MUST_CHECK;
int ar_check_mail(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_mail_check *m,
                  struct sm_msg_verdict *out) SM_MUST_CHECK;
int ar_check_rcpt(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_rcpt_check *m,
                  struct sm_msg_verdict *out) SM_MUST_CHECK;

#endif
