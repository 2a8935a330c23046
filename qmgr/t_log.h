/* What the tests of the record log share: a directory of their own, a log with a model of what it
 * should hold. Tests only. */
#ifndef QM_T_LOG_H
#define QM_T_LOG_H

#include "libsm/buf.h"
#include "qmgr/log.h"

/* A record as a test wrote or found it. */
struct t_rec {
	uint64_t lsn;
	struct qm_loc loc;
	uint16_t type;
	uint32_t size, crc;
};
struct t_recs {
	struct t_rec *v;
	size_t n, cap;
};

/* A log, its counter, and what its callbacks said. */
struct t_log {
	char dir[64], log_dir[80];
	struct qm_lsn lsn;
	struct qm_log_conf conf;
	struct qm_log *log;
	struct t_recs wrote, found;
	bool loose;     /* t_log_put does not hold what it appends */
	uint64_t told;  /* by on_durable */
	unsigned turns; /* calls of on_durable */
	int failed;
	unsigned failures, lows;
	bool low;
	unsigned damages;
	struct qm_log_damage damage[8];
	char damage_file[8][48];
	unsigned torn, closed, segments;
};

#define SMALL (64 * 1024) /* bytes of a segment */

int t_log_setup(void **state); /* the loop, and dice that always fall alike */
int t_log_teardown(void **state);

void t_log_init(struct t_log *t, uint32_t segment_bytes); /* makes the directory */
void t_log_fini(struct t_log *t);                         /* closes, removes it */
/* Open and replay into t->found (emptied before). Gives the error of either. */
int t_log_load(struct t_log *t);
void t_log_start(struct t_log *t); /* load and start, both must be fine */
void t_log_stop(struct t_log *t);
/* Append a record whose body follows from its lsn and size; it goes to t->wrote. */
struct t_rec t_log_put(struct t_log *t, uint32_t size);
void t_body(uint64_t lsn, uint8_t *p, uint32_t size);
/* Run the loop until the log is durable up to `lsn`, has failed, or `ms` have passed. */
void t_log_wait(struct t_log *t, uint64_t lsn, int ms);
void t_turns(bool (*until)(void *arg), void *arg, int ms); /* run the loop until so */
bool t_never(void *arg);                                   /* until the time is up */
bool t_first_is_gone(void *arg);                           /* the first segment of this log */
bool t_has_spare(void *arg);
/* Append until a record is in this segment: gives that one. */
struct t_rec t_log_fill(struct t_log *t, uint32_t seq);
struct qm_log_stat t_log_stat(struct t_log *t);
/* t->found is t->wrote without those that `leave_out` names (may be NULL). */
void t_log_same(const struct t_log *t, bool (*leave_out)(const struct t_rec *));

/* Files of the log. */
void t_path(const struct t_log *t, uint32_t seq, char out[128]);
uint8_t *t_slurp(const char *path, size_t *n);
void t_spill(const char *path, const uint8_t *p, size_t n);
bool t_exists(const struct t_log *t, uint32_t seq);
unsigned t_files(const struct t_log *t, const char *prefix);

#endif
