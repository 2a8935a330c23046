/*
 * The commands of SMTP: which there are, when each is legal, and who does them. Legality is data: a
 * row of states.
 */
#ifndef SS_CMDS_H
#define SS_CMDS_H

#include "libsm/str.h"
#include "smtps/reply.h"

struct ss_session;

/* Where a session is between two commands. */
enum ss_state {
	SS_ST_NEW = 1,     /* no EHLO yet */
	SS_ST_READY = 2,   /* no transaction */
	SS_ST_MAIL = 4,    /* sender known, no recipient accepted */
	SS_ST_RCPT = 8,    /* one recipient at least */
	SS_ST_CHUNKS = 16, /* a chunk has come, the last one has not */
	SS_ST_ANY = 31,
};

enum {
	SS_CMD_LAST = 1,    /* nothing may be pipelined behind it (RFC 2920 3.1) */
	SS_CMD_NOP = 2,     /* counts as one that does nothing */
	SS_CMD_NOARG = 4,   /* takes no argument */
	SS_CMD_ANYBODY = 8, /* also for who is not yet admitted: a front end that may say XCLIENT */
	SS_CMD_CHUNK = 16,  /* bytes that are no command follow it, also where it is not legal */
	SS_CMD_SMTP = 32,   /* unknown in LMTP */
	SS_CMD_LMTP = 64,   /* unknown in SMTP */
};

struct ss_cmd {
	struct sm_str verb;
	unsigned states; /* in which it is legal */
	unsigned flags;
	/* Does it and says exactly one reply. `arg` is valid until the next read. Yields. */
	void (*run)(struct ss_session *s, struct sm_str arg);
};

const struct ss_cmd *ss_cmd_find(struct sm_str verb); /* NULL: unknown */
const struct ss_cmd *ss_cmd_table(size_t *count);
enum ss_state ss_state(const struct ss_session *s);
/* Which reply tells that `c` is not legal in `state`; SS_R_NONE when it is. */
enum ss_reply_name ss_cmd_illegal(const struct ss_cmd *c, enum ss_state state);
/* Verbs of other protocols that end up here by mistake or by malice (HTTP). */
bool ss_cmd_foreign(struct sm_str verb);

void ss_cmd_starttls(struct ss_session *s, struct sm_str arg);
void ss_cmd_helo(struct ss_session *s, struct sm_str arg);
void ss_cmd_ehlo(struct ss_session *s, struct sm_str arg); /* LHLO, too */
void ss_cmd_auth(struct ss_session *s, struct sm_str arg);
void ss_cmd_mail(struct ss_session *s, struct sm_str arg);
void ss_cmd_rcpt(struct ss_session *s, struct sm_str arg);
void ss_cmd_data(struct ss_session *s, struct sm_str arg);
void ss_cmd_bdat(struct ss_session *s, struct sm_str arg);
/* BDAT where it is not legal: its bytes are thrown away. False: the session ends, that has been
 * said. Yields. */
bool ss_bdat_skip(struct ss_session *s, struct sm_str arg);
void ss_cmd_rset(struct ss_session *s, struct sm_str arg);
void ss_cmd_noop(struct ss_session *s, struct sm_str arg);
void ss_cmd_vrfy(struct ss_session *s, struct sm_str arg);
void ss_cmd_expn(struct ss_session *s, struct sm_str arg);
void ss_cmd_help(struct ss_session *s, struct sm_str arg);
void ss_cmd_xclient(struct ss_session *s, struct sm_str arg);
void ss_cmd_xforward(struct ss_session *s, struct sm_str arg);
void ss_cmd_etrn(struct ss_session *s, struct sm_str arg);
/* "ETRN\n" for EHLO, where this client may ask for the mail of any node. Yields. */
struct sm_buf;
void ss_etrn_offer(struct ss_session *s, struct sm_buf *b);
void ss_cmd_quit(struct ss_session *s, struct sm_str arg);

#endif
