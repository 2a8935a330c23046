# libcdb: the content store. See doc/HACKING.md for how a local.mk is written.
noinst_LIBRARIES += libcdb.a
libcdb_a_SOURCES = libcdb/cdb.h libcdb/cdb_int.h libcdb/cdb_store.c libcdb/cdb_write.c libcdb/cdb_read.c libcdb/cdb_remove.c
