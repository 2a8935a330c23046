/* noroot: says whether it runs as root, by text and exit status: for test scripts that must not, or
 * must, be run so. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int quiet = argc == 2 && strcmp(argv[1], "-q") == 0;
	int root = getuid() == 0 || geteuid() == 0;

	if (argc > 1 && !quiet) {
		(void)fputs("usage: noroot [-q]\n", stderr);
		return 64;
	}
	if (!quiet)
		(void)puts(root ? "running as root" : "not running as root");
	return root;
}
