# libsm: what every process stands on. Each file's unit test is t_<file>.c beside it.
noinst_LIBRARIES += libsm.a
libsm_a_SOURCES =
libsm_a_SOURCES += libsm/base.c libsm/err.c libsm/str.c libsm/buf.c libsm/arena.c libsm/hash.c libsm/heap.c libsm/time.c
libsm_a_SOURCES += libsm/crc32c.c libsm/rand.c libsm/id.c libsm/fault.c
libsm_a_SOURCES += libsm/err.h libsm/str.h libsm/buf.h libsm/arena.h libsm/hash.h libsm/heap.h libsm/list.h libsm/time.h
libsm_a_SOURCES += libsm/crc32c.h libsm/rand.h libsm/id.h libsm/fault.h
LIBSM_TESTS =
libsm_a_SOURCES += libsm/conf.h libsm/conf_mcp.h libsm/conf_mcp.c libsm/conf_lex.h libsm/conf_lex.c libsm/conf_parse.c
libsm_a_SOURCES += libsm/conf_value.h libsm/conf_value.c libsm/conf_bind.c libsm/conf_session.c libsm/conf_keep.c libsm/conf_near.c libsm/conf_dump.c libsm/conf_json.c
libsm_a_SOURCES += libsm/conf_man.c libsm/conf_global.c
LIBSM_TESTS += libsm/t_conf libsm/t_conf_bind libsm/t_conf_mcp
libsm_t_conf_SOURCES = libsm/t_conf.c libsm/t_conf.h
libsm_t_conf_LDADD = $(UNIT_LDADD)
libsm_t_conf_bind_SOURCES = libsm/t_conf_bind.c libsm/t_conf.h
libsm_t_conf_bind_LDADD = $(UNIT_LDADD)
libsm_t_conf_mcp_SOURCES = libsm/t_conf_mcp.c libsm/t_conf.h
libsm_t_conf_mcp_LDADD = $(UNIT_LDADD)
libsm_a_SOURCES += libsm/log.h libsm/log_int.h libsm/log.c libsm/log_form.c libsm/log_line.c libsm/logline.h libsm/logline.c libsm/json.h libsm/json.c libsm/ctl.h libsm/ctl.c libsm/msg_words.h libsm/msg_words.c
LIBSM_TESTS += libsm/t_log
libsm_t_log_SOURCES = libsm/t_log.c
libsm_t_log_LDADD = $(UNIT_LDADD)
libsm_a_SOURCES += libsm/proc.h libsm/proc_int.h libsm/proc.c libsm/proc_conf.c libsm/proc_host.c libsm/proc_users.c libsm/proc_info.c libsm/proc_mcp.c
LIBSM_TESTS += libsm/t_proc
libsm_t_proc_SOURCES = libsm/t_proc.c
libsm_t_proc_LDADD = $(UNIT_LDADD)
check_PROGRAMS += libsm/t_proc_prog
libsm_t_proc_prog_SOURCES = libsm/t_proc_prog.c
libsm_t_proc_prog_LDADD = libsm.a $(LIBS)
libsm_a_SOURCES += libsm/wire.h libsm/wire.c libsm/def.h libsm/def.c libsm/msg.h libsm/msg.c
noinst_HEADERS += libsm/def_struct.h libsm/def_proto.h libsm/def_numbers.h libsm/def_code.h libsm/def_nofields.h libsm/def_undef.h

libsm_a_SOURCES += libsm/base64.h libsm/base64.c libsm/sasl_mem.h libsm/sasl_mem.c
LIBSM_TESTS += libsm/t_base64
libsm_t_base64_SOURCES = libsm/t_base64.c
libsm_t_base64_LDADD = $(UNIT_LDADD)

# SMTP as both ends speak it.
libsm_a_SOURCES += libsm/addr.h libsm/addr.c libsm/utf8.h libsm/utf8.c libsm/smtp_cmd.h libsm/smtp_cmd.c \
	libsm/smtp_reply.h libsm/smtp_reply.c libsm/stream.h libsm/stream.c libsm/unstuff.c
