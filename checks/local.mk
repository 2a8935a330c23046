# checks: see doc/HACKING.md for how a local.mk is written.

# Programs of the end-to-end tests, crash tests and measurements: on their own, without libsm.
noinst_PROGRAMS += checks/bench/load checks/bench/sink checks/bench/dnsd
checks_bench_common = checks/bench/common.h checks/bench/common.c
checks_bench_tls = checks/bench/tls_io.h checks/bench/tls_io.c
checks_bench_load_SOURCES = checks/bench/load.h checks/bench/load_int.h checks/bench/load.c checks/bench/load_smtp.c checks/bench/load_tls.c checks/bench/load_auth.c checks/bench/load_main.c $(checks_bench_tls) $(checks_bench_common)
checks_bench_load_LDADD = $(TLS_LIBS)
checks_bench_sink_SOURCES = checks/bench/sink.h checks/bench/sink.c checks/bench/sink_smtp.c checks/bench/sink_tls.c $(checks_bench_tls) $(checks_bench_common)
checks_bench_sink_LDADD = $(TLS_LIBS)
checks_bench_dnsd_SOURCES = checks/bench/dnsd.c $(checks_bench_common)
checks_bench_dnsd_LDADD = $(TLS_LIBS)
# A filter that does as it is told, by the library that filters are made with.
if HAVE_MILTER
noinst_PROGRAMS += checks/milter/testfilter
endif
checks_milter_testfilter_SOURCES = checks/milter/testfilter.c
checks_milter_testfilter_LDADD = $(MILTER_LIBS)
noinst_PROGRAMS += checks/bench/maplookup
checks_bench_maplookup_SOURCES = checks/bench/maplookup.c
checks_bench_maplookup_LDADD = libsm.a
noinst_PROGRAMS += checks/bench/greylist
checks_bench_greylist_SOURCES = checks/bench/greylist.c
checks_bench_greylist_LDADD = libsmar.a libsm.a $(BDB_LIBS)
# A queue of a million: with qmgr's and libcdb's own code, to be what they write.
noinst_PROGRAMS += checks/bench/fillqueue
checks_bench_fillqueue_SOURCES = checks/bench/fillqueue.c
checks_bench_fillqueue_LDADD = libqm.a libcdb.a libsm.a

# End-to-end and crash tests (pytest); SMX_BUILD names the build directory. They need programs that are all built.
EXTRA_DIST += checks/e2e checks/policy checks/lib checks/crash checks/operating.py checks/bench/run checks/bench/compare checks/bench/maps checks/bench/queue checks/bench/scale checks/bench/exploder
PYTEST = SMX_BUILD=$(abs_top_builddir) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest -q -p no:cacheprovider
.PHONY: check-e2e check-crash check-crash-queue check-crash-small
check-e2e: all
	$(PYTEST) $(top_srcdir)/checks/policy $(top_srcdir)/checks/e2e
# 200 rounds of each kind, in about 25 minutes. SMX_CRASH_ROUNDS and SMX_CRASH_SEED change how often and what.
check-crash: all
	SMX_BUILD=$(abs_top_builddir) $(PYTHON) -B $(top_srcdir)/checks/crash/crash.py --keep
# 500 rounds with many failures, temporary and permanent: SMX_QUEUE_ROUNDS.
check-crash-queue: all
	SMX_BUILD=$(abs_top_builddir) $(PYTHON) -B $(top_srcdir)/checks/crash/crash.py --kinds queue --rounds $${SMX_QUEUE_ROUNDS:-500} --keep
check-crash-small: all
	$(PYTEST) $(top_srcdir)/checks/crash $(top_srcdir)/checks/powercut

