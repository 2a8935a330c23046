/*
 * The login of the load generator: AUTH PLAIN (RFC 4616) with an initial response (RFC 4954 4), the
 * same for all sessions. Pure.
 */
#include "config.h"
#include "checks/bench/load_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOGIN_MAX = 256 }; /* the command stays within a line of 512 bytes */

/* Base64 (RFC 4648 4) of n bytes, and NUL. */
static void encode(char *out, const unsigned char *in, size_t n)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t i;

	for (i = 0; i < n; i += 3) {
		unsigned v = (unsigned)in[i] << 16;

		v |= i + 1 < n ? (unsigned)in[i + 1] << 8 : 0;
		v |= i + 2 < n ? in[i + 2] : 0;
		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*out = '\0';
}

char *auth_plain(const char *login)
{
	const char *colon = strchr(login, ':');
	size_t n = strlen(login);
	unsigned char plain[1 + LOGIN_MAX]; /* NUL user NUL password */
	char text[(sizeof plain + 2) / 3 * 4 + 1], *out;

	if (!colon || colon == login || !colon[1] || n > LOGIN_MAX)
		die_text("-a USER:PASSWORD, at most %d characters", LOGIN_MAX);
	plain[0] = '\0';
	memcpy(plain + 1, login, n);
	plain[1 + (colon - login)] = '\0';
	encode(text, plain, 1 + n);
	if (asprintf(&out, "AUTH PLAIN %s\r\n", text) < 0)
		die("memory");
	return out;
}
