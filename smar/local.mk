# smar: DNS, routes, policy. Everything but main() is a library, so that the unit tests can have it.
noinst_LIBRARIES += libsmar.a
libsmar_a_SOURCES = smar/ar.h smar/conf.h smar/conf.c smar/map.h smar/map_int.h smar/map.c smar/map_conf.h smar/map_conf.c \
	smar/map_drivers.c smar/address.h smar/address.c smar/map_table.h smar/map_table.c smar/map_text.c \
	smar/map_db.c smar/map_sequence.c smar/reload.h smar/reload.c smar/lookup.h smar/lookup.c smar/way.h smar/way.c smar/mailertable.h smar/mailertable.c smar/mailertable_lookup.c \
	smar/mx.h smar/mx.c smar/own.h smar/own.c smar/dns_msg.h smar/dns_msg.c smar/dns.h smar/dns.c \
	smar/dns_cache.h smar/dns_cache.c smar/ask.h smar/route.h smar/route.c smar/check.h smar/check_conn.c \
	smar/handlers.h smar/handlers.c
libsmar_a_SOURCES += smar/map_regex.c \
	smar/socketmap.h smar/socketmap.c smar/map_socket.c smar/map_passwd.c smar/nss.h smar/nss.c
# Lists in DNS.
libsmar_a_SOURCES += smar/reverse.h smar/reverse.c smar/dnsbl_conf.h smar/dnsbl_conf.c smar/dnsbl.h smar/dnsbl.c
# Greylisting.
libsmar_a_SOURCES += smar/grey_conf.h smar/grey_conf.c smar/grey.h smar/grey.c smar/grey_db.h smar/grey_db.c \
	smar/greylist.h smar/greylist.c smar/grey_row.h smar/grey_row.c
# Operators.
libsmar_a_SOURCES += smar/control.h smar/control.c smar/control_words.c smar/control_check.c smar/control_grey.c smar/control_show.c
# Aliases.
libsmar_a_SOURCES += smar/macro.h smar/macro.c smar/alias_rhs.h smar/alias_rhs.c smar/include.h smar/include.c \
	smar/alias.h smar/alias.c smar/alias_tree.h smar/alias_tree.c smar/alias_expand.c smar/local.h smar/local.c smar/resolve.h smar/resolve.c
# The access map.
libsmar_a_SOURCES += smar/access_rhs.h smar/access_rhs.c smar/access.h smar/access.c smar/check_int.h \
	smar/check_cert.c smar/check_etrn.c smar/check_mail.c smar/check_rcpt.c smar/check_verify.c smar/on_demand.h smar/on_demand.c smar/protect.h smar/protect.c \
	smar/server_conf.h smar/server_conf.c

libexec_PROGRAMS += smar/smar
smar_smar_SOURCES = smar/main.c
smar_smar_LDADD = libsmar.a libsm.a $(CARES_LIBS) $(AR_MAP_LIBS) $(SECCOMP_LIBS)
# What drivers of maps need.
AR_MAP_LIBS = $(BDB_LIBS) $(LMDB_LIBS) $(TINYCDB_LIBS) $(PCRE2_LIBS)

