/*
 * Before anything is read or changed: may this program read each segment that is there?
 *
 * Invariant: an SM_E_NOTSUP from here means a whole batch of another format, or of a table of
 * records that is not known, and nothing was written. Damage is not this file's business: it is
 * found by replay. Blocking; while the log is opened.
 */
#include "qmgr/log_impl.h"

#include <inttypes.h>
#include <unistd.h>

/* The leading batch is damaged: then any of the others may say it. */
static int check_rest(const struct qm_log *log, uint32_t seq)
{
	uint8_t *p;
	size_t n;
	bool lead_good;
	int rc = qm_seg_load(log, seq, &p, &n);

	if (rc == 0)
		rc = qm_segment_readable(p, n, &lead_good);
	sm_free(p);
	return rc;
}

static int check_segment(const struct qm_log *log, const struct qm_seg *seg)
{
	uint8_t lead[QM_BLOCK];
	bool lead_good = false;
	size_t n;
	int fd, rc = qm_seg_open(log, seg->seq, &fd);

	if (rc != 0)
		return rc;
	rc = qm_seg_pread(log, fd, seg->seq, lead, sizeof lead, 0, &n);
	close(fd);
	if (rc == 0)
		rc = qm_segment_readable(lead, n, &lead_good);
	if (rc == 0 && !lead_good)
		rc = check_rest(log, seg->seq);
	if (rc == SM_E_NOTSUP)
		rc =
		    sm_fail_in(rc, "%s/%s.%08" PRIx32, log->dir[seg->where], log->c.name, seg->seq);
	return rc;
}

int qm_log_check_formats(struct qm_log *log)
{
	struct qm_seg *v;
	size_t n;
	int rc = qm_seg_list(log, &v, &n);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = check_segment(log, &v[i]);
	SM_FREE(v);
	return rc;
}
