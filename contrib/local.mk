# contrib: what lives around smx.

libexec_PROGRAMS += contrib/lmtp2maildir
contrib_lmtp2maildir_SOURCES = contrib/lmtp2maildir.c
contrib_lmtp2maildir_LDADD = libsm.a

# A filter by regular expressions, where libmilter is. Its rules are tested without.
milter_rules = contrib/milter_rules.h contrib/milter_rules_int.h contrib/milter_rules.c contrib/milter_rules_state.c
if HAVE_MILTER
sbin_PROGRAMS += contrib/milter-regex
dist_man_MANS += doc/man/milter-regex.8
TESTS += contrib/t_milter_regex.sh
endif
contrib_milter_regex_SOURCES = contrib/milter-regex.c $(milter_rules)
contrib_milter_regex_LDADD = $(MILTER_LIBS) $(PCRE2_LIBS)
EXTRA_DIST += contrib/t_milter_regex.sh doc/man/milter-regex.8
if HAVE_CMOCKA
check_PROGRAMS += contrib/t_milter_rules
unit_tests += contrib/t_milter_rules
endif
contrib_t_milter_rules_SOURCES = contrib/t_milter_rules.c $(milter_rules)
contrib_t_milter_rules_LDADD = $(UNIT_LDADD) $(PCRE2_LIBS)
