/*
 * dnsd: answers DNS over UDP from a small zone file, fast, so that a measurement measures the
 * asker.
 *
 * Zone file: "name type ttl data", one record a line, '#' comments. Types: A AAAA MX ("pref host")
 * TXT CNAME PTR NS. A name that begins with "*." stands for everything below it that has no record
 * of its own; "*" for everything. CNAMEs of the zone are followed. A name without any record:
 * NXDOMAIN; without one of the type: no data; both with an SOA (TTL 60), so that they may be
 * cached.
 *
 * Invariant: the answer never passes 512 bytes; what does not fit is left out and TC set. One
 * thread.
 */
#include "config.h"
#include "checks/bench/common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { NAME_MAX_TEXT = 256, BUCKETS = 65536, PACKET = 512, HEADER = 12, CNAMES_MAX = 8 };
enum {
	T_A = 1,
	T_NS = 2,
	T_CNAME = 5,
	T_SOA = 6,
	T_PTR = 12,
	T_MX = 15,
	T_TXT = 16,
	T_AAAA = 28,
	T_ANY = 255
};

struct record {
	struct record *next;
	char *name; /* lower case, no trailing dot */
	uint16_t type;
	uint32_t ttl;
	char *target;  /* NS CNAME PTR MX */
	uint8_t *data; /* A AAAA TXT: as on the wire; MX: the preference */
	size_t len;
};

struct packet {
	uint8_t b[PACKET];
	size_t n;
	bool full;
};

static struct record *table[BUCKETS];
static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static uint32_t hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h % BUCKETS;
}

static void fold(char *s)
{
	size_t n = strlen(s);

	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s | 32);
	if (n > 1 && s[-1] == '.')
		s[-1] = '\0';
}

static uint16_t type_of(const char *word)
{
	static const struct {
		const char *word;
		uint16_t type;
	} types[] = {{"A", T_A},   {"AAAA", T_AAAA},   {"MX", T_MX},  {"TXT", T_TXT},
	             {"NS", T_NS}, {"CNAME", T_CNAME}, {"PTR", T_PTR}};
	size_t i;

	for (i = 0; i < sizeof types / sizeof types[0]; i++)
		if (!strcasecmp(word, types[i].word))
			return types[i].type;
	return 0;
}

static void *copy(const void *p, size_t n)
{
	void *q = malloc(n);

	if (!q)
		die("memory");
	return memcpy(q, p, n);
}

/* Fill in what the type wants; false: bad data. */
static bool data_of(struct record *r, char *text)
{
	uint8_t raw[256];
	char host[NAME_MAX_TEXT];
	int pref;

	switch (r->type) {
	case T_A:
	case T_AAAA:
		r->len = r->type == T_A ? 4 : 16;
		if (inet_pton(r->type == T_A ? AF_INET : AF_INET6, text, raw) != 1)
			return false;
		break;
	case T_TXT:
		r->len = strlen(text) + 1;
		if (r->len > 256)
			return false;
		raw[0] = (uint8_t)(r->len - 1);
		memcpy(raw + 1, text, r->len - 1);
		break;
	case T_MX:
		if (sscanf(text, "%d %255s", &pref, host) != 2)
			return false;
		raw[0] = (uint8_t)(pref >> 8);
		raw[1] = (uint8_t)pref;
		r->len = 2;
		text = host;
		break;
	default:
		break;
	}
	if (r->type == T_MX || r->type == T_NS || r->type == T_CNAME || r->type == T_PTR) {
		if (strlen(text) >= NAME_MAX_TEXT)
			return false;
		fold(text);
		r->target = copy(text, strlen(text) + 1);
	}
	r->data = copy(raw, r->len);
	return true;
}

static size_t zone_load(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[1024], name[NAME_MAX_TEXT], type[16];
	unsigned ttl;
	int at, number = 0;
	size_t count = 0;

	if (!f)
		die(path);
	while (fgets(line, sizeof line, f)) {
		struct record *r, **p;

		number++;
		line[strcspn(line, "#\r\n")] = '\0';
		if (line[strspn(line, " \t")] == '\0')
			continue;
		r = calloc(1, sizeof *r);
		if (!r)
			die("memory");
		at = 0;
		if (sscanf(line, "%255s %15s %u %n", name, type, &ttl, &at) != 3 || !at ||
		    !(r->type = type_of(type)))
			die_text("%s:%d: want: name type ttl data", path, number);
		fold(name);
		r->name = copy(name, strlen(name) + 1);
		r->ttl = ttl;
		if (!data_of(r, line + at))
			die_text("%s:%d: bad data", path, number);
		for (p = &table[hash(r->name)]; *p; p = &(*p)->next)
			;
		*p = r; /* at the end: answers come in the order of the file */
		count++;
	}
	fclose(f);
	return count;
}

static bool exists(const char *name)
{
	const struct record *r;

	for (r = table[hash(name)]; r; r = r->next)
		if (!strcmp(r->name, name))
			return true;
	return false;
}

/* The owner whose records answer for `name`: itself, or the nearest wildcard; NULL: none. */
static const char *owner_of(const char *name, char *wild)
{
	const char *p = name;

	if (exists(name))
		return name;
	while ((p = strchr(p, '.')) != NULL) {
		snprintf(wild, NAME_MAX_TEXT + 2, "*%s", p);
		if (exists(wild))
			return wild;
		p++;
	}
	return exists("*") ? "*" : NULL;
}

static void put(struct packet *k, const void *p, size_t n)
{
	if (k->n + n > sizeof k->b) {
		k->full = true;
		return;
	}
	memcpy(k->b + k->n, p, n);
	k->n += n;
}

