/*
 * The mail goes to smtps, and what it says becomes an exit status. Invariant: SL_OK means that smx
 * has the mail for every recipient; any other status without -oem means that it has it for nobody,
 * but for a connection that was lost behind the end of data. One thread.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/smtp_reply.h"
#include "misc/sendmail.h"
#include "misc/submit.h"

void sl_complain(const struct sl_opts *o, const char *fmt, ...)
{
	va_list ap;

	if (o->quiet)
		return;
	(void)fputs("sendmail: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

/* ---- what a reply means ---- */

/* A no to the whole mail: behind the greeting, MAIL or the content. */
static int status_of_reply(const struct sl_opts *o, const struct sb *s)
{
	int code = sb_code(s);
	unsigned enhanced[3];
	struct sm_str rest;

	if (code / 100 != 5)
		return o->tempfail;
	if (!sm_enhanced_parse(sm_str(sb_text(s)), code, enhanced, &rest))
		return code == 552 ? SL_DATAERR : SL_UNAVAILABLE;
	if (enhanced[1] == 6 || (enhanced[1] == 3 && enhanced[2] == 4) ||
	    (enhanced[1] == 1 && enhanced[2] >= 7)) /* content, size, sender's address */
		return SL_DATAERR;
	return enhanced[1] == 7 ? SL_NOPERM : SL_UNAVAILABLE;
}

/* `err` of submit.h. */
static int status_of(const struct sl_opts *o, const struct sb *s, int err)
{
	if (err == SM_E_DENIED && s != NULL)
		return status_of_reply(o, s);
	switch (err) {
	case SM_E_DENIED:
		return SL_NOPERM; /* of the socket */
	case SM_E_NOTSUP:
		return SL_UNAVAILABLE;
	case SM_E_PROTO:
	case SM_E_TOOBIG:
		return SL_PROTOCOL;
	case SM_E_IO:
	case SM_E_CORRUPT:
		return SL_OSERR; /* our own memory of the message */
	default:
		return o->tempfail;
	}
}

static int failed(const struct sl_mail *m, const struct sb *s, int err)
{
	sl_complain(m->opts, "%s", sm_diag());
	return status_of(m->opts, s, err);
}

/* ---- sending ---- */

static int open_session(const struct sl_mail *m, struct sb **s)
{
	char path[128];
	int rc = sm_str_copy(m->conf->socket, path, sizeof(path));

	sm_assert(rc == 0); /* the table has bounded it */
	rc = sb_open(path, m->opts->verbose ? stdout : NULL, s);
	return rc == 0 ? 0 : failed(m, *s, rc);
}

/* How many were accepted; the status of the others in *status. */
static size_t judge(const struct sl_mail *m, const struct sb_rcpt *rcpts, int *status)
{
	size_t accepted = 0;

	*status = SL_OK;
	for (size_t i = 0; i < m->rcpt_count; i++) {
		int code = rcpts[i].code;

		accepted += code / 100 == 2;
		if (code == 0 || code / 100 == 2)
			continue;
		sl_complain(m->opts, "%s: %d %s", rcpts[i].addr, code, rcpts[i].text);
		if (code / 100 == 5)
			*status = SL_NOUSER;
		else if (*status == SL_OK)
			*status = m->opts->tempfail;
	}
	return accepted;
}

static int envelope(const struct sl_mail *m, struct sb *s, struct sb_rcpt *rcpts)
{
	struct sb_mail mail = {.sender = m->sender.p,
	                       .envid = m->opts->envid,
	                       .ret = m->opts->ret,
	                       .body = m->eight_bit ? SM_BODY_8BITMIME : SM_BODY_NONE,
	                       .utf8 = m->utf8,
	                       .size = m->size};
	uint64_t max = sb_max_size(s);
	int rc, status, refused;

	if (max > 0 && m->size > max) {
		sl_complain(m->opts, "the message has %llu bytes, smx takes %llu at the most",
		            (unsigned long long)m->size, (unsigned long long)max);
		return SL_DATAERR;
	}
	for (size_t i = 0; i < m->rcpt_count; i++)
		rcpts[i] = (struct sb_rcpt){.addr = m->rcpts[i].p, .notify = m->opts->notify};
	rc = sb_envelope(s, &mail, rcpts, m->rcpt_count);
	if (rc == 0)
		return 0;
	status = failed(m, s, rc);
	/* Of too many that are wrong, smtps has enough; what is wrong with them stays wrong. */
	(void)judge(m, rcpts, &refused);
	return refused == SL_NOUSER ? refused : status;
}

