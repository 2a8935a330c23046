# checks: see doc/HACKING.md for how a local.mk is written.

# Programs of the end-to-end tests, crash tests and measurements: on their own, without libsm.
noinst_PROGRAMS += checks/bench/load checks/bench/sink checks/bench/dnsd
checks_bench_common = checks/bench/common.h checks/bench/common.c
checks_bench_load_SOURCES = checks/bench/load.h checks/bench/load.c checks/bench/load_main.c $(checks_bench_common)
checks_bench_load_LDADD = $(TLS_LIBS)
checks_bench_sink_SOURCES = checks/bench/sink.c $(checks_bench_common)
checks_bench_sink_LDADD = $(TLS_LIBS)
checks_bench_dnsd_SOURCES = checks/bench/dnsd.c $(checks_bench_common)
checks_bench_dnsd_LDADD = $(TLS_LIBS)
