/*
 * The map of limits for single addresses, read from a file as qmgr does, and pair by pair as from a
 * Berkeley DB. Besides crashes: a map that is taken says of the first address of each of its
 * prefixes what the line says, when that line is alone; and reading it twice changes nothing.
 */
#include <ctype.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "libsm/err.h"
#include "qmgr/limits.h"

#define NOTHING 0xffffffffu

static const char *const kinds[QM_LIMIT_KINDS] = {
    [QM_LIMIT_OCI] = "oci", [QM_LIMIT_OCM] = "ocm", [QM_LIMIT_OMR] = "omr",
    [QM_LIMIT_ICR] = "icr", [QM_LIMIT_ICM] = "icm",
};

/* An address with its port: it is the only one. */
static bool server(struct sm_str text, struct sm_sa *sa)
{
	ptrdiff_t colon = sm_str_rchr(text, ':');
	struct sm_str host = sm_str_head(text, colon < 0 ? 0 : (size_t)colon);
	uint64_t port;

	if (colon < 0 || sm_str_u64(sm_str_from(text, (size_t)colon + 1), 10, 65535, &port) != 0 ||
	    port == 0)
		return false;
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		return sm_sa_ip(sa, sm_str_n(host.p + 1, host.n - 2), (uint16_t)port) == 0;
	return sm_str_chr(host, ':') < 0 && sm_sa_ip(sa, host, (uint16_t)port) == 0;
}

/* The first address that begins so: with zeros behind it. Another way to read a prefix than that of
 * qmgr. */
static bool first_address(struct sm_str prefix, struct sm_sa *sa)
{
	char text[128];
	bool six = sm_str_has_caseprefix(prefix, SM_STR("IPv6:"));
	unsigned parts = 1;

	if (!six && server(prefix, sa))
		return true;
	if (six)
		prefix = sm_str_from(prefix, 5);
	if (prefix.n + 32 > sizeof(text) || (six && prefix.n == 0))
		return false;
	if (sm_sa_ip(sa, prefix, 25) == 0)
		return true;
	six = six || sm_str_chr(prefix, ':') >= 0;
	if (prefix.n > 0 && (prefix.p[prefix.n - 1] == '.' || prefix.p[prefix.n - 1] == ':'))
		prefix.n--;
	for (size_t i = 0; i < prefix.n; i++)
		parts += prefix.p[i] == (six ? ':' : '.');
	snprintf(text, sizeof(text), SM_STR_FMT, SM_STR_ARG(prefix));
	for (size_t n = prefix.n; parts < (six ? 8u : 4u); parts++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, six ? ":0" : ".0");
	return sm_sa_ip(sa, sm_str(text), 25) == 0;
}

/* A line, or pair, alone. */
static void one(struct sm_str key, struct sm_str value)
{
	struct qm_limits *l = qm_limits_new();
	/* A word alone may come without its colon: createmap takes it for the end of the key. */
	struct sm_str prefix, word = sm_str_split(key, ':', &prefix);
	struct sm_sa sa = {0};

	if (qm_limits_add(l, key, value) != 0) {
		sm_assert(sm_diag()[0] != '\0' && qm_limits_count(l) == 0);
	} else if (sm_str_caseeq(word, SM_STR("octo"))) {
		int64_t ms = qm_limits_octo_ms(l, -1);

		sm_assert(ms >= 1000 && ms <= 30 * 86400 * 1000LL);
	} else {
		unsigned got = NOTHING;

		if (prefix.n == 0 || first_address(prefix, &sa))
			for (int k = 0; k < QM_LIMIT_KINDS; k++)
				if (sm_str_caseeq(word, sm_str(kinds[k])))
					got = qm_limits_get(l, (enum qm_limit)k, &sa, NOTHING);
		sm_assert(qm_limits_count(l) == 1 && got <= 1000000);
	}
	qm_limits_free(&l);
}

static struct qm_limits *load(struct sm_str text)
{
	struct qm_limits *l;
	char path[64];
	int fd = memfd_create("map", MFD_CLOEXEC);

	sm_assert(fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (qm_limits_load(path, &l) != 0) {
		sm_assert(l == NULL && sm_str_has_prefix(sm_str(sm_diag()), sm_str(path)));
	} else {
		size_t count = qm_limits_count(l);

		sm_assert(qm_limits_parse(l, "again", text) == 0 && qm_limits_count(l) == count);
	}
	close(fd);
	return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str text = sm_str_n(p, n), rest = text;
	struct qm_limits *l;

	if (n == 0)
		return 0;
	l = load(text);
	qm_limits_free(&l);
	for (int i = 0; rest.p != NULL && rest.n > 0 && i < 100; i++) {
		struct sm_str s = sm_str_trim(sm_str_split(rest, '\n', &rest));
		size_t end = 0;

		while (end < s.n && !isspace((unsigned char)s.p[end]))
			end++;
		one(sm_str_head(s, end), sm_str_trim(sm_str_from(s, end)));
	}
	return 0;
}
