# misc: see doc/HACKING.md for how a local.mk is written.

EXTRA_DIST += misc/gdb/co.py

sbin_PROGRAMS += fsperf1
fsperf1_SOURCES = misc/fsperf1.c
fsperf1_LDADD = libsm.a
dist_man_MANS += doc/man/fsperf1.8

# Scripts of set-up: places are filled in by make, so that `make prefix=...` is honoured.
misc_subst = $(SED) -e 's|[@]SMXQDIR[@]|$(SMXQDIR)|g' -e 's|[@]SMXETC[@]|$(SMXETC)|g' -e 's|[@]bindir[@]|$(bindir)|g' \
	-e 's|[@]sbindir[@]|$(sbindir)|g' -e 's|[@]libexecdir[@]|$(libexecdir)|g' -e 's|[@]datadir[@]|$(datadir)|g'
misc/sm.setup.sh: $(srcdir)/misc/sm.setup.sh.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/sm.setup.sh.in >$@.tmp && chmod 755 $@.tmp && mv $@.tmp $@
misc/sm.check.sh: $(srcdir)/misc/sm.check.sh.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/sm.check.sh.in >$@.tmp && chmod 755 $@.tmp && mv $@.tmp $@
sbin_SCRIPTS += misc/sm.setup.sh misc/sm.check.sh
CLEANFILES += misc/sm.setup.sh misc/sm.check.sh
EXTRA_DIST += misc/sm.setup.sh.in misc/sm.check.sh.in misc/site.sh misc/deps.sh misc/try.sh misc/test.sh

# As root, `make install` also makes accounts, directories and a default configuration that are missing. Packagers (DESTDIR) and
# `make install SMX_SETUP=no` leave that to whoever runs sm.setup.sh.
install-data-hook: misc/sm.setup.sh
	@if test -z "$(DESTDIR)" && test "$(SMX_SETUP)" = yes && test "`id -u`" = 0; then \
	  SMXSHARE=$(datadir)/smx sh misc/sm.setup.sh; \
	else \
	  echo "accounts and directories: run $(sbindir)/sm.setup.sh as root"; \
	fi
smxshare_DATA = misc/sm8.submit.mc misc/sm8.feed.mc
EXTRA_DIST += misc/sm8.submit.mc misc/sm8.feed.mc

# The queue for operators: qmgrctl and those that show it in the ways others do.
bin_PROGRAMS += misc/qmgrctl misc/mailq misc/metaqueue
ctl_parts = misc/ctl.h misc/ctl_ask.c misc/ctl_text.c
qc_parts = misc/qmgrctl.h $(ctl_parts)
misc_qmgrctl_SOURCES = misc/qmgrctl.c misc/qmgrctl_verbs.c misc/qmgrctl_print.c misc/qmgrctl_dest.c misc/qmgrctl_transcript.c $(qc_parts)
misc_qmgrctl_LDADD = libsm.a $(JANSSON_LIBS)
misc_mailq_SOURCES = misc/mailq.c misc/qmgrctl_mailq.c $(qc_parts)
misc_mailq_LDADD = libsm.a $(JANSSON_LIBS)
# smar for operators. A dialogue is played by the functions that smtps decides with.
bin_PROGRAMS += misc/smarctl
misc_smarctl_SOURCES = misc/smarctl.h misc/smarctl.c misc/smarctl_check.c misc/smarctl_print.c $(ctl_parts) \
	smtps/policy.c smtps/conf.c smtps/milter_conf.c smtps/nets.c smtps/replies.c smtps/require.c smtps/auth_conf.c
misc_smarctl_LDADD = libsm.a $(JANSSON_LIBS) $(LIBS)
dist_man_MANS += doc/man/smarctl.8
EXTRA_DIST += misc/smarctl.bash
# Asks a provider for mail that waits there.
bin_PROGRAMS += etrn
etrn_SOURCES = misc/etrn.c misc/submit.h misc/submit.c misc/submit_tls.c
etrn_LDADD = libsm.a $(TLS_LIBS) $(LIBS)
dist_man_MANS += doc/man/etrn.1
# What programs and cron call to send mail.
sbin_PROGRAMS += sendmail
sendmail_parts = misc/sendmail.h misc/sendmail_addr.c misc/sendmail_head.c misc/sendmail_mail.c misc/sendmail_text.c misc/sendmail_opts.c \
	misc/sendmail_conf.c smtps/complete.c
sendmail_SOURCES = misc/sendmail.c misc/section.h misc/section.c misc/sendmail_send.c misc/submit.h misc/submit.c misc/qmgrctl_mailq.c $(sendmail_parts) $(qc_parts)
sendmail_LDADD = libsm.a $(JANSSON_LIBS) $(LIBS)
dist_man_MANS += doc/man/sendmail.8
# What a mailer line of sendmail 8 starts for mail with many recipients.
libexec_PROGRAMS += smxfeed
smxfeed_parts = misc/smxfeed.h misc/smxfeed_opts.c misc/smxfeed_text.c
smxfeed_SOURCES = misc/smxfeed.c misc/smxfeed_io.c misc/smxfeed_server.c misc/smxfeed_mail.c misc/smxfeed_conf.c misc/section.h misc/section.c \
	misc/submit.h misc/submit.c $(smxfeed_parts)
