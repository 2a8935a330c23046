# smtpc: see doc/HACKING.md for how a local.mk is written.
noinst_LIBRARIES += libsmtpc.a
libsmtpc_a_SOURCES = smtpc/sc.h smtpc/conf.h smtpc/conf.c smtpc/session.h smtpc/session.c \
	smtpc/task.h smtpc/task.c smtpc/dialog.h smtpc/dialog.c smtpc/data.h smtpc/data.c \
	smtpc/result.h smtpc/result.c smtpc/cache.h smtpc/cache.c smtpc/dsn.h smtpc/dsn.c

libexec_PROGRAMS += smtpc/smtpc
smtpc_smtpc_SOURCES = smtpc/main.c
smtpc_smtpc_LDADD = libsmtpc.a libcdb.a libsm.a $(SECCOMP_LIBS)
