/*
 * The name of this host: what the kernel says if that has a domain, else what the name service
 * makes of it, but never waiting for it long. A child asks, because getaddrinfo cannot be given a
 * deadline and a thread could not be left behind. Before the first thread.
 */
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/proc_int.h"

#define ASK_MS 5000

SM_NORETURN static void ask(const char *name, int to)
{
	struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *ai;

	if (getaddrinfo(name, NULL, &hints, &ai) == 0 && ai->ai_canonname != NULL)
		(void)!write(to, ai->ai_canonname, strlen(ai->ai_canonname));
	_exit(0);
}

static void canonical(char *name, size_t size)
{
	char answer[256];
	int p[2];
	ssize_t n = 0;
	pid_t child;

	if (pipe(p) == -1)
		return;
	child = fork();
	if (child == 0)
		ask(name, p[1]);
	close(p[1]);
	if (child != -1) {
		struct pollfd pfd = {.fd = p[0], .events = POLLIN};
		if (poll(&pfd, 1, ASK_MS) == 1)
			n = read(p[0], answer, sizeof(answer) - 1);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	close(p[0]);
	answer[n > 0 ? n : 0] = '\0';
	if (strchr(answer, '.') != NULL && strncmp(answer, "localhost", 9) != 0 &&
	    strlen(answer) < size)
		memcpy(name, answer, strlen(answer) + 1);
}

void sm_proc_hostname(char *out, size_t size)
{
	size_t n;

	if (gethostname(out, size) == -1 || out[0] == '\0')
		snprintf(out, size, "localhost");
	out[size - 1] = '\0';
	if (strchr(out, '.') == NULL)
		canonical(out, size);
	n = strlen(out);
	if (n > 1 && out[n - 1] == '.')
		out[n - 1] = '\0';
}
