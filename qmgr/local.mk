# qmgr: libqm.a is what its program, its unit tests and the tools that read its files share.
noinst_LIBRARIES += libqm.a
libqm_a_SOURCES =
QM_TESTS =
QM_LDADD = libqm.a $(UNIT_LDADD)

# The record log.
libqm_a_SOURCES += qmgr/log.h qmgr/log_impl.h qmgr/log_batch.h qmgr/log.c qmgr/log_batch.c qmgr/log_segment.c \
	qmgr/log_commit.c qmgr/log_keep.c qmgr/log_replay.c

if HAVE_CMOCKA
check_PROGRAMS += $(QM_TESTS)
unit_tests += $(QM_TESTS)
endif
