# libcdb: the content store. See doc/HACKING.md for how a local.mk is written.
noinst_LIBRARIES += libcdb.a
libcdb_a_SOURCES = libcdb/cdb.h libcdb/cdb_int.h libcdb/cdb_store.c libcdb/cdb_file.c libcdb/cdb_write.c libcdb/cdb_entry.c \
	libcdb/cdb_segment.c libcdb/cdb_read.c libcdb/cdb_open_files.c libcdb/cdb_remove.c libcdb/cdb_walk.c

LIBCDB_TESTS = libcdb/t_cdb libcdb/t_cdb_faults libcdb/t_cdb_anew libcdb/t_cdb_walk libcdb/t_cdb_segment libcdb/t_cdb_batches libcdb/t_cdb_segment_read libcdb/t_cdb_release
libcdb_t_cdb_release_SOURCES = libcdb/t_cdb_release.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_release_LDADD = libcdb.a $(UNIT_LDADD)
libcdb_t_cdb_walk_SOURCES = libcdb/t_cdb_walk.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_walk_LDADD = libcdb.a $(UNIT_LDADD)
libcdb_t_cdb_segment_SOURCES = libcdb/t_cdb_segment.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_segment_LDADD = libcdb.a $(UNIT_LDADD)
libcdb_t_cdb_batches_SOURCES = libcdb/t_cdb_batches.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_batches_LDADD = libcdb.a $(UNIT_LDADD)
libcdb_t_cdb_segment_read_SOURCES = libcdb/t_cdb_segment_read.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_segment_read_LDADD = libcdb.a $(UNIT_LDADD)
libcdb_t_cdb_anew_SOURCES = libcdb/t_cdb_anew.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_anew_LDADD = libcdb.a $(UNIT_LDADD)
libcdb_t_cdb_SOURCES = libcdb/t_cdb.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_LDADD = libcdb.a $(UNIT_LDADD)
libcdb_t_cdb_faults_SOURCES = libcdb/t_cdb_faults.c libcdb/t_cdb_common.c libcdb/t_cdb.h
libcdb_t_cdb_faults_LDADD = libcdb.a $(UNIT_LDADD)
if HAVE_CMOCKA
check_PROGRAMS += $(LIBCDB_TESTS)
unit_tests += $(LIBCDB_TESTS)
endif
