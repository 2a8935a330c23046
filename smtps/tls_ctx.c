/*
 * The TLS context of the process. Invariant: there is a whole one or none: a configuration that
 * cannot be used leaves the one before, and sessions keep what they began with. Thread: the loop's;
 * files are read by a helper, but at the start.
 */
#include <stdio.h>
#include <unistd.h>

#include "libsm/co.h"
#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/offload.h"
#include "smtps/ss.h"

static void log_ready(const struct ss *ss, const struct sm_tls_conf *conf)
{
	int64_t until_s = sm_tls_ctx_until_s(ss->tls.ctx);
	bool over = until_s != 0 && until_s <= sm_wall_s();
	char until[SM_TIME_ISO_MAX] = "";

	if (until_s != 0)
		sm_time_iso(until_s * 1000, until);
	sm_log(over ? SM_ERROR : SM_NOTICE, "ss.tls_ctx", "stat=%s files=%zu until=%s",
	       over ? "expired" : "ready", conf->cert_file.count, until);
}

static void take(struct ss *ss, const struct sm_tls_conf *conf, int rc, struct sm_tls_ctx *ctx)
{
	if (rc != 0) {
		sm_log(SM_ERROR, "ss.tls_ctx", "stat=failed kept=%s error=%E",
		       ss->tls.ctx != NULL ? "old" : "none", rc);
		return;
	}
	sm_tls_ctx_unref(&ss->tls.ctx);
	ss->tls.ctx = ctx;
	log_ready(ss, conf);
}

static void load_now(struct ss *ss)
{
	const struct sm_tls_conf *conf = &ss->conf->tls;
	struct sm_tls_ctx *ctx;
	int rc = sm_tls_server_new(conf, ss->tls.service, &ctx);

	take(ss, conf, rc, ctx);
}

void ss_tls_open(struct ss *ss, struct sm_str section)
{
	(void)snprintf(ss->tls.service, sizeof(ss->tls.service), "smtps " SM_STR_FMT,
	               (int)SM_MIN(section.n, 128U), section.p != NULL ? section.p : "");
	if (ss->conf->tls.cert_file.count > 0)
		load_now(ss);
}

/* ---- reload ---- */

struct load {
	const struct sm_tls_conf *conf;
	const char *service;
	struct sm_tls_ctx *ctx;
};

static int load(void *arg)
{
	struct load *l = arg;

	return sm_tls_server_new(l->conf, l->service, &l->ctx);
}

static void load_main(void *arg)
{
	struct ss *ss = arg;

	do {
		/* Former configurations stay valid. */
		struct load l = {&ss->conf->tls, ss->tls.service, NULL};
		int rc;

		ss->tls.again = false;
		if (l.conf->cert_file.count == 0) {
			if (ss->tls.ctx != NULL)
				sm_log(SM_NOTICE, "ss.tls_ctx", "stat=off");
			sm_tls_ctx_unref(&ss->tls.ctx);
			continue;
		}
		rc = sm_offload("TLS files", load, &l);
		take(ss, l.conf, rc, l.ctx);
	} while (ss->tls.again);
	ss->tls.loading = false;
}

void ss_tls_reload(struct ss *ss)
{
	if (ss->conf->tls.cert_file.count == 0 && ss->tls.ctx == NULL)
		return;
	ss->tls.again = true;
	if (ss->tls.loading)
		return;
	ss->tls.loading = sm_co_spawn("tls reload", load_main, ss) != NULL;
	if (!ss->tls.loading)
		sm_log(SM_ERROR, "ss.tls_ctx", "stat=failed kept=%s error=%E",
		       ss->tls.ctx != NULL ? "old" : "none", SM_E_BUSY);
}

void ss_tls_file(struct ss *ss, const char *path, int fd)
{
	int rc = sm_tls_file(path, fd);

	if (rc != 0)
		sm_log(SM_ERROR, "ss.file", "name=%s error=%E", path, rc);
	else if (ss->tls.ctx == NULL && ss->tls.service[0] != '\0')
		ss_tls_reload(ss);
}

void ss_tls_close(struct ss *ss)
{
	sm_tls_ctx_unref(&ss->tls.ctx);
	sm_tls_cleanup();
}