smxfeed_LDADD = libsm.a $(LIBS)
dist_man_MANS += doc/man/smxfeed.8
# Who calls it by this name is told how aliases are made; mailq is a program of its own.
install-exec-hook: install-newaliases
.PHONY: install-newaliases
install-newaliases: install-binPROGRAMS
	$(MKDIR_P) $(DESTDIR)$(bindir)
	cd $(DESTDIR)$(bindir) && rm -f newaliases && ln -s $(sbindir)/sendmail newaliases
misc_metaqueue_SOURCES = misc/metaqueue.c misc/qmgrctl_mailq.c $(qc_parts)
misc_metaqueue_LDADD = libqm.a libsm.a $(JANSSON_LIBS) $(LIBS)
if HAVE_CMOCKA
check_PROGRAMS += misc/t_ctl_text misc/t_sendmail misc/t_smxfeed
unit_tests += misc/t_ctl_text misc/t_sendmail misc/t_smxfeed
endif
misc_t_smxfeed_SOURCES = misc/t_smxfeed.c $(smxfeed_parts)
misc_t_smxfeed_LDADD = $(UNIT_LDADD)
misc_t_sendmail_SOURCES = misc/t_sendmail.c $(sendmail_parts)
misc_t_sendmail_LDADD = $(UNIT_LDADD)
misc_t_ctl_text_SOURCES = misc/t_ctl_text.c misc/ctl.h misc/ctl_text.c
misc_t_ctl_text_LDADD = $(UNIT_LDADD) $(JANSSON_LIBS)
misc/qmgrctl.sh: $(srcdir)/misc/qmgrctl.sh.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/qmgrctl.sh.in >$@.tmp && chmod 755 $@.tmp && mv $@.tmp $@
misc/mailq.sh: $(srcdir)/misc/mailq.sh.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/mailq.sh.in >$@.tmp && chmod 755 $@.tmp && mv $@.tmp $@
bin_SCRIPTS += misc/qmgrctl.sh misc/mailq.sh
CLEANFILES += misc/qmgrctl.sh misc/mailq.sh
EXTRA_DIST += misc/qmgrctl.sh.in misc/mailq.sh.in misc/qmgrctl.bash
# bash finds it by the name of the command.
completionsdir = $(datadir)/bash-completion/completions
install-data-hook: install-completion
.PHONY: install-completion
install-completion:
	$(MKDIR_P) $(DESTDIR)$(completionsdir)
	$(INSTALL_DATA) $(srcdir)/misc/qmgrctl.bash $(DESTDIR)$(completionsdir)/qmgrctl
	$(INSTALL_DATA) $(srcdir)/misc/createmap.bash $(DESTDIR)$(completionsdir)/createmap
	$(INSTALL_DATA) $(srcdir)/misc/smarctl.bash $(DESTDIR)$(completionsdir)/smarctl
	cd $(DESTDIR)$(completionsdir) && rm -f qmgrctl.sh && ln -s qmgrctl qmgrctl.sh
uninstall-hook:
	rm -f $(DESTDIR)$(bindir)/newaliases $(DESTDIR)$(completionsdir)/qmgrctl $(DESTDIR)$(completionsdir)/qmgrctl.sh $(DESTDIR)$(completionsdir)/createmap $(DESTDIR)$(completionsdir)/smarctl

# The greylist for operators: one program, two names.
sbin_PROGRAMS += greyprint greyrm
grey_parts = misc/grey.c misc/ctl.h misc/ctl_ask.c misc/ctl_text.c
greyprint_SOURCES = $(grey_parts)
greyprint_LDADD = libsmar.a libsm.a $(JANSSON_LIBS) $(AR_MAP_LIBS)
greyrm_SOURCES = $(grey_parts)
greyrm_LDADD = $(greyprint_LDADD)
dist_man_MANS += doc/man/greyprint.8 doc/man/greyrm.8

# The configuration checker knows the option tables of all programs.
bin_PROGRAMS += smconf
smconf_SOURCES = misc/smconf.h misc/smconf.c misc/smconf_load.c misc/smconf_man.c misc/smconf_tables.c \
	qmgr/conf.c qmgr/conf_dsn.c qmgr/conf_limits.c qmgr/conf_run.c qmgr/schedule.c smar/conf.c smar/map_conf.c smar/dnsbl_conf.c smar/grey_conf.c smar/access_rhs.c smar/way.c smtpc/conf.c smtpc/timeouts.c smtpc/source.c smtpc/tls_policy.c smtpc/server_text.c smtpc/dsn_text.c smtpc/mime.c smtps/conf.c smtps/milter_conf.c smtps/nets.c smtps/auth_conf.c misc/sendmail.h misc/sendmail_conf.c misc/smxfeed.h misc/smxfeed_conf.c
smconf_LDADD = libsm.a $(LIBS)
dist_man_MANS += doc/man/smconf.8 doc/man/smx.conf.5
EXTRA_DIST += doc/man/smx.conf.5.in

