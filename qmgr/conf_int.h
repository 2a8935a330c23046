/* What the files of the option table share: conf.c (the table), conf_dsn.c (section DSN_handling),
 * conf_limits.c (sections smtpc, smtps, verify_recipient, deliver_now and transcripts), conf_run.c
 * (sections queue_run and etrn). */
#ifndef QM_CONF_INT_H
#define QM_CONF_INT_H

#include "qmgr/conf.h"

#define AT(member) offsetof(struct qm_conf, member)
#define MS_DAY     (24 * 3600 * 1000LL)
#define KB         1024LL

extern const struct sm_opt qm_conf_dsn_opts[], qm_conf_smtpc_opts[], qm_conf_smtps_opts[],
    qm_conf_verify_opts[], qm_conf_now_opts[], qm_conf_transcript_opts[], qm_conf_run_opts[],
    qm_conf_etrn_opts[];

/* As qm_conf_check, for the options of these files. */
int qm_conf_check_dsn(const struct qm_conf *c) SM_MUST_CHECK;
int qm_conf_check_limits(const struct qm_conf *c) SM_MUST_CHECK;
int qm_conf_check_run(const struct qm_conf *c) SM_MUST_CHECK;

#endif
