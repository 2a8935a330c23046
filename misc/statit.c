/*
 * statit: what a path is, in one line that scripts can compare on every system: owner, group, mode,
 * size, type, name. Numbers instead of names with -n, so that it does not depend on the account
 * files. One thread.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "link";
	case S_IFSOCK:
		return "socket";
	case S_IFIFO:
		return "fifo";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	default:
		return "other";
	}
}

/* Names come from account files: a number stands for one that is not there. */
static void print_owner(const struct stat *st, bool numbers)
{
	const struct passwd *pw = numbers ? NULL : getpwuid(st->st_uid);
	const struct group *gr = numbers ? NULL : getgrgid(st->st_gid);

	if (pw != NULL)
		(void)printf("%s ", pw->pw_name);
	else
		(void)printf("%lu ", (unsigned long)st->st_uid);
	if (gr != NULL)
		(void)printf("%s ", gr->gr_name);
	else
		(void)printf("%lu ", (unsigned long)st->st_gid);
}

int main(int argc, char **argv)
{
	bool numbers = false, follow = false;
	int opt, status = 0;

	while ((opt = getopt(argc, argv, "nL")) != -1) {
		if (opt == 'n') {
			numbers = true;
		} else if (opt == 'L') {
			follow = true;
		} else {
			(void)fputs("usage: statit [-Ln] path ...\n", stderr);
			return 64;
		}
	}
	if (optind == argc) {
		(void)fputs("usage: statit [-Ln] path ...\n", stderr);
		return 64;
	}
	for (; optind < argc; optind++) {
		struct stat st;
		const char *path = argv[optind];
		if ((follow ? stat(path, &st) : lstat(path, &st)) != 0) {
			(void)fprintf(stderr, "statit: %s: %s\n", path, strerror(errno));
			status = 1;
			continue;
		}
		print_owner(&st, numbers);
		/* The size of anything but a file is the file system's affair, not stable. */
		(void)printf("%04o %lld %s %s\n", (unsigned)(st.st_mode & 07777),
		             S_ISREG(st.st_mode) ? (long long)st.st_size : 0ll, type(st.st_mode),
		             path);
	}
	return fflush(stdout) == 0 ? status : 1;
}
