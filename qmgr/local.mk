# qmgr: libqm.a is what its program, its unit tests and the tools that read its files share.
noinst_LIBRARIES += libqm.a
libqm_a_SOURCES =
QM_TESTS =
QM_LDADD = libqm.a $(UNIT_LDADD)

# Records, transactions and policy: what unit tests and tools want.
libqm_a_SOURCES += qmgr/rec.h qmgr/rec.c qmgr/txn.h qmgr/txn.c qmgr/contents.h qmgr/contents.c qmgr/sched.h qmgr/sched_int.h qmgr/sched.c qmgr/routes.c qmgr/hosts.h qmgr/hosts.c qmgr/probe.h qmgr/probe.c qmgr/verify_cache.h qmgr/verify_cache.c qmgr/limits.h qmgr/limits.c qmgr/blocked.h qmgr/blocked.c qmgr/schedule.h qmgr/schedule.c qmgr/retry.h qmgr/retry.c qmgr/resource.h qmgr/resource.c \
	qmgr/clients.h qmgr/clients.c qmgr/users.h qmgr/users.c qmgr/transcript.h qmgr/transcript.c qmgr/holders.h qmgr/holders.c qmgr/conf.h qmgr/conf_int.h qmgr/conf.c qmgr/conf_dsn.c qmgr/conf_limits.c qmgr/conf_run.c qmgr/store.h qmgr/store_int.h qmgr/store.c qmgr/replay.h qmgr/takeover.c qmgr/replay.c qmgr/replay_contents.c qmgr/recover.c \
	qmgr/pool.h qmgr/pool.c qmgr/atoms.h qmgr/atoms.c qmgr/reason.h qmgr/reason.c \
	qmgr/edbc.h qmgr/edbc_int.h qmgr/edbc.c qmgr/edbc_heap.c qmgr/edbc_tail.c qmgr/edbc_wait.c qmgr/view.h qmgr/view.c \
	qmgr/filter.h qmgr/filter_int.h qmgr/filter.c qmgr/filter_parse.c qmgr/control_words.c \
	qmgr/marks.h qmgr/marks.c qmgr/suspend.h qmgr/suspend.c
libqm_a_SOURCES += qmgr/memory.h qmgr/memory.c
EXTRA_DIST += qmgr/rec.def

QM_TESTS += qmgr/t_rec
qmgr_t_rec_SOURCES = qmgr/t_rec.c
qmgr_t_rec_LDADD = $(QM_LDADD)

# The record log.
libqm_a_SOURCES += qmgr/log.h qmgr/log_impl.h qmgr/log_batch.h qmgr/log.c qmgr/log_open.c qmgr/log_batch.c qmgr/log_segment.c \
	qmgr/log_commit.c qmgr/log_keep.c qmgr/log_replay.c qmgr/log_format.c
QM_TESTS += qmgr/t_log qmgr/t_log_segments qmgr/t_log_batch qmgr/t_log_damage qmgr/t_log_format
t_log_common = qmgr/t_log.h qmgr/t_log_common.c
qmgr_t_log_SOURCES = qmgr/t_log.c $(t_log_common)
qmgr_t_log_LDADD = $(QM_LDADD)
qmgr_t_log_segments_SOURCES = qmgr/t_log_segments.c $(t_log_common)
qmgr_t_log_segments_LDADD = $(QM_LDADD)
qmgr_t_log_batch_SOURCES = qmgr/t_log_batch.c
qmgr_t_log_batch_LDADD = $(QM_LDADD)
qmgr_t_log_damage_SOURCES = qmgr/t_log_damage.c $(t_log_common)
qmgr_t_log_damage_LDADD = $(QM_LDADD)
qmgr_t_log_format_SOURCES = qmgr/t_log_format.c $(t_log_common)
qmgr_t_log_format_LDADD = $(QM_LDADD)