# The tables describe the options; the rest of the page is written by hand.
doc/man/smx.conf.5: doc/man/smx.conf.5.in smconf$(EXEEXT)
	@$(MKDIR_P) doc/man
	$(AM_V_GEN)./smconf$(EXEEXT) -M >$@.options && \
	  $(SED) -e '/^@OPTIONS@$$/{' -e 'r $@.options' -e 'd' -e '}' -e 's,[@]SMXETC[@],$(SMXETC),g' -e 's,[@]SMXQDIR[@],$(SMXQDIR),g' \
	    $(srcdir)/doc/man/smx.conf.5.in >$@.new && rm $@.options && mv $@.new $@
CLEANFILES += doc/man/smx.conf.5

# The default configuration, from which sm.setup.sh makes the first one.
pkgdata_DATA = misc/smx.conf
misc/smx.conf: $(srcdir)/misc/smx.conf.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/smx.conf.in >$@.tmp && mv $@.tmp $@
CLEANFILES += misc/smx.conf
EXTRA_DIST += misc/smx.conf.in misc/t_smconf.sh

# Databases from the source text of maps.
bin_PROGRAMS += createmap
createmap_SOURCES = misc/createmap.h misc/createmap.c misc/createmap_build.c misc/createmap_check.c misc/createmap_db.c \
	misc/createmap_lmdb.c misc/createmap_cdb.c smtpc/server_text.c smtpc/timeouts.c smtpc/source.c smtpc/tls_policy.c
createmap_LDADD = libsmar.a libsm.a $(BDB_LIBS) $(LMDB_LIBS) $(TINYCDB_LIBS)
TESTS += misc/t_createmap.sh
EXTRA_DIST += misc/t_createmap.sh misc/createmap.bash
dist_man_MANS += doc/man/createmap.1

# After a loss of the queue's own records: envelopes from the logs.
sbin_PROGRAMS += rcvrenv
rcvrenv_SOURCES = misc/rcvrenv.h misc/rcvrenv.c misc/rcvrenv_read.c misc/rcvrenv_store.c misc/rcvrenv_smtp.c misc/submit.h misc/submit.c
rcvrenv_LDADD = libcdb.a libsm.a $(LIBS)
misc/rcvrenvfromlog.sh: $(srcdir)/misc/rcvrenvfromlog.sh.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/rcvrenvfromlog.sh.in >$@.tmp && chmod 755 $@.tmp && mv $@.tmp $@
sbin_SCRIPTS += misc/rcvrenvfromlog.sh
CLEANFILES += misc/rcvrenvfromlog.sh
EXTRA_DIST += misc/rcvrenvfromlog.sh.in misc/t_rcvrenv.sh
TESTS += misc/t_rcvrenv.sh
dist_man_MANS += doc/man/rcvrenv.8 doc/man/rcvrenvfromlog.sh.8

dist_bin_SCRIPTS = misc/log2time
dist_man_MANS += doc/man/log2time.1
# Starting and stopping, and small tools for scripts.
misc/mcp.sh: $(srcdir)/misc/mcp.sh.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/mcp.sh.in >$@.tmp && chmod 755 $@.tmp && mv $@.tmp $@
misc/smx.service: $(srcdir)/misc/smx.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) misc && $(misc_subst) $(srcdir)/misc/smx.service.in >$@.tmp && mv $@.tmp $@
sbin_SCRIPTS += misc/mcp.sh
smxsharedir = $(datadir)/smx
nodist_smxshare_DATA = misc/smx.service
CLEANFILES += misc/mcp.sh misc/smx.service
EXTRA_DIST += misc/mcp.sh.in misc/smx.service.in

sbin_PROGRAMS += misc/runas
misc_runas_SOURCES = misc/runas.c
misc_runas_LDADD = libsm.a
sbin_PROGRAMS += misc/statit misc/noroot misc/t-hostname misc/t-getgroup
misc_statit_SOURCES = misc/statit.c
misc_noroot_SOURCES = misc/noroot.c
misc_t_hostname_SOURCES = misc/t-hostname.c
misc_t_getgroup_SOURCES = misc/t-getgroup.c
dist_man_MANS += doc/man/mcp.8 doc/man/mcp.sh.8 doc/man/runas.8 doc/man/statit.8 doc/man/noroot.8 doc/man/t-hostname.8 \
	doc/man/t-getgroup.8
TESTS += misc/t_tools.sh
EXTRA_DIST += misc/t_common.sh misc/t_tools.sh

TESTS += misc/t_smconf.sh

# Prints the queue's logs offline.
sbin_PROGRAMS += qdump
qdump_SOURCES = misc/qdump.c
qdump_LDADD = libqm.a libsm.a $(LIBS)
dist_man_MANS += doc/man/qdump.8
check_PROGRAMS += misc/t_qdump_write
misc_t_qdump_write_SOURCES = misc/t_qdump_write.c
misc_t_qdump_write_LDADD = libqm.a libsm.a $(LIBS)
TESTS += misc/t_qdump.sh
EXTRA_DIST += misc/t_qdump.sh
