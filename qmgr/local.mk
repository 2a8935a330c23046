# qmgr: libqm.a is what its program, its unit tests and the tools that read its files share.
noinst_LIBRARIES += libqm.a
libqm_a_SOURCES =
QM_TESTS =
QM_LDADD = libqm.a $(UNIT_LDADD)

# The record log.
libqm_a_SOURCES += qmgr/log.h qmgr/log_impl.h qmgr/log_batch.h qmgr/log.c qmgr/log_batch.c qmgr/log_segment.c \
	qmgr/log_commit.c qmgr/log_keep.c qmgr/log_replay.c
QM_TESTS += qmgr/t_log qmgr/t_log_batch qmgr/t_log_damage
t_log_common = qmgr/t_log.h qmgr/t_log_common.c
qmgr_t_log_SOURCES = qmgr/t_log.c $(t_log_common)
qmgr_t_log_LDADD = $(QM_LDADD)
qmgr_t_log_batch_SOURCES = qmgr/t_log_batch.c
qmgr_t_log_batch_LDADD = $(QM_LDADD)
qmgr_t_log_damage_SOURCES = qmgr/t_log_damage.c $(t_log_common)
qmgr_t_log_damage_LDADD = $(QM_LDADD)

if HAVE_CMOCKA
check_PROGRAMS += $(QM_TESTS)
unit_tests += $(QM_TESTS)
endif