static void put16(struct packet *k, unsigned v)
{
	uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	put(k, b, 2);
}

static void put_name(struct packet *k, const char *name)
{
	while (*name && strcmp(name, ".")) {
		size_t n = strcspn(name, ".");
		uint8_t len = (uint8_t)(n < 63 ? n : 63);

		put(k, &len, 1);
		put(k, name, len);
		name += n;
		if (*name == '.')
			name++;
	}
	put(k, "", 1);
}

/* Name (a pointer to the question when it is the asked one), type, class, TTL, length, data. False:
 * it did not fit. */
static bool put_record(struct packet *k, const char *name, bool asked, const struct record *r)
{
	size_t before = k->n, length_at;

	if (asked)
		put16(k, 0xc000 | HEADER);
	else
		put_name(k, name);
	put16(k, r->type);
	put16(k, 1);
	put16(k, r->ttl >> 16);
	put16(k, r->ttl & 0xffff);
	length_at = k->n;
	put16(k, 0);
	put(k, r->data, r->len);
	if (r->target)
		put_name(k, r->target);
	if (k->full) {
		k->n = before;
		return false;
	}
	k->b[length_at] = (uint8_t)((k->n - length_at - 2) >> 8);
	k->b[length_at + 1] = (uint8_t)(k->n - length_at - 2);
	return true;
}

static void put_soa(struct packet *k)
{
	static const uint32_t numbers[5] = {1, 3600, 600, 86400, 60};
	size_t length_at, i;

	put_name(k, "test");
	put16(k, T_SOA);
	put16(k, 1);
	put16(k, 0);
	put16(k, 60);
	length_at = k->n;
	put16(k, 0);
	put_name(k, "ns.test");
	put_name(k, "root.test");
	for (i = 0; i < 5; i++) {
		uint32_t v = htonl(numbers[i]);

		put(k, &v, 4);
	}
	k->b[length_at + 1] = (uint8_t)(k->n - length_at - 2);
}

/* The question's name as text; gives the offset behind it, 0 when it is malformed. */
static size_t question_name(const uint8_t *q, size_t n, char *out)
{
	size_t at = HEADER, o = 0;

	for (;;) {
		if (at >= n)
			return 0;
		if (q[at] == 0)
			break;
		if (q[at] > 63 || at + 1 + q[at] >= n || o + q[at] + 2 > NAME_MAX_TEXT)
			return 0;
		if (o)
			out[o++] = '.';
		memcpy(out + o, q + at + 1, q[at]);
		o += q[at];
		at += 1 + (size_t)q[at];
	}
	out[o] = '\0';
	fold(out);
	return at + 1;
}

/* The answer section, CNAMEs followed. Gives the number of answers; *found: the name is there. */
static unsigned answers(struct packet *k, const char *name, uint16_t type, bool *found)
{
	char wild[NAME_MAX_TEXT + 2];
	unsigned count = 0;
	int hops;

	*found = false;
	for (hops = 0; hops < CNAMES_MAX; hops++) {
		const char *owner = owner_of(name, wild), *next = NULL;
		const struct record *r;

		if (!owner)
			break;
		*found = true;
		for (r = table[hash(owner)]; r; r = r->next) {
			if (strcmp(r->name, owner) ||
			    (r->type != type && r->type != T_CNAME && type != T_ANY))
				continue;
			if (!put_record(k, name, hops == 0, r))
				return count;
			count++;
			if (r->type == T_CNAME && type != T_CNAME)
				next = r->target;
		}
		if (!next)
			break;
		name = next;
	}
	return count;
}

/* Gives the length of the answer in k, 0: none. */
static size_t answer(const uint8_t *q, size_t n, struct packet *k)
{
	char name[NAME_MAX_TEXT];
	size_t end;
	unsigned count = 0, rcode = 0;
	bool found = true;

	if (n < HEADER || q[2] & 0x80)
		return 0;
	memset(k, 0, sizeof *k);
	k->n = HEADER;
	memcpy(k->b, q, 2);
	end = question_name(q, n, name);
	if (!end || end + 4 > n || q[4] || q[5] != 1) {
		rcode = 1;
	} else {
		put(k, q + HEADER, end + 4 - HEADER);
		k->b[5] = 1;
		count = answers(k, name, (uint16_t)(q[end] << 8 | q[end + 1]), &found);
		rcode = found ? 0 : 3;
		if (!count && !k->full) {
			put_soa(k);
			k->b[9] = 1;
		}
	}
	k->b[2] = (uint8_t)(0x84 | (q[2] & 0x79) | (k->full ? 2 : 0));
	k->b[3] = (uint8_t)(0x80 | rcode);
	k->b[7] = (uint8_t)count;
	return k->n;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct address a;
	struct packet k;
	uint8_t q[4096];
	long asked = 0;
	double user, sys;
	int fd, size = 4 << 20;

	if (argc != 3) {
		fputs("usage: dnsd ADDRESS:PORT ZONEFILE\n", stderr);
		return 2;
	}
	address_parse(argv[1], &a);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	printf("records %zu\n", zone_load(argv[2]));
	fd = socket(a.ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a.ss, a.len))
		die("bind");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		struct sockaddr_storage from;
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(fd, q, sizeof q, 0, (struct sockaddr *)&from, &len);
		size_t m;

		if (n < 0)
			continue;
		asked++;
		m = answer(q, (size_t)n, &k);
		if (m && sendto(fd, k.b, m, 0, (struct sockaddr *)&from, len) < 0 &&
		    errno != EAGAIN)
			perror("dnsd: sendto");
	}
	cpu_used(&user, &sys);
	printf("asked %ld cpu_user %.2f cpu_sys %.2f\n", asked, user, sys);
	return 0;
}