static void free_rcpts(const struct sl_mail *m, struct sb_rcpt **rcpts)
{
	for (size_t i = 0; i < m->rcpt_count; i++)
		sm_free((*rcpts)[i].text);
	SM_FREE(*rcpts);
}

static int transact(const struct sl_mail *m, struct sb *s, struct sb_rcpt *rcpts)
{
	int status = envelope(m, s, rcpts), rc;
	size_t accepted;

	if (status != 0)
		return status;
	accepted = judge(m, rcpts, &status);
	if (status != SL_OK && (accepted == 0 || !m->opts->some_will_do)) {
		if (accepted > 0)
			sl_complain(m->opts, "nothing was sent, to nobody");
		return status;
	}
	rc = sb_content(s, m->fd, 0, m->size);
	return rc == 0 ? status : failed(m, s, rc);
}

int sl_send(struct sl_mail *m)
{
	struct sb_rcpt *rcpts = sm_calloc(m->rcpt_count + 1, sizeof(*rcpts));
	struct sb *s;
	int status = open_session(m, &s);

	if (status == 0)
		status = transact(m, s, rcpts);
	sb_close(&s);
	free_rcpts(m, &rcpts);
	return status;
}

int sl_verify(struct sl_mail *m)
{
	struct sb_rcpt *rcpts = sm_calloc(m->rcpt_count + 1, sizeof(*rcpts));
	struct sb *s;
	int status = open_session(m, &s);

	if (status == 0)
		status = envelope(m, s, rcpts);
	if (status == 0) {
		(void)judge(m, rcpts, &status);
		for (size_t i = 0; i < m->rcpt_count; i++)
			if (rcpts[i].code / 100 == 2)
				printf("%s: %d %s\n", rcpts[i].addr, rcpts[i].code, rcpts[i].text);
		if (fflush(stdout) != 0)
			status = SL_IOERR;
	}
	sb_close(&s);
	free_rcpts(m, &rcpts);
	return status;
}

/* ---- -bs ---- */

enum { BRIDGE_BYTES = 64 * 1024 };

static bool write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

/* One piece from `from` to `to`: false at the end, or when `to` takes no more. */
static bool move(int from, int to, char *piece)
{
	ssize_t n;

	do {
		n = read(from, piece, BRIDGE_BYTES);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n > 0 && write_all(to, piece, (size_t)n);
}

int sl_bridge(const struct sl_opts *o, const struct sl_conf *c)
{
	/* smtps takes nobody who speaks before he is greeted: input waits. */
	struct pollfd p[2] = {{.fd = -1, .events = POLLIN}, {.events = POLLIN}};
	bool greeted = false;
	char path[128], *piece = sm_malloc(BRIDGE_BYTES);
	int rc = sm_str_copy(c->socket, path, sizeof(path)), server;

	sm_assert(rc == 0);
	server = sb_connect(path);
	if (server < 0) {
		sl_complain(o, "%s", sm_diag());
		sm_free(piece);
		return status_of(o, NULL, server);
	}
	p[1].fd = server;
	while (p[1].fd != -1) {
		if (poll(p, 2, -1) == -1) {
			if (errno == EINTR)
				continue;
			break;
		}
		/* The server's words first: its last ones tell why it goes. */
		if (p[1].revents != 0 && !move(server, STDOUT_FILENO, piece))
			p[1].fd = -1;
		else if (p[0].revents != 0 && !move(STDIN_FILENO, server, piece)) {
			p[0].fd = -1;
			(void)shutdown(server, SHUT_WR);
		} else if (!greeted) {
			greeted = true;
			p[0].fd = STDIN_FILENO;
		}
	}
	(void)close(server);
	sm_free(piece);
	return greeted ? SL_OK : o->tempfail;
}