# Power cuts (root only): SMX_CUTS and SMX_CUTS_SEED change how many and which.
if HAVE_FUSE3
noinst_PROGRAMS += checks/powercut/recorder
endif
checks_powercut_recorder_SOURCES = checks/powercut/recorder.c
checks_powercut_recorder_LDADD = $(FUSE3_LIBS)
EXTRA_DIST += checks/powercut/controls.py checks/powercut/disk.py checks/powercut/powercut.py checks/powercut/recording.py \
	checks/powercut/suite.py checks/powercut/test_powercut.py
.PHONY: check-powercut
check-powercut: all
	SMX_BUILD=$(abs_top_builddir) $(PYTHON) -B $(top_srcdir)/checks/powercut/powercut.py --keep

# 100,000 mails for hosts that refuse, SMX_DEAD_MAILS: mail for others arrives within 10 s.
.PHONY: check-dead-mx
check-dead-mx: all
	SMX_DEAD_MAILS=$${SMX_DEAD_MAILS:-100000} $(PYTEST) -s $(top_srcdir)/checks/e2e/test_dead_mx.py

# Where a message's cost goes, and whether it takes more instructions than it did: in a build that is not for testing.
EXTRA_DIST += checks/bench/profile checks/bench/instructions checks/bench/instructions.ref
.PHONY: check-instructions
check-instructions:
	$(SHELL) $(srcdir)/checks/tree.sh release
	SMX_BUILD=$${SMX_TEST_DIR:-$(abs_srcdir)/build-test}/release $(PYTHON) -B $(srcdir)/checks/bench/instructions

# One flipped bit at each of 1,000 places of the queue.
.PHONY: check-flip
check-flip: qmgr/t_flip$(EXEEXT)
	T_FLIPS=1000 qmgr/t_flip

# Unit tests in other builds, each in a tree of its own.
.PHONY: check-asan check-ubsan check-tsan check-ucontext
check-asan check-ubsan check-tsan check-ucontext:
	$(SHELL) $(srcdir)/checks/tree.sh $(@:check-%=%) check
EXTRA_DIST += checks/tree.sh

# What compiler and linker must have done to every program.
TESTS += checks/t_hardening.sh
EXTRA_DIST += checks/t_hardening.sh

# Events and keys of the log are what doc/formats.md says.
TESTS += checks/t_log_schema.sh
EXTRA_DIST += checks/t_log_schema.sh checks/log_schema.awk
# Scenarios of the schedule with a clock of their own.
check_PROGRAMS += checks/replay/replay
checks_replay_replay_SOURCES = checks/replay/replay.h checks/replay/replay.c checks/replay/script.c checks/replay/world.c checks/replay/runs.c
checks_replay_replay_LDADD = libqm.a libsm.a
TESTS += checks/replay/run.sh
EXTRA_DIST += checks/replay/back-off.scn checks/replay/backup-mx.scn checks/replay/clock-back.scn \
	checks/replay/clock-step.scn checks/replay/dead-mx-refused.scn checks/replay/dead-mx-returns.scn \
	checks/replay/dead-mx.scn checks/replay/delay-clock-step.scn checks/replay/delay-timeout.scn checks/replay/fair-busy-agents.scn checks/replay/fair-destinations.scn \
	checks/replay/fair-senders.scn checks/replay/limits.scn checks/replay/many-slow.scn checks/replay/one-transaction.scn \
	checks/replay/penalty.scn checks/replay/queue-runs.scn checks/replay/queue-run-clock.scn checks/replay/rate.scn checks/replay/retry-times.scn checks/replay/return-timeout.scn \
	checks/replay/run.sh checks/replay/shared-host.scn checks/replay/slow-start.scn

