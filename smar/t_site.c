/* A small smar for tests: its configuration, maps and mailertable, of texts. */
#include "smar/t_site.h"

#include "libsm/err.h"

struct t_site site;

void t_site_open(const char *config, const char *mailertable)
{
	struct sm_conf_file file;
	int rc;

	sm_arena_init(&site.arena, "test", 65536, SIZE_MAX / 8);
	sm_conf_defaults(ar_conf_opts, &site.conf, &site.arena);
	rc = sm_conf_parse(&file, "smx.conf", sm_str(config));
	if (rc == 0)
		rc = sm_conf_bind(&file, &file.root, ar_conf_opts, NULL, &site.conf, &site.arena);
	if (rc == 0)
		rc = ar_conf_check(&site.conf);
	sm_conf_free(&file);
	site.ar =
	    (struct ar){.conf = &site.conf, .hostname = SM_STR("mx.local"), .dns_timeout_ms = 600};
	if (rc == 0)
		rc = ar_maps_open(&site.conf, &site.ar.maps);
	if (rc == 0 && mailertable != NULL)
		rc = ar_mt_parse("mt", sm_str(mailertable), &site.ar.mt);
	if (rc != 0)
		fail_msg("%s", sm_diag());
	t_site_impatient();
}

void t_site_close(void)
{
	ar_release(&site.ar);
	sm_arena_fini(&site.arena);
}

void t_site_patient(void)
{
	site.ctx =
	    (struct ar_ctx){.a = &site.arena, .may_wait = true, .deadline_ms = sm_now_ms() + 2000};
}

void t_site_impatient(void)
{
	site.ctx = (struct ar_ctx){.a = &site.arena};
}
