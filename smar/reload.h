/*
 * Which maps and tables are in force, and how new ones take their place: all of them or none, on a
 * signal, or because files have changed.
 */
#ifndef AR_RELOAD_H
#define AR_RELOAD_H

#include "smar/ar.h"

/* Open everything that ar->conf names: ar->maps and ar->mt. All or nothing, with diag. Blocks. Any
 * thread; at the start, before rights are dropped. */
int ar_reload_open(struct ar *ar) SM_MUST_CHECK;
/*
 * From now on look every conf->map_check_interval_ms whether a file has changed. When one has, and
 * nothing more changes for a while, everything is opened anew in a helper thread, and takes the
 * place of ar->conf, maps and mt. What is refused is logged, and not tried again until another file
 * changes. After sm_offload_init. `files`: ar_maps_look from before the first
 * opening.
 */
void ar_reload_start(struct ar *ar, uint64_t files);
/* Open everything anew now, by this configuration, which becomes ar->conf together with its maps.
 * It and `ar` live on. */
void ar_reload_now(const struct ar_conf *conf);
/*
 * Open everything anew by the configuration in force, and wait how that ends. 0: the new maps are
 * in force; SM_E_TIMEOUT, SM_E_CANCEL; else the old ones stay, and the diag says why.
 */
int ar_reload_wait(int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
/* How many maps are in force, the mailertable's file included. */
size_t ar_reload_count(void);
/* How often new ones were refused so far. */
size_t ar_reload_refused(void);
/* No more timer. What runs in a helper ends with sm_offload_fini, before ar_reload_free. */
void ar_reload_stop(void);
void ar_reload_free(void);

#endif