SMAR_TESTS = smar/t_map smar/t_reload smar/t_map_hash smar/t_lookup smar/t_mailertable smar/t_mx smar/t_dns_msg smar/t_dns smar/t_route smar/t_handlers
SMAR_TESTS += smar/t_alias_rhs smar/t_include smar/t_alias smar/t_alias_many
SMAR_TESTS += smar/t_access_rhs smar/t_map_files smar/t_map_socket smar/t_map_passwd
SMAR_TESTS += smar/t_check smar/t_on_demand smar/t_dnsbl smar/t_grey smar/t_grey_db smar/t_greylist
SMAR_LDADD = libsmar.a $(UNIT_LDADD) $(CARES_LIBS) $(AR_MAP_LIBS)
smar_t_dnsd = smar/t_dnsd.h smar/t_dnsd.c
smar_t_site = smar/t_site.h smar/t_site.c
smar_t_alias_site = smar/t_alias_site.h smar/t_alias_site.c $(smar_t_site)
smar_t_bdb_make = smar/t_bdb.h smar/t_bdb_make.c
smar_t_map_SOURCES = smar/t_map.c $(smar_t_bdb_make)
smar_t_map_LDADD = $(SMAR_LDADD)
smar_t_map_files_SOURCES = smar/t_map_files.c
smar_t_map_files_LDADD = $(SMAR_LDADD)
smar_t_map_socket_SOURCES = smar/t_map_socket.c
smar_t_map_socket_LDADD = $(SMAR_LDADD)
smar_t_map_passwd_SOURCES = smar/t_map_passwd.c
smar_t_map_passwd_LDADD = $(SMAR_LDADD)
smar_t_reload_SOURCES = smar/t_reload.c
smar_t_reload_LDADD = $(SMAR_LDADD)
smar_t_map_hash_SOURCES = smar/t_map_hash.c $(smar_t_bdb_make)
smar_t_map_hash_LDADD = $(SMAR_LDADD)
smar_t_lookup_SOURCES = smar/t_lookup.c
smar_t_lookup_LDADD = $(SMAR_LDADD)
smar_t_check_SOURCES = smar/t_check.c $(smar_t_site) smar/t_dns_run.h $(smar_t_dnsd)
smar_t_check_LDADD = $(SMAR_LDADD)
smar_t_on_demand_SOURCES = smar/t_on_demand.c $(smar_t_site) smar/t_dns_run.h $(smar_t_dnsd)
smar_t_on_demand_LDADD = $(SMAR_LDADD)
smar_t_access_rhs_SOURCES = smar/t_access_rhs.c
smar_t_access_rhs_LDADD = $(SMAR_LDADD)
smar_t_mailertable_SOURCES = smar/t_mailertable.c
smar_t_mailertable_LDADD = $(SMAR_LDADD)
smar_t_alias_rhs_SOURCES = smar/t_alias_rhs.c
smar_t_alias_rhs_LDADD = $(SMAR_LDADD)
smar_t_alias_SOURCES = smar/t_alias.c $(smar_t_alias_site)
smar_t_alias_LDADD = $(SMAR_LDADD)
smar_t_alias_many_SOURCES = smar/t_alias_many.c $(smar_t_alias_site)
smar_t_alias_many_LDADD = $(SMAR_LDADD)
smar_t_include_SOURCES = smar/t_include.c
smar_t_include_LDADD = $(SMAR_LDADD)
smar_t_mx_SOURCES = smar/t_mx.c
smar_t_mx_LDADD = $(SMAR_LDADD)
smar_t_dns_msg_SOURCES = smar/t_dns_msg.c $(smar_t_dnsd)
smar_t_dns_msg_LDADD = $(SMAR_LDADD)
smar_t_dns_SOURCES = smar/t_dns.c smar/t_dns_run.h $(smar_t_dnsd)
smar_t_dns_LDADD = $(SMAR_LDADD)
smar_t_route_SOURCES = smar/t_route.c smar/t_dns_run.h $(smar_t_dnsd)
smar_t_route_LDADD = $(SMAR_LDADD)
smar_t_dnsbl_SOURCES = smar/t_dnsbl.c smar/t_dns_run.h $(smar_t_dnsd)
smar_t_dnsbl_LDADD = $(SMAR_LDADD)
smar_t_grey_SOURCES = smar/t_grey.c
smar_t_grey_LDADD = $(SMAR_LDADD)
smar_t_grey_db_SOURCES = smar/t_grey_db.c
smar_t_grey_db_LDADD = $(SMAR_LDADD)
smar_t_greylist_SOURCES = smar/t_greylist.c
smar_t_greylist_LDADD = $(SMAR_LDADD)
smar_t_handlers_SOURCES = smar/t_handlers.c $(smar_t_dnsd)
smar_t_handlers_LDADD = $(SMAR_LDADD)

SMAR_TESTS += smar/t_server_conf
smar_t_server_conf_SOURCES = smar/t_server_conf.c $(smar_t_site) smar/t_dns_run.h $(smar_t_dnsd)
smar_t_server_conf_LDADD = $(SMAR_LDADD)
if HAVE_CMOCKA
check_PROGRAMS += $(SMAR_TESTS)
unit_tests += $(SMAR_TESTS)
endif