LIBSM_TESTS += libsm/t_addr libsm/t_utf8 libsm/t_smtp_cmd libsm/t_smtp_reply libsm/t_unstuff
libsm_t_addr_SOURCES = libsm/t_addr.c
libsm_t_addr_LDADD = $(UNIT_LDADD)
libsm_t_utf8_SOURCES = libsm/t_utf8.c
libsm_t_utf8_LDADD = $(UNIT_LDADD)
libsm_t_smtp_cmd_SOURCES = libsm/t_smtp_cmd.c
libsm_t_smtp_cmd_LDADD = $(UNIT_LDADD)
libsm_t_smtp_reply_SOURCES = libsm/t_smtp_reply.c
libsm_t_smtp_reply_LDADD = $(UNIT_LDADD)
libsm_t_unstuff_SOURCES = libsm/t_unstuff.c
libsm_t_unstuff_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_stream
libsm_t_stream_SOURCES = libsm/t_stream.c
libsm_t_stream_LDADD = $(UNIT_LDADD)

libsm_a_SOURCES += libsm/priv.h libsm/priv_int.h libsm/priv.c libsm/priv_become.c libsm/priv_landlock.c libsm/priv_probe.c libsm/priv_seccomp.c
LIBSM_TESTS += libsm/t_priv libsm/t_priv_become
libsm_t_priv_SOURCES = libsm/t_priv.c libsm/t_priv_common.c libsm/t_priv.h
libsm_t_priv_LDADD = $(UNIT_LDADD) $(SECCOMP_LIBS) -lpthread
libsm_t_priv_become_SOURCES = libsm/t_priv_become.c libsm/t_priv_common.c libsm/t_priv.h
libsm_t_priv_become_LDADD = $(UNIT_LDADD) $(SECCOMP_LIBS)

# Coroutines and what stands on them.
libsm_a_SOURCES += libsm/co.h libsm/co_switch.h libsm/co.c libsm/loop.h libsm/loop.c libsm/sync.h libsm/sync.c \
	libsm/offload.h libsm/offload.c libsm/pace.h libsm/net.h libsm/net.c libsm/sa.c
if CO_X86_64
libsm_a_SOURCES += libsm/co_x86_64.S
endif
if CO_AARCH64
libsm_a_SOURCES += libsm/co_aarch64.S
endif
if CO_UCONTEXT
libsm_a_SOURCES += libsm/co_ucontext.c
endif
EXTRA_DIST += libsm/co_x86_64.S libsm/co_aarch64.S libsm/co_ucontext.c
LIBSM_TESTS += libsm/t_co libsm/t_loop libsm/t_loop_fd libsm/t_sync libsm/t_offload libsm/t_net
libsm_t_co_SOURCES = libsm/t_co.c libsm/t_co.h
libsm_t_co_LDADD = $(UNIT_LDADD)
libsm_t_loop_SOURCES = libsm/t_loop.c libsm/t_co.h
libsm_t_loop_LDADD = $(UNIT_LDADD)
libsm_t_loop_fd_SOURCES = libsm/t_loop_fd.c libsm/t_co.h
libsm_t_loop_fd_LDADD = $(UNIT_LDADD)
libsm_t_sync_SOURCES = libsm/t_sync.c libsm/t_co.h
libsm_t_sync_LDADD = $(UNIT_LDADD)
libsm_t_offload_SOURCES = libsm/t_offload.c libsm/t_co.h
libsm_t_offload_LDADD = $(UNIT_LDADD)
libsm_t_net_SOURCES = libsm/t_net.c libsm/t_co.h
libsm_t_net_LDADD = $(UNIT_LDADD)

# TLS: what is in tls*.c beside options and names needs $(TLS_LIBS).
libsm_a_SOURCES += libsm/tls.h libsm/tls_int.h libsm/tls_file.h libsm/tls_file.c libsm/tls_conf.c libsm/tls_name.c libsm/tls_none.c libsm/tls_ctx.c \
	libsm/tls_cert.c libsm/tls_ticket.c libsm/tls_io.c libsm/tls_client.c libsm/tls_facts.c

