/*
 * Watches the free space of the content store and the logs, and the memory of the process: below
 * min_disk_space new mail is refused, above ok_disk_space it is taken again. Deliveries go on in
 * between: they free space.
 */
#include "qmgr/qm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "libsm/offload.h"
#include "libsm/time.h"

#define LOOK_MS 1000

struct qm_space {
	struct sm_offload_job job;
	struct sm_timer timer;
	struct cdb *cdb;
	struct qm *q;
	int dirs[3];
	uint64_t seen_bytes; /* helper's */
	uint64_t free_bytes, memory_bytes;
	bool looking;
};

static int look_job(void *arg)
{
	struct qm_space *s = arg;
	struct statvfs st;
	int err = cdb_space(s->cdb, &s->seen_bytes);

	if (err != 0)
		return err;
	for (size_t i = 0; i < SM_ARRAY_SIZE(s->dirs); i++) {
		if (s->dirs[i] < 0)
			continue;
		if (fstatvfs(s->dirs[i], &st) != 0)
			return sm_fail_sys(errno, "statvfs");
		s->seen_bytes = SM_MIN(s->seen_bytes, (uint64_t)st.f_bavail * st.f_frsize);
	}
	return 0;
}

static void look(void *arg);

/* Resident memory: the second number there, in pages. */
static uint64_t memory_used(const struct qm *q)
{
	char text[64], *end;
	ssize_t n = q->statm_fd < 0 ? -1 : pread(q->statm_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	(void)strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void looked(int rc, void *arg)
{
	struct qm_space *s = arg;
	struct qm *q = s->q;
	bool was = q->resources.v[QM_RES_DISK].full, low;

	s->looking = false;
	if (rc != 0) {
		sm_log(SM_ERROR, "qm.space", "error=%s diag=%s", sm_strerr(rc), s->job.diag);
	} else {
		s->free_bytes = s->seen_bytes;
		qm_resource_set_free(&q->resources, QM_RES_DISK, s->free_bytes,
		                     (uint64_t)q->conf->min_disk_bytes,
		                     (uint64_t)q->conf->ok_disk_bytes);
	}
	low = q->resources.v[QM_RES_DISK].full;
	if (was != low) {
		sm_log(low ? SM_ERROR : SM_NOTICE, "qm.space", "low=%d free=%llu", low,
		       (unsigned long long)s->free_bytes);
	}
	s->memory_bytes = memory_used(q);
	qm_resource_set(&q->resources, QM_RES_MEMORY, s->memory_bytes,
	                (uint64_t)q->conf->max_memory_bytes);
	sm_timer_set(&s->timer, sm_loop_now_ms() + LOOK_MS, look, s);
}

static void look(void *arg)
{
	struct qm_space *s = arg;

	s->looking = true;
	sm_offload_async(&s->job, look_job, looked, s);
}

uint64_t qm_space_free_bytes(const struct qm *q)
{
	return q->space->free_bytes;
}

uint64_t qm_space_memory_bytes(const struct qm *q)
{
	return q->space->memory_bytes;
}

static int open_dir(struct sm_str path)
{
	char name[256];

	return path.n && sm_str_copy(path, name, sizeof(name)) == 0
	           ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
	           : -1;
}

int qm_space_open(struct qm *q)
{
	struct qm_space *s = sm_calloc(1, sizeof(*s));

	q->space = s;
	s->q = q;
	s->cdb = q->cdb;
	s->dirs[0] = open_dir(q->conf->ibdb.base_directory);
	s->dirs[1] = open_dir(q->conf->defedb.base_directory);
	s->dirs[2] = open_dir(q->conf->defedb.log_directory);
	/* The first look is taken at once, here: nothing is accepted on a full disk. */
	looked(look_job(s), s);
	return 0;
}

void qm_space_close(struct qm *q)
{
	if (q->space == NULL)
		return;
	sm_timer_cancel(&q->space->timer);
	for (size_t i = 0; i < SM_ARRAY_SIZE(q->space->dirs); i++)
		if (q->space->dirs[i] >= 0)
			close(q->space->dirs[i]);
	SM_FREE(q->space);
}