QM_TESTS += qmgr/t_users qmgr/t_transcript
qmgr_t_transcript_SOURCES = qmgr/t_transcript.c
qmgr_t_transcript_LDADD = $(QM_LDADD)
qmgr_t_users_SOURCES = qmgr/t_users.c
qmgr_t_users_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_blocked qmgr/t_limits qmgr/t_hosts qmgr/t_edbc qmgr/t_resource qmgr/t_retry qmgr/t_clients qmgr/t_holders qmgr/t_sched qmgr/t_sched_many qmgr/t_txn
qmgr_t_blocked_SOURCES = qmgr/t_blocked.c
qmgr_t_blocked_LDADD = $(QM_LDADD)
qmgr_t_edbc_SOURCES = qmgr/t_edbc.c
qmgr_t_edbc_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_atoms qmgr/t_view qmgr/t_filter
qmgr_t_atoms_SOURCES = qmgr/t_atoms.c
qmgr_t_atoms_LDADD = $(QM_LDADD)
qmgr_t_view_SOURCES = qmgr/t_view.c
qmgr_t_view_LDADD = $(QM_LDADD)
qmgr_t_filter_SOURCES = qmgr/t_filter.c
qmgr_t_filter_LDADD = $(QM_LDADD)
qmgr_t_resource_SOURCES = qmgr/t_resource.c
qmgr_t_resource_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_etrn
qmgr_t_etrn_SOURCES = qmgr/t_etrn.c $(t_qm_whole)
qmgr_t_etrn_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_verify_cache qmgr/t_probe qmgr/t_verify
qmgr_t_verify_cache_SOURCES = qmgr/t_verify_cache.c
qmgr_t_verify_cache_LDADD = $(QM_LDADD)
qmgr_t_probe_SOURCES = qmgr/t_probe.c qmgr/t_sched.h
qmgr_t_probe_LDADD = $(QM_LDADD)
qmgr_t_verify_SOURCES = qmgr/t_verify.c $(t_qm_whole)
qmgr_t_verify_LDADD = $(QM_WHOLE_LDADD)
qmgr_t_hosts_SOURCES = qmgr/t_hosts.c
qmgr_t_hosts_LDADD = $(QM_LDADD)
qmgr_t_limits_SOURCES = qmgr/t_limits.c qmgr/limits_load.c
qmgr_t_limits_LDADD = $(QM_LDADD) $(BDB_LIBS)
QM_TESTS += qmgr/t_schedule qmgr/t_edbc_wait qmgr/t_replay_contents
qmgr_t_replay_contents_SOURCES = qmgr/t_replay_contents.c
qmgr_t_replay_contents_LDADD = $(QM_LDADD)
qmgr_t_edbc_wait_SOURCES = qmgr/t_edbc_wait.c
qmgr_t_edbc_wait_LDADD = $(QM_LDADD)
qmgr_t_schedule_SOURCES = qmgr/t_schedule.c
qmgr_t_schedule_LDADD = $(QM_LDADD)
qmgr_t_retry_SOURCES = qmgr/t_retry.c
qmgr_t_retry_LDADD = $(QM_LDADD)
qmgr_t_holders_SOURCES = qmgr/t_holders.c
qmgr_t_holders_LDADD = $(QM_LDADD)
qmgr_t_clients_SOURCES = qmgr/t_clients.c
qmgr_t_clients_LDADD = $(QM_LDADD)
qmgr_t_sched_SOURCES = qmgr/t_sched.c qmgr/t_sched.h
qmgr_t_sched_LDADD = $(QM_LDADD)
qmgr_t_sched_many_SOURCES = qmgr/t_sched_many.c qmgr/t_sched.h
qmgr_t_sched_many_LDADD = $(QM_LDADD)
qmgr_t_txn_SOURCES = qmgr/t_txn.c
qmgr_t_txn_LDADD = $(QM_LDADD)

libexec_PROGRAMS += qmgr/qmgr
qm_parts = qmgr/qm.h qmgr/bulk.h qmgr/bulk_int.h qmgr/bulk.c qmgr/bulk_choose.c qmgr/bulk_write.c qmgr/bulk_apply.c qmgr/halt.h qmgr/halt.c qmgr/run_int.h qmgr/run.h qmgr/run.c qmgr/run_wait.c qmgr/run_check.c qmgr/etrn.c qmgr/queue.c qmgr/incoming_int.h qmgr/incoming.c qmgr/incoming_commit.c qmgr/credit.c qmgr/resolve.c qmgr/delivery.c qmgr/put_off.c qmgr/settle.c qmgr/verify.c qmgr/way.c qmgr/poison.c qmgr/child.c qmgr/expand.c qmgr/dsn.c qmgr/defer.c qmgr/kept.c \
	qmgr/compact.c qmgr/content.c qmgr/space.c qmgr/control.h qmgr/control.c qmgr/control_list.c qmgr/control_show.c qmgr/control_act.c qmgr/control_users.c qmgr/control_run.c qmgr/control_transcript.c qmgr/control_dest.c qmgr/control_ask.c qmgr/control_name.c qmgr/limits_load.c
# Mail whose client waits.
qm_parts += qmgr/now.h qmgr/now.c
qmgr_qmgr_SOURCES = qmgr/main.c $(qm_parts)
qmgr_qmgr_LDADD = libqm.a libcdb.a libsm.a $(SECCOMP_LIBS) $(BDB_LIBS)

