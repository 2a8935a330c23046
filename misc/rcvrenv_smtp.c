/*
 * A mail back into a queue, by SMTP. Invariant: only when every recipient was accepted the content
 * follows; else the server has nothing of it.
 */
#include "misc/rcvrenv.h"

#include "libsm/err.h"

/* Was it declared, or do its addresses say so? */
static bool is_utf8(const struct rcv_mail *m)
{
	bool utf8 = m->utf8 != 0 || !sm_str_is_ascii(sm_str(m->sender));

	for (size_t i = 0; i < m->count; i++)
		utf8 = utf8 || (rcv_rcpt_open(m, &m->rcpts[i]) &&
		                !sm_str_is_ascii(sm_str(m->rcpts[i].addr)));
	return utf8;
}

/* The open ones; how many. */
static size_t open_rcpts(const struct rcv_mail *m, struct sb_rcpt *out)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++)
		if (rcv_rcpt_open(m, &m->rcpts[i]))
			out[n++] = (struct sb_rcpt){.addr = m->rcpts[i].addr,
			                            .orcpt = m->rcpts[i].orcpt,
			                            .notify = m->rcpts[i].notify};
	return n;
}

/* The server has said no to something; it shall forget the mail. */
static int take_back(struct sb *s)
{
	char why[SM_DIAG_MAX];
	int rc;

	sm_str_cut(sm_str(sm_diag()), why, sizeof(why));
	rc = sb_reset(s);
	return rc != 0 ? rc : sm_fail(SM_E_DENIED, "%s", why);
}

int rcv_send(struct sb *s, const struct rcv_mail *m, int fd)
{
	struct sb_mail mail = {.sender = m->sender,
	                       .envid = m->envid,
	                       .body = m->body,
	                       .ret = m->ret,
	                       .utf8 = is_utf8(m),
	                       .size = m->at.size};
	struct sb_rcpt *rcpts = sm_calloc(m->count + 1, sizeof(*rcpts));
	size_t n = open_rcpts(m, rcpts);
	int rc = sb_envelope(s, &mail, rcpts, n);

	for (size_t i = 0; i < n && rc == 0; i++)
		if (rcpts[i].code / 100 != 2)
			rc = sm_fail(SM_E_DENIED, "%s: %d %.200s", rcpts[i].addr, rcpts[i].code,
			             rcpts[i].text);
	if (rc == 0)
		rc = sb_content(s, fd, m->at.offset, m->at.size);
	for (size_t i = 0; i < n; i++)
		sm_free(rcpts[i].text);
	sm_free(rcpts);
	return rc == SM_E_DENIED ? take_back(s) : rc == SM_E_NOTSUP ? SM_E_DENIED : rc;
}
