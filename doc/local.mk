# doc: the story, the guide, the formats; manual pages that no other local.mk lists.
EXTRA_DIST += doc/architecture.md doc/operator.md doc/setups.md doc/operating.md doc/formats.md doc/performance.md doc/scale.svg doc/HACKING.md
dist_man_MANS += doc/man/qmgr.8 doc/man/smar.8 doc/man/smtpc.8 doc/man/smtps.8 doc/man/qmgrctl.8 doc/man/qmgrctl.sh.8 doc/man/mailq.1 doc/man/mailq.sh.1 doc/man/metaqueue.8 \
	doc/man/sm.setup.sh.8 doc/man/sm.check.sh.8 doc/man/lmtp2maildir.8
