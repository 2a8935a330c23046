# smtpc: see doc/HACKING.md for how a local.mk is written.
noinst_LIBRARIES += libsmtpc.a
libsmtpc_a_SOURCES = smtpc/sc.h smtpc/conf.h smtpc/conf.c smtpc/timeouts.h smtpc/timeouts.c smtpc/source.h smtpc/source.c smtpc/xforward.h smtpc/xforward.c smtpc/transcript.h smtpc/transcript.c smtpc/session.h smtpc/session.c \
	smtpc/task.h smtpc/task.c smtpc/dialog.h smtpc/dialog.c smtpc/probe.h smtpc/probe.c smtpc/data.h smtpc/data.c \
	smtpc/result.h smtpc/result.c smtpc/suits.h smtpc/suits.c smtpc/cache.h smtpc/cache.c smtpc/dsn.h smtpc/dsn.c \
	smtpc/dsn_text.h smtpc/dsn_text.c smtpc/ehlo.h smtpc/ehlo.c smtpc/mime.h smtpc/mime.c
libsmtpc_a_SOURCES += smtpc/tls_policy.h smtpc/tls_policy.c smtpc/tls_memory.h smtpc/tls_memory.c smtpc/server_conf.h smtpc/server_conf.c smtpc/server_text.c \
	smtpc/starttls.h smtpc/starttls.c smtpc/auth.h smtpc/auth.c smtpc/auth_mech.h smtpc/auth_mech.c smtpc/sasl.h smtpc/sasl.c

libexec_PROGRAMS += smtpc/smtpc
smtpc_smtpc_SOURCES = smtpc/main.c
smtpc_smtpc_LDADD = libsmtpc.a libcdb.a libsm.a $(SECCOMP_LIBS) $(TLS_LIBS) $(SASL_LIBS)

SMTPC_TESTS = smtpc/t_dialog smtpc/t_probe smtpc/t_xforward smtpc/t_transcript smtpc/t_result smtpc/t_dsn smtpc/t_dsn_text smtpc/t_ehlo smtpc/t_extensions smtpc/t_tls_policy smtpc/t_cache smtpc/t_process
smtpc_t_dialog_SOURCES = smtpc/t_dialog.c smtpc/t_smtpc.h
smtpc_t_dialog_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_probe_SOURCES = smtpc/t_probe.c smtpc/t_smtpc.h
smtpc_t_probe_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_result_SOURCES = smtpc/t_result.c smtpc/t_smtpc.h
smtpc_t_result_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_dsn_SOURCES = smtpc/t_dsn.c smtpc/t_smtpc.h
smtpc_t_dsn_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_dsn_text_SOURCES = smtpc/t_dsn_text.c
smtpc_t_dsn_text_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_ehlo_SOURCES = smtpc/t_ehlo.c
smtpc_t_ehlo_LDADD = libsmtpc.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_extensions_SOURCES = smtpc/t_extensions.c smtpc/t_smtpc.h
smtpc_t_extensions_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_transcript_SOURCES = smtpc/t_transcript.c smtpc/t_smtpc.h
smtpc_t_transcript_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_xforward_SOURCES = smtpc/t_xforward.c smtpc/t_smtpc.h
smtpc_t_xforward_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_cache_SOURCES = smtpc/t_cache.c smtpc/t_smtpc.h
smtpc_t_cache_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_process_SOURCES = smtpc/t_process.c smtpc/t_smtpc.h
smtpc_t_process_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtpc_t_tls_policy_SOURCES = smtpc/t_tls_policy.c smtpc/t_smtpc.h
smtpc_t_tls_policy_LDADD = libsmtpc.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
if HAVE_CMOCKA
check_PROGRAMS += $(SMTPC_TESTS)
unit_tests += $(SMTPC_TESTS)
endif