# Fuzz targets: a program checks/fuzz/fuzz_NAME for each parser of outside bytes, with a corpus in checks/fuzz/corpus/NAME and, if its
# language has words, these in checks/fuzz/dict/NAME; checks/fuzz/parsers says where the parser is. To add one:
#     FUZZ_TARGETS += checks/fuzz/fuzz_NAME
#     checks_fuzz_fuzz_NAME_SOURCES = checks/fuzz/fuzz_NAME.c $(fuzz_main)
#     checks_fuzz_fuzz_NAME_LDADD = $(fuzz_link)
FUZZ_TARGETS =
if FUZZ
fuzz_main =
else
fuzz_main = checks/fuzz/replay_main.c
endif
fuzz_link = $(FUZZ_LINK) libsm.a
check_PROGRAMS += $(FUZZ_TARGETS)
TESTS += checks/fuzz/replay.sh
AM_TESTS_ENVIRONMENT = FUZZ_TARGETS='$(FUZZ_TARGETS)'; export FUZZ_TARGETS; \
	PROGRAMS='$(bin_PROGRAMS) $(sbin_PROGRAMS) $(libexec_PROGRAMS)'; export PROGRAMS; \
	SM_HARDEN='$(SM_HARDEN)'; export SM_HARDEN;
EXTRA_DIST += checks/fuzz/replay.sh checks/fuzz/run.sh checks/fuzz/coverage.sh checks/fuzz/parsers checks/fuzz/corpus checks/fuzz/dict checks/fuzz/replay_main.c
.PHONY: fuzz fuzz-targets fuzz-coverage
fuzz-targets: $(FUZZ_TARGETS)
# make gives what it is called with to the environment.
if FUZZ
fuzz: $(FUZZ_TARGETS)
	srcdir=$(srcdir) $(SHELL) $(srcdir)/checks/fuzz/run.sh $${FUZZ_SECONDS:-60} $(FUZZ_TARGETS)
else
fuzz:
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(SHELL) $(srcdir)/misc/test.sh fuzz
endif
# How many lines of its parser each target reaches from its corpus, and in FUZZ_SECONDS more.
if FUZZ_COVERAGE
fuzz-coverage: $(FUZZ_TARGETS)
	srcdir=$(srcdir) LLVM_COV='$(LLVM_COV)' LLVM_PROFDATA='$(LLVM_PROFDATA)' \
		$(SHELL) $(srcdir)/checks/fuzz/coverage.sh $${FUZZ_SECONDS:-0} $(FUZZ_TARGETS)
else
fuzz-coverage:
	$(SHELL) $(srcdir)/misc/test.sh fuzz-coverage