if HAVE_TLS
LIBSM_TESTS += libsm/t_tls libsm/t_tls_files libsm/t_tls_hostile
endif
t_tls_common = libsm/t_tls_common.c libsm/t_tls.h libsm/t_co.h
libsm_t_tls_SOURCES = libsm/t_tls.c $(t_tls_common)
libsm_t_tls_LDADD = $(UNIT_LDADD) $(TLS_LIBS)
libsm_t_tls_files_SOURCES = libsm/t_tls_files.c $(t_tls_common)
libsm_t_tls_files_LDADD = $(UNIT_LDADD) $(TLS_LIBS)
libsm_t_tls_hostile_SOURCES = libsm/t_tls_hostile.c $(t_tls_common)
libsm_t_tls_hostile_LDADD = $(UNIT_LDADD) $(TLS_LIBS)

# Calls between processes.
libsm_a_SOURCES += libsm/rpc.h libsm/rpc_int.h libsm/rpc_frame.c libsm/rpc_peer.c libsm/rpc_call.c libsm/rpc_server.c libsm/rpc_link.c \
	libsm/last_words.h libsm/last_words.c
LIBSM_TESTS += libsm/t_rpc libsm/t_rpc_peers
libsm_t_rpc_SOURCES = libsm/t_rpc.c libsm/t_rpc_common.c libsm/t_rpc.h
libsm_t_rpc_LDADD = $(UNIT_LDADD) -lpthread
libsm_t_rpc_peers_SOURCES = libsm/t_rpc_peers.c libsm/t_rpc_common.c libsm/t_rpc.h
libsm_t_rpc_peers_LDADD = $(UNIT_LDADD) -lpthread
LIBSM_TESTS += libsm/t_last_words
libsm_t_last_words_SOURCES = libsm/t_last_words.c
libsm_t_last_words_LDADD = $(UNIT_LDADD)

# The table of messages and the coder of its fields.
EXTRA_DIST += libsm/msg.def libsm/err.def libsm/t_def.def
LIBSM_TESTS += libsm/t_wire libsm/t_def libsm/t_msg
libsm_t_wire_SOURCES = libsm/t_wire.c
libsm_t_wire_LDADD = $(UNIT_LDADD)
libsm_t_def_SOURCES = libsm/t_def.c
libsm_t_def_LDADD = $(UNIT_LDADD)
libsm_t_msg_SOURCES = libsm/t_msg.c
libsm_t_msg_LDADD = $(UNIT_LDADD)
noinst_HEADERS += libsm/base.h libsm/t_patience.h libsm/t_dir.h

LIBSM_TESTS += libsm/t_base
libsm_t_base_SOURCES = libsm/t_base.c
libsm_t_base_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_err
libsm_t_err_SOURCES = libsm/t_err.c
libsm_t_err_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_str
libsm_t_str_SOURCES = libsm/t_str.c
libsm_t_str_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_buf
libsm_t_buf_SOURCES = libsm/t_buf.c
libsm_t_buf_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_arena
libsm_t_arena_SOURCES = libsm/t_arena.c
libsm_t_arena_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_hash
libsm_t_hash_SOURCES = libsm/t_hash.c
libsm_t_hash_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_heap
libsm_t_heap_SOURCES = libsm/t_heap.c
libsm_t_heap_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_time
libsm_t_time_SOURCES = libsm/t_time.c
libsm_t_time_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_crc32c
libsm_t_crc32c_SOURCES = libsm/t_crc32c.c
libsm_t_crc32c_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_rand
libsm_t_rand_SOURCES = libsm/t_rand.c
libsm_t_rand_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_id
libsm_t_id_SOURCES = libsm/t_id.c
libsm_t_id_LDADD = $(UNIT_LDADD)
libsm_a_SOURCES += libsm/mapsrc.h libsm/mapsrc.c libsm/mapsrc_seen.c
libsm_a_SOURCES += libsm/mapdb.h libsm/mapdb.c libsm/mapdb_bdb.c libsm/mapdb_lmdb.c libsm/mapdb_cdb.c
LIBSM_TESTS += libsm/t_mapsrc
libsm_t_mapsrc_SOURCES = libsm/t_mapsrc.c
libsm_t_mapsrc_LDADD = $(UNIT_LDADD)
LIBSM_TESTS += libsm/t_fault
libsm_t_fault_SOURCES = libsm/t_fault.c
libsm_t_fault_LDADD = $(UNIT_LDADD)

if HAVE_CMOCKA
check_PROGRAMS += $(LIBSM_TESTS)
unit_tests += $(LIBSM_TESTS)
endif
