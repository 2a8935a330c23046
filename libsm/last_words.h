/*
 * What a process says when it dies of itself: which request it was working on, as the answer to it.
 *
 * So whoever asked knows what may have killed its peer, while everything else that was under way
 * there is innocent: those calls end with SM_E_PEER as ever. Said on SIGSEGV, SIGBUS, SIGFPE,
 * SIGILL and SIGABRT (a failed assertion, the supervisor's watchdog) of the loop's thread; nothing
 * is said on a SIGKILL, nor by a helper thread. The signal then takes its usual course.
 */
#ifndef SM_LAST_WORDS_H
#define SM_LAST_WORDS_H

#include "libsm/rpc.h"

struct sm_last_words {
	struct sm_peer *peer; /* NULL: nothing to say */
	unsigned char frame[64];
	size_t bytes;
};

/* Once, by the loop's thread, before it serves anybody. 0, or an error with a diag. */
int sm_last_words_install(void) SM_MUST_CHECK;
/* `w` becomes the answer "I died of this" to the request of `p` with `tag`. */
void sm_last_words_make(struct sm_last_words *w, struct sm_peer *p, uint64_t tag);
/* The running coroutine works on it from now on, or the loop's own stack when none runs. NULL: no
 * more. `w` must live until then. */
void sm_last_words_set(const struct sm_last_words *w);

#endif
