/*
 * What filters are told beside the events: macros, named and meant as in sendmail 8 and Postfix.
 */
#ifndef SS_MACROS_H
#define SS_MACROS_H

#include "libsm/buf.h"
#include "libsm/id.h"
#include "smtps/milter_proto.h"

struct ss_session;

/* What is only known where the event is: of MAIL the sender, of RCPT the recipient. */
struct ss_macros {
	struct sm_str sender, author; /* author: what AUTH= of MAIL says */
	struct sm_str rcpt_mailer, rcpt_host, rcpt_addr;
	struct sm_id id; /* the transaction's to be; none: that of the session's */
};

/* The names that are sent at a stage when the filter has not asked for others. */
struct sm_str ss_macros_default(enum ss_mp_stage stage);
/* A packet with the names of the list that have a value, for the event; nothing when none has. */
void ss_macros_put(const struct ss_session *s, const struct ss_macros *m, char event,
                   struct sm_str names, struct sm_buf *out);
/* The value of one, appended to `b`. False: there is none. `name` with its braces. */
bool ss_macro(const struct ss_session *s, const struct ss_macros *m, struct sm_str name,
              struct sm_buf *b);

#endif
