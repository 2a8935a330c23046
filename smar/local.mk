# smar: see doc/HACKING.md for how a local.mk is written.