endif
FUZZ_TARGETS += checks/fuzz/fuzz_msg
checks_fuzz_fuzz_msg_SOURCES = checks/fuzz/fuzz_def.h checks/fuzz/fuzz_msg.c $(fuzz_main)
checks_fuzz_fuzz_msg_LDADD = $(fuzz_link)
if HAVE_TLS
FUZZ_TARGETS += checks/fuzz/fuzz_tls_dn
endif
checks_fuzz_fuzz_tls_dn_SOURCES = checks/fuzz/fuzz_tls_dn.c $(fuzz_main)
checks_fuzz_fuzz_tls_dn_LDADD = $(fuzz_link) $(TLS_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_frame
checks_fuzz_fuzz_frame_SOURCES = checks/fuzz/fuzz_frame.c $(fuzz_main)
checks_fuzz_fuzz_frame_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_mailertable checks/fuzz/fuzz_dns
checks_fuzz_fuzz_mailertable_SOURCES = checks/fuzz/fuzz_mailertable.c $(fuzz_main)
checks_fuzz_fuzz_mailertable_LDADD = libsmar.a $(fuzz_link) $(AR_MAP_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_access
checks_fuzz_fuzz_access_SOURCES = checks/fuzz/fuzz_access.c $(fuzz_main)
checks_fuzz_fuzz_access_LDADD = libsmar.a $(fuzz_link) $(AR_MAP_LIBS)
checks_fuzz_fuzz_dns_SOURCES = checks/fuzz/fuzz_dns.c $(fuzz_main)
checks_fuzz_fuzz_dns_LDADD = libsmar.a $(fuzz_link) $(AR_MAP_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_alias
checks_fuzz_fuzz_alias_SOURCES = checks/fuzz/fuzz_alias.c $(fuzz_main)
checks_fuzz_fuzz_alias_LDADD = libsmar.a $(fuzz_link) $(AR_MAP_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_addr
checks_fuzz_fuzz_addr_SOURCES = checks/fuzz/fuzz_addr.c $(fuzz_main)
checks_fuzz_fuzz_addr_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_sendmail checks/fuzz/fuzz_sendmail_text
checks_fuzz_fuzz_sendmail_text_SOURCES = checks/fuzz/fuzz_sendmail_text.c $(sendmail_parts) $(fuzz_main)
checks_fuzz_fuzz_sendmail_text_LDADD = $(fuzz_link) $(LIBS)
checks_fuzz_fuzz_sendmail_SOURCES = checks/fuzz/fuzz_sendmail.c misc/sendmail.h misc/sendmail_addr.c misc/sendmail_head.c $(fuzz_main)
checks_fuzz_fuzz_sendmail_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_base64 checks/fuzz/fuzz_xtext
checks_fuzz_fuzz_base64_SOURCES = checks/fuzz/fuzz_base64.c $(fuzz_main)
checks_fuzz_fuzz_base64_LDADD = $(fuzz_link)
checks_fuzz_fuzz_xtext_SOURCES = checks/fuzz/fuzz_xtext.c $(fuzz_main)
checks_fuzz_fuzz_xtext_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_smtp_cmd
checks_fuzz_fuzz_smtp_cmd_SOURCES = checks/fuzz/fuzz_smtp_cmd.c $(fuzz_main)
checks_fuzz_fuzz_smtp_cmd_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_smtp_reply
checks_fuzz_fuzz_smtp_reply_SOURCES = checks/fuzz/fuzz_smtp_reply.c $(fuzz_main)
checks_fuzz_fuzz_smtp_reply_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_milter
checks_fuzz_fuzz_milter_SOURCES = checks/fuzz/fuzz_milter.c $(fuzz_main)
checks_fuzz_fuzz_milter_LDADD = libsmtps.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_segment
checks_fuzz_fuzz_segment_SOURCES = checks/fuzz/fuzz_segment.c $(fuzz_main)
checks_fuzz_fuzz_segment_LDADD = libcdb.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_unstuff
checks_fuzz_fuzz_unstuff_SOURCES = checks/fuzz/fuzz_unstuff.c $(fuzz_main)
checks_fuzz_fuzz_unstuff_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_conf
checks_fuzz_fuzz_conf_SOURCES = checks/fuzz/fuzz_conf.c $(fuzz_main)
checks_fuzz_fuzz_conf_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_log_replay
checks_fuzz_fuzz_log_replay_SOURCES = checks/fuzz/fuzz_log_replay.c $(fuzz_main)
checks_fuzz_fuzz_log_replay_LDADD = libqm.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_rec
checks_fuzz_fuzz_rec_SOURCES = checks/fuzz/fuzz_def.h checks/fuzz/fuzz_rec.c $(fuzz_main)
checks_fuzz_fuzz_rec_LDADD = libqm.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_filter
checks_fuzz_fuzz_filter_SOURCES = checks/fuzz/fuzz_filter.c $(fuzz_main)
checks_fuzz_fuzz_filter_LDADD = libqm.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_control
checks_fuzz_fuzz_control_SOURCES = checks/fuzz/fuzz_control.c $(fuzz_main)
checks_fuzz_fuzz_control_LDADD = libqm.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_smarctl
checks_fuzz_fuzz_smarctl_SOURCES = checks/fuzz/fuzz_smarctl.c $(fuzz_main)
checks_fuzz_fuzz_smarctl_LDADD = libsmar.a $(fuzz_link) $(AR_MAP_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_limits
checks_fuzz_fuzz_limits_SOURCES = checks/fuzz/fuzz_limits.c qmgr/limits_load.c $(fuzz_main)
checks_fuzz_fuzz_limits_LDADD = libqm.a $(fuzz_link) $(BDB_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_log_line
checks_fuzz_fuzz_log_line_SOURCES = checks/fuzz/fuzz_log_line.c $(fuzz_main)
checks_fuzz_fuzz_log_line_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_smtpc_dialog
checks_fuzz_fuzz_smtpc_dialog_SOURCES = checks/fuzz/fuzz_smtpc_dialog.c $(fuzz_main)
checks_fuzz_fuzz_smtpc_dialog_LDADD = libsmtpc.a libcdb.a $(fuzz_link) $(TLS_LIBS) $(SASL_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_ehlo
checks_fuzz_fuzz_ehlo_SOURCES = checks/fuzz/fuzz_ehlo.c $(fuzz_main)
checks_fuzz_fuzz_ehlo_LDADD = libsmtpc.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_dsn
checks_fuzz_fuzz_dsn_SOURCES = checks/fuzz/fuzz_dsn.c $(fuzz_main)
checks_fuzz_fuzz_dsn_LDADD = libsmtpc.a libcdb.a $(fuzz_link) $(TLS_LIBS) $(SASL_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_smxfeed
checks_fuzz_fuzz_smxfeed_SOURCES = checks/fuzz/fuzz_smxfeed.c misc/smxfeed_text.c $(fuzz_main)
checks_fuzz_fuzz_smxfeed_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_proxy checks/fuzz/fuzz_xclient checks/fuzz/fuzz_xforward checks/fuzz/fuzz_complete
checks_fuzz_fuzz_proxy_SOURCES = checks/fuzz/fuzz_proxy.c smtps/proxy_parse.c $(fuzz_main)
checks_fuzz_fuzz_proxy_LDADD = $(fuzz_link)
checks_fuzz_fuzz_xclient_SOURCES = checks/fuzz/fuzz_xclient.c smtps/xclient.c smtps/attributes.c $(fuzz_main)
checks_fuzz_fuzz_xclient_LDADD = $(fuzz_link)
checks_fuzz_fuzz_xforward_SOURCES = checks/fuzz/fuzz_xforward.c smtps/xforward.c smtps/attributes.c $(fuzz_main)
checks_fuzz_fuzz_xforward_LDADD = $(fuzz_link)
checks_fuzz_fuzz_complete_SOURCES = checks/fuzz/fuzz_complete.c smtps/complete.c $(fuzz_main)
checks_fuzz_fuzz_complete_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_authname
checks_fuzz_fuzz_authname_SOURCES = checks/fuzz/fuzz_authname.c $(fuzz_main)
checks_fuzz_fuzz_authname_LDADD = libsmtps.a $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_smtps_session
checks_fuzz_fuzz_smtps_session_SOURCES = checks/fuzz/puppet_sasl.h checks/fuzz/puppet_sasl.c smtps/t_puppets.h smtps/t_puppets.c \
	checks/fuzz/fuzz_smtps_session.c $(fuzz_main)
checks_fuzz_fuzz_smtps_session_LDADD = libsmtps.a $(fuzz_link) $(TLS_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_mapsrc
checks_fuzz_fuzz_mapsrc_SOURCES = checks/fuzz/fuzz_mapsrc.c $(fuzz_main)
checks_fuzz_fuzz_mapsrc_LDADD = $(fuzz_link)
FUZZ_TARGETS += checks/fuzz/fuzz_grey
checks_fuzz_fuzz_grey_SOURCES = checks/fuzz/fuzz_grey.c $(fuzz_main)
checks_fuzz_fuzz_grey_LDADD = libsmar.a $(fuzz_link) $(AR_MAP_LIBS)
FUZZ_TARGETS += checks/fuzz/fuzz_socketmap
checks_fuzz_fuzz_socketmap_SOURCES = checks/fuzz/fuzz_socketmap.c $(fuzz_main)
checks_fuzz_fuzz_socketmap_LDADD = libsmar.a $(fuzz_link)
