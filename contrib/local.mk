# contrib: what lives around smx.

libexec_PROGRAMS += contrib/lmtp2maildir
contrib_lmtp2maildir_SOURCES = contrib/lmtp2maildir.c
contrib_lmtp2maildir_LDADD = libsm.a
