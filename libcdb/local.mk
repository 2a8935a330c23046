# libcdb: the content store. See doc/HACKING.md for how a local.mk is written.
noinst_LIBRARIES += libcdb.a
libcdb_a_SOURCES = libcdb/cdb.h libcdb/cdb_int.h libcdb/cdb_store.c libcdb/cdb_write.c libcdb/cdb_read.c libcdb/cdb_remove.c

LIBCDB_TESTS = libcdb/t_cdb
libcdb_t_cdb_SOURCES = libcdb/t_cdb.c
libcdb_t_cdb_LDADD = libcdb.a $(UNIT_LDADD)
if HAVE_CMOCKA
check_PROGRAMS += $(LIBCDB_TESTS)
unit_tests += $(LIBCDB_TESTS)
endif
