/*
 * The signal handler of a dying process. Everything it needs was made before: it only looks up what
 * runs, writes one frame, one line, and lets the signal go on.
 *
 * Invariant: the handler calls nothing but what may be called in a handler, and acts once.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libsm/last_words.h"
#include "libsm/rpc_int.h"

#define STACK_BYTES (32 * 1024)

static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static struct sigaction before[SM_ARRAY_SIZE(deadly)];
static const struct sm_last_words *of_loop;
static volatile sig_atomic_t said;
static long loop_thread;

static void say(const struct sm_last_words *w)
{
	const struct sm_peer *p = w->peer;

	/* Half a frame before it would swallow it. */
	if (p == NULL || p->state != RPC_UP || p->cut)
		return;
	(void)!send(p->f.fd, w->frame, w->bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void line(int sig)
{
	char text[] = "proc.died, signal=00\n";
	size_t at = sizeof(text) - 4;

	text[at] = (char)('0' + sig / 10);
	text[at + 1] = (char)('0' + sig % 10);
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
}

static void dying(int sig)
{
	int kept = errno;

	if (!said && syscall(SYS_gettid) == loop_thread) {
		const struct sm_co *co = sm_co_self();
		const struct sm_last_words *w = co ? sm_co_words(co) : of_loop;

		said = 1;
		if (w)
			say(w);
		line(sig);
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(deadly); i++)
		if (deadly[i] == sig)
			(void)sigaction(sig, &before[i], NULL);
	/* Blocked until this returns; then it does what it would have done without us. */
	(void)raise(sig);
	errno = kept;
}

int sm_last_words_install(void)
{
	static char stack[STACK_BYTES] __attribute__((aligned(16)));
	const stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction sa = {.sa_handler = dying, .sa_flags = SA_ONSTACK};

	loop_thread = syscall(SYS_gettid);
	/* A coroutine that ran out of its stack has none left for a handler. */
	if (sigaltstack(&alt, NULL) != 0)
		return sm_fail_sys(errno, "sigaltstack");
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < SM_ARRAY_SIZE(deadly); i++)
		if (sigaction(deadly[i], &sa, &before[i]) != 0)
			return sm_fail_sys(errno, "sigaction");
	return 0;
}

void sm_last_words_make(struct sm_last_words *w, struct sm_peer *p, uint64_t tag)
{
	static struct sm_buf b = {.max = sizeof(w->frame)}; /* made for each request */
	const struct sm_msg_died m = {.proc = p ? p->proc : 0};

	*w = (struct sm_last_words){.peer = p};
	sm_buf_reset(&b);
	if (p == NULL || sm_frame_put(&b, SM_MSG_died, SM_FRAME_REPLY, tag, &m) != 0) {
		w->peer = NULL;
	} else {
		memcpy(w->frame, sm_buf_p(&b), b.len);
		w->bytes = b.len;
	}
}

void sm_last_words_set(const struct sm_last_words *w)
{
	struct sm_co *co = sm_co_self();

	if (co)
		sm_co_set_words(co, w);
	else
		of_loop = w;
}
