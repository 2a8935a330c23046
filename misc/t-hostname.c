/*
 * t-hostname: does this host know a fully qualified name of itself that mail can use? Prints the
 * name. The same rule as the programs use when the configuration has no hostname: gethostname, then
 * the canonical name that the resolver gives. One thread.
 */
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* RFC 5321 4.1.2: letters, digits, hyphens within; at least two labels; at most 255. Not all digits
 * at the end: that is an address. */
static bool is_fqdn(const char *name)
{
	size_t n = strlen(name), label = 0;
	bool dot = false, alpha = false;

	if (n == 0 || n > 255)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool digit = c >= '0' && c <= '9';
		if (c == '.') {
			if (label == 0 || name[i - 1] == '-')
				return false;
			dot = true;
			alpha = false;
			label = 0;
			continue;
		}
		if (!letter && !digit && !(c == '-' && label > 0))
			return false;
		alpha = alpha || letter;
		if (++label > 63)
			return false;
	}
	return dot && label > 0 && alpha && name[n - 1] != '-';
}

static int verdict(const char *name)
{
	const char *bad = strcmp(name, "localhost.localdomain") == 0 ? "stands for any host" : NULL;

	if (!is_fqdn(name))
		bad = "is not fully qualified";
	(void)printf("%s\n", name);
	if (bad != NULL)
		(void)fprintf(stderr, "t-hostname: %s %s: set hostname in smx.conf\n", name, bad);
	return bad != NULL;
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *res = NULL;
	char name[256] = "";
	int status;

	if (argc > 1) {
		(void)fputs("usage: t-hostname\n", stderr);
		return 64;
	}
	(void)argv;
	if (gethostname(name, sizeof(name) - 1) != 0) {
		perror("t-hostname: gethostname");
		return 1;
	}
	if (!is_fqdn(name) && getaddrinfo(name, NULL, &hints, &res) == 0 &&
	    res->ai_canonname != NULL)
		status = verdict(res->ai_canonname);
	else
		status = verdict(name);
	if (res != NULL)
		freeaddrinfo(res);
	return status;
}
