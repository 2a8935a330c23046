# smtps: the SMTP server. What is tested without a process is in libsmtps.a.
libexec_PROGRAMS += smtps/smtps
noinst_LIBRARIES += libsmtps.a
libsmtps_a_SOURCES = smtps/replies.def \
	smtps/accept.h smtps/accept.c smtps/handover.c \
	smtps/ask.h smtps/ask.c smtps/prefetch.h smtps/prefetch.c \
	smtps/cmds.h smtps/cmds.c smtps/cmd_helo.c smtps/cmd_mail.c smtps/cmd_rcpt.c smtps/cmd_data.c smtps/cmd_bdat.c smtps/cmd_misc.c \
	smtps/commit.h smtps/commit.c smtps/content.h smtps/content.c smtps/conf.h smtps/conf.c \
	smtps/greet.h smtps/greet.c smtps/idblock.h smtps/idblock.c smtps/limits.h smtps/limits.c \
	smtps/now.h smtps/now.c smtps/params.h smtps/params.c smtps/peers.h smtps/peers.c smtps/policy.h smtps/policy.c smtps/pressure.h smtps/pressure.c \
	smtps/received.h smtps/received.c smtps/reply.h smtps/reply.c smtps/replies.c smtps/scan.h smtps/scan.c \
	smtps/tls.h smtps/tls_ctx.c smtps/cmd_starttls.c smtps/session.h smtps/session.c smtps/ss.h smtps/txn.h smtps/txn.c
# Who the client is when another tells it, what a session needs, what submission completes.
libsmtps_a_SOURCES += smtps/nets.h smtps/nets.c smtps/one_client.h smtps/one_client.c smtps/proxy.h smtps/proxy.c smtps/proxy_parse.c \
	smtps/xclient.h smtps/xclient.c smtps/cmd_xclient.c smtps/cmd_etrn.c smtps/attributes.h smtps/attributes.c smtps/xforward.h smtps/xforward.c smtps/cmd_xforward.c \
	smtps/qualify.h smtps/qualify.c smtps/require.h smtps/require.c smtps/complete.h smtps/complete.c
# AUTH.
libsmtps_a_SOURCES += smtps/auth.h smtps/auth_conf.h smtps/auth_conf.c smtps/authlimit.h smtps/authlimit.c smtps/authname.h smtps/authname.c \
	smtps/cmd_auth.c smtps/sasl.h smtps/sasl_int.h smtps/sasl.c smtps/sasl_lib.c
# Filters: the protocol, one conversation, all of a session's, and what they change.
libsmtps_a_SOURCES += smtps/milter_conf.h smtps/milter_conf.c smtps/milter_proto.h smtps/milter_proto.c smtps/milter.h smtps/milter.c \
	smtps/milters.h smtps/milters_int.h smtps/milters.c smtps/milters_content.c smtps/macros.h smtps/macros.c \
	smtps/edit.h smtps/edit.c smtps/header.h smtps/header.c smtps/fields.h smtps/fields.c
smtps_smtps_SOURCES = smtps/main.c
smtps_smtps_LDADD = libsmtps.a libcdb.a libsm.a $(TLS_LIBS) $(SASL_LIBS) $(SECCOMP_LIBS)

SMTPS_TESTS = smtps/t_cmds smtps/t_idblock smtps/t_limits smtps/t_pressure smtps/t_params smtps/t_policy smtps/t_received
SMTPS_TESTS += smtps/t_verdicts
SMTPS_TESTS += smtps/t_milter_proto smtps/t_edit
smtps_t_milter_proto_SOURCES = smtps/t_milter_proto.c
smtps_t_milter_proto_LDADD = $(smtps_t_link)
smtps_t_edit_SOURCES = smtps/t_edit.c libcdb/t_cdb_common.c libcdb/t_cdb.h
smtps_t_edit_LDADD = $(smtps_t_link)
smtps_t_verdicts_SOURCES = smtps/t_verdicts.c smtps/t_verdicts_common.c smtps/t_verdicts.h smtps/t_puppets.c smtps/t_puppets.h
SMTPS_TESTS += smtps/t_lmtp
smtps_t_lmtp_SOURCES = smtps/t_lmtp.c smtps/t_verdicts_common.c smtps/t_verdicts.h smtps/t_puppets.c smtps/t_puppets.h
smtps_t_lmtp_LDADD = libsmtps.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
SMTPS_TESTS += smtps/t_etrn
smtps_t_etrn_SOURCES = smtps/t_etrn.c smtps/t_verdicts_common.c smtps/t_verdicts.h smtps/t_puppets.c smtps/t_puppets.h
smtps_t_etrn_LDADD = libsmtps.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtps_t_verdicts_LDADD = libsmtps.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
smtps_t_link = libsmtps.a libcdb.a $(UNIT_LDADD) $(TLS_LIBS) $(SASL_LIBS)
SMTPS_TESTS += smtps/t_authlimit smtps/t_authname
smtps_t_authlimit_SOURCES = smtps/t_authlimit.c
smtps_t_authlimit_LDADD = $(smtps_t_link)
smtps_t_authname_SOURCES = smtps/t_authname.c
smtps_t_authname_LDADD = $(smtps_t_link)
smtps_t_cmds_SOURCES = smtps/t_cmds.c
smtps_t_cmds_LDADD = $(smtps_t_link)
smtps_t_idblock_SOURCES = smtps/t_idblock.c
smtps_t_idblock_LDADD = $(smtps_t_link)
smtps_t_pressure_SOURCES = smtps/t_pressure.c
smtps_t_pressure_LDADD = $(smtps_t_link)
smtps_t_limits_SOURCES = smtps/t_limits.c
smtps_t_limits_LDADD = $(smtps_t_link)
smtps_t_params_SOURCES = smtps/t_params.c
smtps_t_params_LDADD = $(smtps_t_link)
smtps_t_policy_SOURCES = smtps/t_policy.c
smtps_t_policy_LDADD = $(smtps_t_link)
smtps_t_received_SOURCES = smtps/t_received.c
smtps_t_received_LDADD = $(smtps_t_link)
SMTPS_TESTS += smtps/t_nets smtps/t_proxy smtps/t_xclient smtps/t_xforward smtps/t_complete smtps/t_require
smtps_t_nets_SOURCES = smtps/t_nets.c
smtps_t_nets_LDADD = $(smtps_t_link)
smtps_t_proxy_SOURCES = smtps/t_proxy.c
smtps_t_proxy_LDADD = $(smtps_t_link)
smtps_t_xclient_SOURCES = smtps/t_xclient.c
smtps_t_xclient_LDADD = $(smtps_t_link)
smtps_t_xforward_SOURCES = smtps/t_xforward.c
smtps_t_xforward_LDADD = $(smtps_t_link)
smtps_t_complete_SOURCES = smtps/t_complete.c
smtps_t_complete_LDADD = $(smtps_t_link)
smtps_t_require_SOURCES = smtps/t_require.c
smtps_t_require_LDADD = $(smtps_t_link)
if HAVE_CMOCKA
check_PROGRAMS += $(SMTPS_TESTS)
unit_tests += $(SMTPS_TESTS)
endif
