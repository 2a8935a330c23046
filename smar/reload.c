/*
 * One job at a time in a helper thread: it looks at the files, or opens them.
 *
 * Programs write a file in pieces, and operators replace several that belong together. So a change
 * counts when two looks in a row saw the same; a file that is half there then is refused as a
 * whole, and is taken when it has changed again. Invariant: what is in force was opened by one
 * configuration at one time. Thread: the loop's, but for open_all, look and ar_reload_open.
 */
#include "smar/alias.h"
#include "smar/reload.h"

#include "libsm/log.h"
#include "libsm/err.h"
#include "libsm/offload.h"
#include "libsm/sync.h"
#include "libsm/time.h"
#include "smar/dnsbl.h"

enum { QUIET_MS = 500 };

/* What a helper works on. */
struct attempt {
	struct ar ar;   /* of it, only conf, maps and mt count */
	uint64_t files; /* how they look */
};

static struct {
	struct ar *ar;              /* what is in force */
	const struct ar_conf *conf; /* what is to be in force */
	struct sm_timer timer;
	struct sm_offload_job job;
	struct attempt attempt;
	bool busy;      /* with the job */
	bool wanted;    /* opening, as soon as it is free */
	uint64_t tried; /* how the files looked before they were opened the last time */
	uint64_t seen;  /* and at the last look */
	size_t refused;
	uint64_t begun, ended; /* openings */
	int outcome;           /* of the last one */
	char why[SM_DIAG_MAX];
	struct sm_cond over;
	bool stopped;
} r;

int ar_reload_open(struct ar *ar)
{
	char path[AR_PATH_BYTES];
	int rc = ar_maps_open(ar->conf, &ar->maps);

	ar->mt = NULL;
	if (rc == 0 && ar_maps_mailertable(ar->maps) == NULL &&
	    (rc = sm_str_copy(ar->conf->mailertable.file, path, sizeof(path))) == 0)
		rc = ar_mt_load(path, &ar->mt);
	if (rc != 0)
		ar_release(ar);
	return rc;
}

static void tell_map(void *arg SM_UNUSED, const struct ar_map_info *info)
{
	if (info->entries == SIZE_MAX)
		sm_log(SM_NOTICE, "ar.map", "map=%s type=%s file=%?S", info->name, info->type,
		       info->file);
	else
		sm_log(SM_NOTICE, "ar.map", "map=%s type=%s file=%?S entries=%zu", info->name,
		       info->type, info->file, info->entries);
}

static void tell_all(void)
{
	(void)ar_maps_each(r.ar->maps, tell_map, NULL);
	if (r.ar->mt != NULL)
		sm_log(SM_NOTICE, "ar.mailertable", "file=%S domains=%zu",
		       r.ar->conf->mailertable.file, r.ar->mt->by_domain.count);
}

static void go_on(void);

/* ---- opening ---- */

static int open_all(void *arg)
{
	struct attempt *a = arg;

	a->files = ar_maps_look(a->ar.conf);
	return ar_reload_open(&a->ar);
}

static void opened(int rc, void *arg)
{
	struct attempt *a = arg;

	r.busy = false;
	/* What was refused would be refused again. */
	r.tried = r.seen = a->files;
	r.ended = r.begun;
	r.outcome = rc;
	sm_str_cut(sm_str(rc != 0 ? r.job.diag : ""), r.why, sizeof(r.why));
	sm_cond_broadcast(&r.over);
	if (rc != 0) {
		r.refused++;
		sm_log(SM_ERROR, "ar.maps", "kept=1 error=%s", r.job.diag);
	} else {
		ar_release(r.ar);
		if (r.ar->conf != a->ar.conf)
			ar_dnsbl_test_soon();
		r.ar->conf = a->ar.conf;
		r.ar->maps = a->ar.maps;
		r.ar->mt = a->ar.mt;
		a->ar.maps = NULL;
		a->ar.mt = NULL;
		ar_alias_fini(); /* who reads maps again means lists, too */
		tell_all();
	}
	go_on();
}

static void start_opening(void)
{
	r.busy = true;
	r.wanted = false;
	r.begun++;
	r.attempt.ar.conf = r.conf;
	sm_offload_async(&r.job, open_all, opened, &r.attempt);
}

/* ---- looking ---- */

static void set_timer(int64_t in_ms);

static int look(void *arg)
{
	struct attempt *a = arg;

	a->files = ar_maps_look(a->ar.conf);
	return 0;
}

static void looked(int rc SM_UNUSED, void *arg)
{
	const struct attempt *a = arg;
	bool changed = a->files != r.tried, quiet = a->files == r.seen;

	r.busy = false;
	r.seen = a->files;
	if (changed && quiet)
		r.wanted = true;
	else if (changed)
		set_timer(QUIET_MS);
	go_on();
}

static void start_looking(void *arg SM_UNUSED)
{
	if (r.busy)
		return; /* go_on sets it again */
	r.busy = true;
	r.attempt.ar.conf = r.conf;
	sm_offload_async(&r.job, look, looked, &r.attempt);
}

static void set_timer(int64_t in_ms)
{
	sm_timer_set(&r.timer, sm_now_ms() + in_ms, start_looking, NULL);
}

/* What comes after a job. */
static void go_on(void)
{
	if (r.stopped)
		return;
	if (r.wanted)
		start_opening();
	else if (!sm_timer_is_set(&r.timer) && r.conf->map_check_interval_ms > 0)
		set_timer(r.conf->map_check_interval_ms);
}

/* ---- life ---- */

void ar_reload_start(struct ar *ar, uint64_t files)
{
	r.ar = ar;
	r.conf = ar->conf;
	r.tried = r.seen = files;
	sm_cond_init(&r.over);
	tell_all();
	go_on();
}

void ar_reload_now(const struct ar_conf *conf)
{
	r.conf = conf;
	r.wanted = true;
	if (!r.busy)
		start_opening();
}

int ar_reload_wait(int64_t deadline_ms)
{
	/* One that runs may have read files before they were changed. */
	uint64_t mine = r.begun + 1;
	int rc = 0;

	ar_reload_now(r.conf);
	while (rc == 0 && r.ended < mine)
		rc = sm_cond_wait(&r.over, "reload", deadline_ms);
	if (rc == 0 && r.outcome != 0)
		rc = sm_fail(r.outcome, "%s", r.why);
	return rc;
}

static void no_map(void *arg SM_UNUSED, const struct ar_map_info *info SM_UNUSED)
{
}

size_t ar_reload_count(void)
{
	return ar_maps_each(r.ar->maps, no_map, NULL) + (r.ar->mt != NULL);
}

size_t ar_reload_refused(void)
{
	return r.refused;
}

void ar_reload_stop(void)
{
	r.stopped = true;
	sm_timer_cancel(&r.timer);
}

void ar_reload_free(void)
{
	ar_release(&r.attempt.ar);
	memset(&r, 0, sizeof(r));
}
