# misc: see doc/HACKING.md for how a local.mk is written.

EXTRA_DIST += misc/gdb/co.py

sbin_PROGRAMS += fsperf1
fsperf1_SOURCES = misc/fsperf1.c
fsperf1_LDADD = libsm.a
dist_man_MANS += doc/man/fsperf1.8