# One flipped bit at each of many places of a queue.
QM_TESTS += qmgr/t_flip
qmgr_t_flip_SOURCES = qmgr/t_flip.c $(t_store_common)
qmgr_t_flip_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_foreign
qmgr_t_foreign_SOURCES = qmgr/t_foreign.c $(t_store_common)
qmgr_t_foreign_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_recover qmgr/t_recover_random qmgr/t_store
t_store_common = qmgr/t_store.h qmgr/t_store_common.c
qmgr_t_recover_SOURCES = qmgr/t_recover.c $(t_store_common)
qmgr_t_recover_LDADD = $(QM_LDADD)
qmgr_t_recover_random_SOURCES = qmgr/t_recover_random.c $(t_store_common)
qmgr_t_recover_random_LDADD = $(QM_LDADD)
qmgr_t_store_SOURCES = qmgr/t_store.c $(t_store_common)
qmgr_t_store_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_marks
qmgr_t_marks_SOURCES = qmgr/t_marks.c $(t_store_common)
qmgr_t_marks_LDADD = $(QM_LDADD)

# The whole queue manager but its main(), with puppets for its peers.
t_qm_whole = qmgr/t_qm.h qmgr/t_qm_common.c qmgr/t_qm_puppets.c $(qm_parts)
QM_WHOLE_LDADD = libqm.a libcdb.a $(UNIT_LDADD) $(BDB_LIBS)
t_bulk_common = qmgr/t_bulk.h qmgr/t_bulk_common.c
t_full_common = qmgr/t_full.h qmgr/t_full_common.c
QM_TESTS += qmgr/t_qmgr
qmgr_t_qmgr_SOURCES = qmgr/t_qmgr.c $(t_qm_whole)
qmgr_t_qmgr_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_peers
qmgr_t_peers_SOURCES = qmgr/t_peers.c $(t_qm_whole)
qmgr_t_peers_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_bounds
qmgr_t_bounds_SOURCES = qmgr/t_bounds.c $(t_qm_whole)
qmgr_t_bounds_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_segments qmgr/t_contents
qmgr_t_segments_SOURCES = qmgr/t_segments.c $(t_qm_whole)
qmgr_t_segments_LDADD = $(QM_WHOLE_LDADD)
qmgr_t_contents_SOURCES = qmgr/t_contents.c
qmgr_t_contents_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_orphans
qmgr_t_orphans_SOURCES = qmgr/t_orphans.c $(t_qm_whole)
qmgr_t_orphans_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_dsn
qmgr_t_dsn_SOURCES = qmgr/t_dsn.c $(t_qm_whole)
qmgr_t_dsn_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_now qmgr/t_memory
qmgr_t_now_SOURCES = qmgr/t_now.c $(t_qm_whole)
qmgr_t_now_LDADD = $(QM_WHOLE_LDADD)
qmgr_t_memory_SOURCES = qmgr/t_memory.c
qmgr_t_memory_LDADD = $(QM_LDADD)
QM_TESTS += qmgr/t_expand
qmgr_t_expand_SOURCES = qmgr/t_expand.c $(t_qm_whole)
qmgr_t_expand_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_suspend
qmgr_t_suspend_SOURCES = qmgr/t_suspend.c $(t_qm_whole)
qmgr_t_suspend_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_run qmgr/t_run_many
qmgr_t_run_SOURCES = qmgr/t_run.c qmgr/t_run.h $(t_full_common) $(t_qm_whole)
qmgr_t_run_LDADD = $(QM_WHOLE_LDADD)
qmgr_t_run_many_SOURCES = qmgr/t_run_many.c qmgr/t_run.h $(t_qm_whole)
qmgr_t_run_many_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_way
qmgr_t_way_SOURCES = qmgr/t_way.c $(t_qm_whole)
qmgr_t_way_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_control
qmgr_t_control_SOURCES = qmgr/t_control.c $(t_qm_whole)
qmgr_t_control_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_bulk
qmgr_t_bulk_SOURCES = qmgr/t_bulk.c $(t_bulk_common) $(t_qm_whole)
qmgr_t_bulk_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_bulk_active
qmgr_t_bulk_active_SOURCES = qmgr/t_bulk_active.c $(t_bulk_common) $(t_qm_whole)
qmgr_t_bulk_active_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_acts
qmgr_t_acts_SOURCES = qmgr/t_acts.c $(t_qm_whole)
qmgr_t_acts_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_life
qmgr_t_life_SOURCES = qmgr/t_life.c qmgr/t_life.h qmgr/t_life_acts.c qmgr/t_ledger.h qmgr/t_ledger.c $(t_qm_whole)
qmgr_t_life_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_full
qmgr_t_full_SOURCES = qmgr/t_full.c $(t_full_common) $(t_qm_whole)
qmgr_t_full_LDADD = $(QM_WHOLE_LDADD)
QM_TESTS += qmgr/t_full_acts
qmgr_t_full_acts_SOURCES = qmgr/t_full_acts.c $(t_full_common) $(t_bulk_common) $(t_qm_whole)
qmgr_t_full_acts_LDADD = $(QM_WHOLE_LDADD)

if HAVE_CMOCKA
check_PROGRAMS += $(QM_TESTS)
unit_tests += $(QM_TESTS)
endif
