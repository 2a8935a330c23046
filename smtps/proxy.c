/*
 * Taking a PROXY header from a connection. Invariant: not a byte behind the header is taken,
 * because it may be TLS; whoever may not send one, or sends something else, hears nothing.
 * Session's coroutine.
 */
#include "smtps/proxy.h"

#include <sys/socket.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/nets.h"
#include "smtps/session.h"

static void refuse(struct ss_session *s, int err)
{
	sm_log(SM_NOTICE, "ss.proxy", "client=%A listener=%s stat=refused error=%E", &s->client,
	       s->listener, err);
	s->closing = s->mute = true;
	s->why = "no PROXY header that counts";
}

/*
 * A byte is waited for; what came with it is only looked at. As long as there is no whole header,
 * all that was seen belongs to it and is taken; at last, exactly what is missing.
 */
static int take_header(struct ss_session *s, char *mem, struct ss_proxy *out)
{
	int64_t deadline_ms = sm_loop_now_ms() + s->conf->proxy.timeout_ms;
	size_t have = 0;

	for (;;) {
		ssize_t got = sm_net_read(&s->net, mem + have, 1, deadline_ms), more;
		size_t take;
		int rc;

		if (got < 0)
			return (int)got;
		have++;
		more = recv(s->net.f.fd, mem + have, SS_PROXY_MAX - have, MSG_PEEK | MSG_DONTWAIT);
		more = SM_MAX(more, (ssize_t)0);
		rc = ss_proxy_parse(sm_str_n(mem, have + (size_t)more), out);
		if (rc != 0 && rc != SM_E_AGAIN)
			return rc;
		for (take = rc == 0 ? out->used - have : (size_t)more; take > 0;
		     take -= (size_t)got) {
			got = sm_net_read(&s->net, mem + have, take, deadline_ms);
			if (got < 0)
				return (int)got;
			have += (size_t)got;
		}
		if (rc == 0)
			return 0;
		if (have == SS_PROXY_MAX)
			return sm_fail(SM_E_TOOBIG, "PROXY header longer than %d", SS_PROXY_MAX);
	}
}

bool ss_proxy(struct ss_session *s)
{
	struct ss_proxy p;
	char *mem;
	int err;

	if (!ss_conf_name_in(&s->conf->proxy.listeners, sm_str(s->listener)))
		return true;
	sm_co_doing(SM_STR("PROXY"), SM_STR_NONE);
	if (!ss_nets_have(&s->conf->proxy.from, &s->client)) {
		refuse(s, sm_fail(SM_E_DENIED, "client is not in proxy.from"));
		return false;
	}
	mem = sm_malloc(SS_PROXY_MAX);
	err = take_header(s, mem, &p);
	sm_free(mem);
	if (err != 0) {
		refuse(s, err);
		return false;
	}
	if (p.told) {
		sm_log(SM_DEBUG, "ss.proxy", "client=%A via=%A dest=%A listener=%s stat=ok",
		       &p.client, &s->client, &p.server, s->listener);
		ss_session_told_client(s, &p.client);
	}
	return true;
}
