# doc: see doc/HACKING.md for how a local.mk is written.
EXTRA_DIST += doc/formats.md
