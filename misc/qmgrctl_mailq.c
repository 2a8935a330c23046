/*
 * The queue as users of sendmail and Postfix know it: id with a mark, size, time of arrival,
 * sender; in parentheses what was last said; recipients. "*": being delivered, "!": held.
 */
#include "misc/qmgrctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define HEAD   "-Queue ID-----------  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
#define INDENT "                                                   "

static void arrival(int64_t wall_s, char out[24])
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL || strftime(out, 24, "%a %b %e %H:%M:%S", &tm) == 0)
		snprintf(out, 24, "-");
}

static char mark_of(const json_t *mail)
{
	const json_t *rcpts = json_object_get(mail, "rcpts"), *r;
	size_t i;

	json_array_foreach(rcpts, i, r) if (strcmp(qc_str(r, "state"), "held") == 0) return '!';
	return strcmp(qc_str(mail, "queue"), "active") == 0 ? '*' : ' ';
}

/* A reply stands before the recipients that got it, once for all that got the same one after each
 * other. */
static void recipients(struct sm_buf *b, const json_t *mail)
{
	const json_t *r;
	const char *said = "";
	size_t i;

	json_array_foreach(json_object_get(mail, "rcpts"), i, r)
	{
		const char *reason = qc_str(r, "reason"), *host = qc_str(r, "host");

		if (*reason && strcmp(reason, said) != 0) {
			sm_buf_cstr(b, "    (");
			if (*host) {
				sm_buf_cstr(b, "host ");
				qc_text(b, host, 60, false);
				sm_buf_cstr(b, " said: ");
			}
			qc_text(b, reason, 110, false);
			sm_buf_cstr(b, ")\n");
		}
		said = reason;
		sm_buf_cstr(b, INDENT);
		qc_text(b, qc_str(r, "rcpt"), 320, false);
		sm_buf_char(b, '\n');
	}
}

void qc_mailq_mail(struct qc_mailq *m, const json_t *mail)
{
	struct sm_buf *b = &m->out;
	const char *sender = qc_str(mail, "sender");
	char at[24];

	sm_buf_reset(b);
	if (m->mails++ == 0)
		sm_buf_cstr(b, HEAD);
	else
		sm_buf_char(b, '\n');
	m->bytes += (uint64_t)qc_num(mail, "size");
	arrival(qc_num(mail, "received_s"), at);
	sm_buf_printf(b, "%s%c %9" PRId64 " %-20s ", qc_str(mail, "id"), mark_of(mail),
	              qc_num(mail, "size"), at);
	qc_text(b, *sender ? sender : "MAILER-DAEMON", 320, false);
	sm_buf_char(b, '\n');
	recipients(b, mail);
	fwrite(sm_buf_p(b), 1, b->len, stdout);
}

void qc_mailq(void *arg, struct sm_str line)
{
	json_t *mail = json_loadb(line.p, line.n, 0, NULL);

	if (mail && strcmp(qc_str(mail, "type"), "mail") == 0)
		qc_mailq_mail(arg, mail);
	json_decref(mail);
}

void qc_mailq_end(struct qc_mailq *m)
{
	if (m->mails == 0)
		puts("Mail queue is empty");
	else
		printf("\n-- %" PRIu64 " Kbytes in %" PRIu64 " Request%s.\n",
		       (m->bytes + 1023) / 1024, m->mails, m->mails == 1 ? "" : "s");
	sm_buf_fini(&m->out);
}
