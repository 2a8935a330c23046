/* t-getgroup: is a user a member of a group, as a program that becomes this user would be? Exit
 * status 0 yes, 1 no. One thread. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE = 64, NO_SUCH = 67 };
#define GROUPS_MAX 65536

int main(int argc, char **argv)
{
	const struct passwd *pw;
	const struct group *gr;
	gid_t *groups = NULL, wanted;
	int n = 64, member = 0;

	if (argc != 3) {
		(void)fputs("usage: t-getgroup user group\n", stderr);
		return USAGE;
	}
	if ((gr = getgrnam(argv[2])) == NULL) {
		(void)fprintf(stderr, "t-getgroup: no such group: %s\n", argv[2]);
		return NO_SUCH;
	}
	wanted = gr->gr_gid;
	if ((pw = getpwnam(argv[1])) == NULL) {
		(void)fprintf(stderr, "t-getgroup: no such user: %s\n", argv[1]);
		return NO_SUCH;
	}
	/* Says in n how many there are when there is no room. */
	do {
		free(groups);
		groups = calloc((size_t)n, sizeof(*groups));
		if (groups == NULL || n > GROUPS_MAX) {
			(void)fprintf(stderr, "t-getgroup: %s\n", strerror(ENOMEM));
			free(groups);
			return 71;
		}
	} while (getgrouplist(argv[1], pw->pw_gid, groups, &n) < 0);
	for (int i = 0; i < n; i++)
		member = member || groups[i] == wanted;
	free(groups);
	(void)printf("%s is %sin group %s\n", argv[1], member ? "" : "not ", argv[2]);
	return !member;
}
