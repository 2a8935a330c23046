/*
 * The grammar of the PROXY protocol (haproxy's doc/proxy-protocol.txt). Pure.
 *
 *   v1 = "PROXY UNKNOWN" *any CRLF / "PROXY TCP4 " pair CRLF / "PROXY TCP6 " pair CRLF  ; <= 107
 * bytes pair = source SP destination SP source-port SP destination-port
 *
 *   v2 = %x0D.0A.0D.0A.00.0D.0A.51.55.49.54.0A version-command family length addresses *tlv
 *   tlv = type length value       ; lengths are of 16 bits, in network order
 *
 * Invariant: what is not exactly this is refused; nothing is guessed.
 */
#include <arpa/inet.h>

#include "libsm/crc32c.h"
#include "libsm/err.h"
#include "smtps/proxy.h"

enum {
	V1_MAX = 107,
	V2_HEAD = 16, /* before the addresses */
	V2_VERSION = 0x20,
	V2_LOCAL = 0x20,
	V2_PROXY = 0x21,
	TCP4 = 0x11,
	TCP6 = 0x21,
	UNIX_STREAM = 0x31,
	TLV_CRC32C = 3,
};

static const struct sm_str v1_word = SM_STR("PROXY ");
static const struct sm_str v2_word = SM_STR("\r\n\r\n\0\r\nQUIT\n");

/* ---- version 1 ---- */

/* Without leading zeros. */
static bool port_of(struct sm_str s, uint16_t *out)
{
	uint64_t n;

	if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0') || sm_str_u64(s, 10, 65535, &n) != 0)
		return false;
	*out = (uint16_t)n;
	return true;
}

static bool end_of(struct sm_str host, struct sm_str port, int family, struct sm_sa *out)
{
	uint16_t n;

	if (host.n == 0 || host.p[0] == '[' || sm_lower(host.p[0]) == 'i' || !port_of(port, &n) ||
	    sm_sa_ip(out, host, n) != 0)
		return false;
	return out->u.sa.sa_family == family;
}

static int parse_v1(struct sm_str in, struct ss_proxy *out)
{
	const char *lf = memchr(in.p, '\n', SM_MIN(in.n, (size_t)V1_MAX));
	struct sm_str line, word, field[4];
	int family;

	if (lf == NULL)
		return in.n < V1_MAX ? SM_E_AGAIN
		                     : sm_fail(SM_E_TOOBIG, "PROXY line is longer than %d", V1_MAX);
	out->used = (size_t)(lf - in.p) + 1;
	line = sm_str_head(in, out->used - 1);
	if (line.p[line.n - 1] != '\r')
		return sm_fail(SM_E_SYNTAX, "PROXY line without CR");
	line = sm_str_from(sm_str_head(line, line.n - 1), v1_word.n);
	word = sm_str_split(line, ' ', &line);
	if (sm_str_eq(word, SM_STR("UNKNOWN")))
		return 0;
	family = sm_str_eq(word, SM_STR("TCP4")) ? AF_INET : AF_INET6;
	if (family == AF_INET6 && !sm_str_eq(word, SM_STR("TCP6")))
		return sm_fail(SM_E_SYNTAX, "PROXY line of an unknown protocol");
	for (int i = 0; i < 4; i++)
		field[i] = sm_str_split(line, ' ', &line);
	if (line.p != NULL || !end_of(field[0], field[2], family, &out->client) ||
	    !end_of(field[1], field[3], family, &out->server))
		return sm_fail(SM_E_SYNTAX, "PROXY line with bad addresses or ports");
	out->told = true;
	return 0;
}

/* ---- version 2 ---- */

static unsigned u16_at(struct sm_str s, size_t at)
{
	return (unsigned)(unsigned char)s.p[at] << 8 | (unsigned char)s.p[at + 1];
}

static struct sm_sa in4_at(struct sm_str s, size_t host, size_t port)
{
	struct sm_sa sa = {.len = sizeof(sa.u.in4), .u.in4.sin_family = AF_INET};

	memcpy(&sa.u.in4.sin_addr, s.p + host, 4);
	sm_sa_set_port(&sa, (uint16_t)u16_at(s, port));
	return sa;
}

