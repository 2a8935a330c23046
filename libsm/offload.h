/*
 * Blocking work (open, write, fsync, NSS, SASL, Berkeley DB) in helper threads, so that the loop
 * never waits for a disk. Helpers see only their argument: no logging, no diag of the caller, no
 * shared structures.
 */
#ifndef SM_OFFLOAD_H
#define SM_OFFLOAD_H

#include "libsm/co.h"
#include "libsm/loop.h"

/* Most helpers of a process: what options for their number may have as their bound. */
#define SM_OFFLOAD_MAX 256
/* Start `threads` helpers (after the process has dropped its rights). Signals are blocked in them.
 */
int sm_offload_init(unsigned threads) SM_MUST_CHECK;
void sm_offload_fini(void); /* waits for what runs; nothing may be queued any more */

/*
 * Run fn(arg) in a helper and park until it is done; gives what fn gives. Not interruptible: a
 * cancelled caller still waits for the end, because the helper holds its argument (the cancel is
 * seen at the next blocking call). The diag that fn set by sm_fail* becomes the caller's.
 */
int sm_offload(const char *doing, int (*fn)(void *arg), void *arg) SM_YIELDS;

/* The same without a coroutine: done(rc, arg) is called on the loop. `job` is the caller's memory
 * until then. */
struct sm_offload_job {
	struct sm_post post;
	struct sm_offload_job *next;
	int (*fn)(void *arg);
	void (*done)(int rc, void *arg);
	void *arg;
	int rc;
	char diag[SM_DIAG_MAX];
};
void sm_offload_async(struct sm_offload_job *job, int (*fn)(void *arg),
                      void (*done)(int rc, void *arg), void *arg);
size_t sm_offload_queued(void); /* waiting or running */

#endif
