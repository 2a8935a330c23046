# misc: see doc/HACKING.md for how a local.mk is written.

EXTRA_DIST += misc/gdb/co.py
