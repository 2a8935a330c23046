/*
 * Limits for single addresses, as the map qmgr_conf gives them. A key is a word and an address,
 * with or without a port, or the beginning of an address, on an octet boundary (IPv6: on a boundary
 * of 16 bits); what names the port rules, else the longest that fits; the empty one is for all:
 *
 *     key     = kind [":" [prefix / server]] / "octo" [":"]
 *     kind    = "oci" / "ocm" / "omr" / "icr" / "icm"
 *     server  = IPv4-addr ":" port / "[" (IPv4-addr / IPv6-addr) "]:" port   ; not of icr, icm
 *     prefix  = octet *3("." octet) / ["IPv6:"] group *7(":" group) / ["IPv6:"] IPv6-addr
 *
 *     ocm:            100       oci:10.1          2       icr:2001:db8      20
 *     ocm:127.0.0.1:10024  5    ocm:[::1]:10024   5
 *
 * An entry for a net holds for each address in it by itself. Pure but for the two loaders; no entry
 * changes any more once a table is in use: a reload makes a new one.
 */
#ifndef QM_LIMITS_H
#define QM_LIMITS_H

#include "libsm/net.h"

enum qm_limit {
	QM_LIMIT_OCI, /* open connections to an address at first */
	QM_LIMIT_OCM, /* and at the most */
	QM_LIMIT_OMR, /* messages to an address in 60 s; 0: no limit */
	QM_LIMIT_ICR, /* new sessions from an address in 60 s; 0: no limit */
	QM_LIMIT_ICM  /* open sessions from an address; 0: no limit */
};
#define QM_LIMIT_KINDS 5

struct qm_limits;

struct qm_limits *qm_limits_new(void) __attribute__((returns_nonnull));
void qm_limits_free(struct qm_limits **l);
/* SM_E_SYNTAX or SM_E_RANGE with a diag; a key that is there already gets the new value. */
int qm_limits_add(struct qm_limits *l, struct sm_str key, struct sm_str value) SM_MUST_CHECK;
/* What is said for this address, else `otherwise`. `l` NULL: nothing is said. */
unsigned qm_limits_get(const struct qm_limits *l, enum qm_limit kind, const struct sm_sa *sa,
                       unsigned otherwise);
int64_t qm_limits_octo_ms(const struct qm_limits *l, int64_t otherwise_ms);
size_t qm_limits_count(const struct qm_limits *l);
/* It was loaded, and there was no map of that name. */
bool qm_limits_absent(const struct qm_limits *l);
void qm_limits_set_absent(struct qm_limits *l);

/* "key value" lines; blank ones and those that begin with # are skipped. SM_E_SYNTAX with a diag
 * "name:line: ...". */
int qm_limits_parse(struct qm_limits *l, const char *name, struct sm_str text) SM_MUST_CHECK;
/*
 * The whole map: a Berkeley DB hash when the name ends in ".db", else text. Gives a new table; an
 * empty one when the file is not there. Blocks for a few small reads.
 */
int qm_limits_load(const char *path, struct qm_limits **out) SM_MUST_CHECK;

#endif