static struct sm_sa in6_at(struct sm_str s, size_t host, size_t port)
{
	struct sm_sa sa = {.len = sizeof(sa.u.in6), .u.in6.sin6_family = AF_INET6};

	memcpy(&sa.u.in6.sin6_addr, s.p + host, 16);
	sm_sa_set_port(&sa, (uint16_t)u16_at(s, port));
	return sa;
}

/* The checksum is that of the whole header with zeros in its own place. */
static bool crc_fits(struct sm_str header, size_t at)
{
	static const char zeros[4];
	uint32_t want = (uint32_t)u16_at(header, at) << 16 | u16_at(header, at + 2);
	uint32_t crc = sm_crc32c(0, header.p, at);

	crc = sm_crc32c(crc, zeros, sizeof(zeros));
	crc = sm_crc32c(crc, header.p + at + 4, header.n - at - 4);
	return crc == want;
}

/* What stands behind the addresses has to be well formed, though nothing of it is used. */
static int check_tlvs(struct sm_str header, size_t at)
{
	while (at < header.n) {
		size_t n;

		if (header.n - at < 3 || header.n - at - 3 < (n = u16_at(header, at + 1)))
			return sm_fail(SM_E_SYNTAX, "PROXY header with a field beyond its end");
		if (header.p[at] == TLV_CRC32C && (n != 4 || !crc_fits(header, at + 3)))
			return sm_fail(SM_E_SYNTAX, "PROXY header with a wrong checksum");
		at += 3 + n;
	}
	return 0;
}

static int parse_v2(struct sm_str in, struct ss_proxy *out)
{
	static const struct {
		unsigned family;
		size_t bytes;
	} sizes[] = {{0x00, 0}, {TCP4, 12}, {TCP6, 36}, {UNIX_STREAM, 216}};
	size_t bytes = SIZE_MAX;
	unsigned command, family;

	if (in.n < V2_HEAD)
		return SM_E_AGAIN;
	command = (unsigned char)in.p[12];
	family = (unsigned char)in.p[13];
	out->used = V2_HEAD + u16_at(in, 14);
	if (command != V2_LOCAL && command != V2_PROXY)
		return sm_fail(SM_E_SYNTAX, "PROXY header of version and command 0x%02x", command);
	if (out->used > SS_PROXY_MAX)
		return sm_fail(SM_E_TOOBIG, "PROXY header of %zu bytes, at most %d", out->used,
		               SS_PROXY_MAX);
	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++)
		if (sizes[i].family == family)
			bytes = sizes[i].bytes;
	/* The addresses of LOCAL are to be skipped, whatever they are. */
	if (command == V2_PROXY && (bytes == SIZE_MAX || out->used - V2_HEAD < bytes))
		return sm_fail(SM_E_SYNTAX, "PROXY header with bad addresses (family 0x%02x)",
		               family);
	if (in.n < out->used)
		return SM_E_AGAIN;
	if (command == V2_LOCAL)
		return 0;
	in = sm_str_head(in, out->used);
	if (family == TCP4) {
		out->client = in4_at(in, 16, 24);
		out->server = in4_at(in, 20, 26);
		out->told = true;
	} else if (family == TCP6) {
		out->client = in6_at(in, 16, 48);
		out->server = in6_at(in, 32, 50);
		out->told = true;
	}
	return check_tlvs(in, V2_HEAD + bytes);
}

int ss_proxy_parse(struct sm_str in, struct ss_proxy *out)
{
	const struct sm_str words[] = {v1_word, v2_word};

	*out = (struct ss_proxy){.told = false};
	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++) {
		int rc;

		if (!sm_str_has_prefix(words[i], sm_str_head(in, words[i].n)))
			continue;
		if (in.n < words[i].n)
			return SM_E_AGAIN;
		rc = i == 0 ? parse_v1(in, out) : parse_v2(in, out);
		if (rc == 0 && out->told && sm_sa_is_bogus(&out->client))
			rc = sm_fail(SM_E_SYNTAX, "PROXY header of a client that cannot be");
		return rc;
	}
	return sm_fail(SM_E_SYNTAX, "no PROXY header");
}
