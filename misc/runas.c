/*
 * runas: run a command as another user, with exactly that user's groups, and with no way back. For
 * root in scripts: qmgrctl as the queue's user, createmap as the map's. Never set-uid. One thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/priv.h"

enum { USAGE = 64, NO_USER = 67, CANNOT_RUN = 126, NOT_FOUND = 127 };

static int usage(void)
{
	(void)fputs("usage: runas [-g group] user command [argument ...]\n", stderr);
	return USAGE;
}

int main(int argc, char **argv)
{
	const char *group = NULL;
	mode_t mask;
	int opt, rc;

	/* + : what follows the command are its own options. */
	while ((opt = getopt(argc, argv, "+g:")) != -1) {
		if (opt != 'g')
			return usage();
		group = optarg;
	}
	if (argc - optind < 2)
		return usage();
	if (geteuid() != 0) {
		(void)fputs("runas: only root can do that\n", stderr);
		return CANNOT_RUN;
	}
	mask = umask(077);
	if ((rc = sm_priv_become(argv[optind], group)) != 0) {
		(void)fprintf(stderr, "runas: %s\n", sm_diag());
		return rc == SM_E_NOTFOUND ? NO_USER : CANNOT_RUN;
	}
	/* The files that the command makes are the caller's decision. */
	(void)umask(mask);
	(void)execvp(argv[optind + 1], argv + optind + 1);
	rc = errno == ENOENT ? NOT_FOUND : CANNOT_RUN;
	(void)fprintf(stderr, "runas: %s: %s\n", argv[optind + 1], strerror(errno));
	return rc;
}
