/*
 * How much of what qmgr needs is used, and how much new mail that leaves room for. Pure: the caller
 * measures.
 *
 * Each resource has a mark from which on the credit of the smtps processes falls, and may have an
 * end at which nothing new is taken; then it is taken again only below a third mark. The credit is
 * that of the scarcest resource.
 */
#ifndef QM_RESOURCE_H
#define QM_RESOURCE_H

#include "libsm/base.h"

enum qm_resource {
	QM_RES_DISK,   /* free space of the content store and the logs */
	QM_RES_IQDB,   /* recipients of transactions that are being written */
	QM_RES_AQ,     /* recipients in the active queue */
	QM_RES_EDBC,   /* transactions in the index of the deferred queue */
	QM_RES_MEMORY, /* of the process */
	QM_RESOURCES
};

struct qm_resource_use {
	unsigned percent; /* used: 0 to 100 */
	bool full;        /* nothing new until it has fallen */
};

struct qm_resources {
	struct qm_resource_use v[QM_RESOURCES];
	unsigned credit;           /* percent of what the configuration allows; 0: nothing */
	enum qm_resource scarcest; /* which one says so */
};

void qm_resources_init(struct qm_resources *r);
/* `used` of `max` is taken; max 0: no limit. Percentages are cut to 100. */
void qm_resource_set(struct qm_resources *r, enum qm_resource which, uint64_t used, uint64_t max);
/* The same for free space, where less is worse: below `min` there is no credit, until it is `ok`
 * again; from `ok` on there is all of it. */
void qm_resource_set_free(struct qm_resources *r, enum qm_resource which, uint64_t free,
                          uint64_t min, uint64_t ok);
/* Bring credit up to date after one or several of these. True: it has changed so much that it is
 * worth telling (by a tenth, or to or from nothing or all). */
bool qm_resources_settle(struct qm_resources *r);

const char *qm_resource_name(enum qm_resource which);

#endif
