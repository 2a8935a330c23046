/*
 * The parser of DNS answers. Invariants: no byte outside of the packet is read; a compression
 * pointer only ever leads to a place before the one that holds it, so that names end; a name leaves
 * this file only as a host name in lower case, but for an alias, which may have slashes (RFC 2317:
 * "0/25.2.0.192.in-addr.arpa", a part of a net). The work is bounded by the packet's length times a
 * name's. Pure; any thread.
 */
#include "smar/dns_msg.h"

#include "libsm/addr.h"

enum {
	HEADER_BYTES = 12,
	CLASS_IN = 1,
	FLAG_RESPONSE = 0x8000,
	FLAG_AUTHORITATIVE = 0x0400,
	FLAG_TRUNCATED = 0x0200,
	FLAG_RECURSION_AVAILABLE = 0x0080,
	FLAG_AUTHENTIC_DATA = 0x0020,
	RCODE = 0x000F,
	RCODE_FORMERR = 1,
	RCODE_NXDOMAIN = 3,
	RCODE_NOTIMP = 4,
	RCODE_REFUSED = 5,
	HOPS_MAX = 32,     /* compression pointers in a name */
	RECORDS_MAX = 1024 /* looked at in an answer */
};

struct reader {
	const uint8_t *packet;
	size_t size, at;
	bool bad;
};

struct record {
	char owner[AR_DNS_NAME_MAX + 1];
	bool owner_ok; /* can be compared */
	uint16_t type, class;
	uint32_t ttl;
	size_t data, data_end;
};

static unsigned get16(struct reader *r)
{
	unsigned v;

	if (r->bad || r->size < r->at + 2) {
		r->bad = true;
		return 0;
	}
	v = (unsigned)r->packet[r->at] << 8 | r->packet[r->at + 1];
	r->at += 2;
	return v;
}

static uint32_t get32(struct reader *r)
{
	uint32_t high = get16(r);

	return high << 16 | get16(r);
}

/*
 * The name at r->at as text in lower case without the last dot; the root is "". Gives whether every
 * byte may stand in a host name, or service label, or is a slash; otherwise the text is of no use,
 * but the place behind the name is right.
 */
static bool get_name(struct reader *r, char out[AR_DNS_NAME_MAX + 1])
{
	size_t at = r->at, behind = 0, n = 0, wire = 1;
	unsigned hops = 0;
	bool clean = true;

	for (;;) {
		unsigned len;

		if (r->bad || at >= r->size)
			goto bad;
		len = r->packet[at];
		if (len >= 0xC0) {
			size_t to;

			if (r->size - at < 2)
				goto bad;
			to = (size_t)(len & 0x3F) << 8 | r->packet[at + 1];
			if (behind == 0)
				behind = at + 2;
			/* Only backwards: no loop can be built. */
			if (to >= at || ++hops > HOPS_MAX)
				goto bad;
			at = to;
			continue;
		}
		if (len >= 0x40)
			goto bad;
		at++;
		if (len == 0)
			break;
		wire += len + 1;
		if (r->size - at < len || wire > AR_DNS_NAME_MAX)
			goto bad;
		if (n > 0)
			out[n++] = '.';
		for (unsigned i = 0; i < len; i++) {
			char c = sm_lower((char)r->packet[at + i]);

			clean = clean && (sm_isalnum(c) || c == '-' || c == '_' || c == '/');
			out[n++] = c;
		}
		at += len;
	}
	out[n] = '\0';
	r->at = behind != 0 ? behind : at;
	return clean;
bad:
	r->bad = true;
	out[0] = '\0';
	return false;
}

static void get_record(struct reader *r, struct record *rec)
{
	size_t len;

	rec->owner_ok = get_name(r, rec->owner);
	rec->type = (uint16_t)get16(r);
	rec->class = (uint16_t)get16(r);
	rec->ttl = get32(r);
	if (rec->ttl > INT32_MAX) /* RFC 2181 8 */
		rec->ttl = 0;
	len = get16(r);
	if (r->bad || r->size - r->at < len) {
		r->bad = true;
		return;
	}
	rec->data = r->at;
	rec->data_end = r->at + len;
	r->at = rec->data_end;
}

/* The name that is (the rest of) a record's data, exactly: a host name, but for slashes where they
 * may be. The root gives true and "". */
static bool data_name(const struct reader *all, const struct record *rec, size_t skip, bool slashes,
                      char out[AR_DNS_NAME_MAX + 1])
{
	char plain[AR_DNS_NAME_MAX + 1];
	struct reader r = *all;
	size_t n;
	bool ok;

	if (rec->data_end - rec->data <= skip)
		return false;
	r.at = rec->data + skip;
	ok = get_name(&r, out);
	n = strlen(out);
	for (size_t i = 0; i < n; i++)
		plain[i] = slashes && out[i] == '/' ? '_' : out[i];
	return ok && !r.bad && r.at == rec->data_end &&
	       (n == 0 || sm_domain_valid(sm_str_n(plain, n), true));
}

/* Where to put one more record: the next free place, or that of the worst one when it is worse. */
static struct ar_dns_rr *place(struct ar_dns_msg *m, uint16_t pref)
{
	struct ar_dns_rr *worst = &m->rr[0];

	if (m->count < AR_DNS_RR_MAX)
		return &m->rr[m->count++];
	for (size_t i = 1; i < m->count; i++)
		if (m->rr[i].pref > worst->pref)
			worst = &m->rr[i];
	return worst->pref > pref ? worst : NULL;
}

/* Keep a record of the type that was asked for; false: it is malformed. */
static bool keep(const struct reader *all, const struct record *rec, struct ar_dns_msg *m)
{
	char name[AR_DNS_NAME_MAX + 1] = "";
	size_t len = rec->data_end - rec->data, addr_len = 0;
	const uint8_t *data = all->packet + rec->data;
	struct ar_dns_rr *rr;
	uint16_t pref = 0;

	switch (rec->type) {
	case AR_DNS_A:
	case AR_DNS_AAAA:
		addr_len = rec->type == AR_DNS_A ? 4 : 16;
		if (len != addr_len)
			return false;
		break;
	case AR_DNS_MX:
		if (!data_name(all, rec, 2, false, name))
			return false;
		pref = (uint16_t)(data[0] << 8 | data[1]);
		break;
	case AR_DNS_PTR:
		if (!data_name(all, rec, 0, false, name) || name[0] == '\0')
			return false;
		break;
	default:
		return false;
	}
	rr = place(m, pref);
	if (rr == NULL)
		return true;
	rr->pref = pref;
	memcpy(rr->addr, data, addr_len);
	memcpy(rr->name, name, sizeof(name));
	return true;
}

static void temp(struct ar_dns_msg *m, const char *why)
{
	m->status = AR_DNS_TEMP;
	m->why = why;
	m->count = 0;
}

static bool refuses(unsigned rcode)
{
	return rcode == RCODE_FORMERR || rcode == RCODE_NOTIMP || rcode == RCODE_REFUSED;
}

static void failed(struct ar_dns_msg *m, unsigned rcode)
{
	temp(m, "the server failed or refused");
	m->refused = refuses(rcode);
}

/* How long the server says that there is nothing: RFC 2308 5. */
static uint32_t negative_ttl(struct reader *r, unsigned authority)
{
	for (unsigned i = 0; i < authority && i < RECORDS_MAX; i++) {
		char skip[AR_DNS_NAME_MAX + 1];
		struct reader soa;
		struct record rec;
		uint32_t minimum;

		get_record(r, &rec);
		if (r->bad)
			break;
		if (rec.type != AR_DNS_SOA)
			continue;
		soa = *r;
		soa.at = rec.data;
		soa.size = rec.data_end;
		(void)get_name(&soa, skip);
		(void)get_name(&soa, skip);
		for (int k = 0; k < 4; k++)
			(void)get32(&soa);
		minimum = get32(&soa);
		if (!soa.bad)
			return SM_MIN(SM_MIN(rec.ttl, minimum), AR_DNS_NEGATIVE_MAX);
	}
	return AR_DNS_NEGATIVE;
}

/* Follow the CNAMEs from `current`, which becomes the last name. Gives their number, -1 for a loop
 * or too many. */
static int follow(struct reader r, unsigned answers, char current[AR_DNS_NAME_MAX + 1],
                  uint32_t *ttl)
{
	const size_t first = r.at;

	for (int links = 0; links <= AR_DNS_CNAME_MAX; links++) {
		bool found = false;

		r.at = first;
		for (unsigned i = 0; i < answers && !found; i++) {
			struct record rec;

			get_record(&r, &rec);
			if (rec.type != AR_DNS_CNAME || rec.class != CLASS_IN || !rec.owner_ok ||
			    strcmp(rec.owner, current) != 0)
				continue;
			if (!data_name(&r, &rec, 0, true, current) || current[0] == '\0')
				return -1;
			*ttl = SM_MIN(*ttl, rec.ttl);
			found = true;
		}
		if (!found)
			return links;
	}
	return -1;
}

/* The question has to be ours; the reader then stands at the answers. */
static bool question_ok(struct reader *r, unsigned questions, struct sm_str name, uint16_t type)
{
	char asked[AR_DNS_NAME_MAX + 1];
	unsigned asked_type, asked_class;

	if (questions != 1)
		return false;
	(void)get_name(r, asked);
	asked_type = get16(r);
	asked_class = get16(r);
	return !r->bad && sm_str_eq(sm_str(asked), name) && asked_type == type &&
	       asked_class == CLASS_IN;
}

static void collect(struct reader *r, unsigned answers, struct sm_str name, uint16_t type,
                    unsigned flags, unsigned authority, struct ar_dns_msg *m)
{
	char current[AR_DNS_NAME_MAX + 1];
	uint32_t ttl = AR_DNS_TTL_MAX;
	bool malformed = false;
	int links;

	if (answers > RECORDS_MAX)
		answers = RECORDS_MAX;
	memcpy(current, name.p, name.n);
	current[name.n] = '\0';
	links = follow(*r, answers, current, &ttl);
	if (links < 0) {
		temp(m, "CNAME loop, or too many");
		return;
	}
	for (unsigned i = 0; i < answers; i++) {
		struct record rec;

		get_record(r, &rec);
		if (r->bad) {
			temp(m, "malformed answer");
			return;
		}
		if (rec.type != type || rec.class != CLASS_IN || !rec.owner_ok ||
		    strcmp(rec.owner, current) != 0)
			continue;
		if (!keep(r, &rec, m))
			malformed = true;
		ttl = SM_MIN(ttl, rec.ttl);
	}
	m->ttl_s = SM_MAX(ttl, AR_DNS_TTL_MIN);
	if (m->count > 0) {
		m->status = AR_DNS_OK;
	} else if (malformed) {
		temp(m, "no record of the answer is of use");
	} else if ((flags & RCODE) == RCODE_NXDOMAIN) {
		m->status = AR_DNS_NXDOMAIN;
	} else if (links > 0) {
		m->status = AR_DNS_ALIAS;
		memcpy(m->alias, current, sizeof(current));
	} else if ((flags & (FLAG_AUTHORITATIVE | FLAG_RECURSION_AVAILABLE)) == 0) {
		/* A referral of a server that does not know the name. */
		temp(m, "answer without authority");
	} else {
		m->status = AR_DNS_NODATA;
	}
	if (m->status == AR_DNS_NXDOMAIN || m->status == AR_DNS_NODATA) {
		uint32_t negative = negative_ttl(r, authority);

		m->ttl_s = SM_MAX(SM_MIN(ttl, negative), AR_DNS_TTL_MIN);
	}
}

bool ar_dns_failure(struct sm_str packet, char name[AR_DNS_NAME_MAX + 1], uint16_t *type,
                    bool *refused)
{
	struct reader r = {(const uint8_t *)packet.p, packet.n, 2, false};
	unsigned flags;

	if (packet.n < HEADER_BYTES)
		return false;
	flags = get16(&r);
	*refused = refuses(flags & RCODE);
	if ((flags & FLAG_RESPONSE) == 0 || (flags & RCODE) == 0 ||
	    (flags & RCODE) == RCODE_NXDOMAIN)
		return false;
	r.at = HEADER_BYTES;
	(void)get_name(&r, name);
	*type = (uint16_t)get16(&r);
	return !r.bad;
}

bool ar_dns_is_formerr(struct sm_str packet)
{
	struct reader r = {(const uint8_t *)packet.p, packet.n, 2, false};
	unsigned flags = get16(&r);

	return !r.bad && (flags & FLAG_RESPONSE) != 0 && (flags & RCODE) == RCODE_FORMERR;
}

void ar_dns_parse(struct sm_str packet, struct sm_str name, uint16_t type, struct ar_dns_msg *m)
{
	struct reader r = {(const uint8_t *)packet.p, packet.n, 2, false};
	unsigned flags, questions, answers, authority;

	m->status = AR_DNS_TEMP;
	m->why = NULL;
	m->refused = false;
	m->ad = false;
	m->ttl_s = AR_DNS_TTL_MIN;
	m->alias[0] = '\0';
	m->count = 0;
	if (packet.n < HEADER_BYTES || name.n > AR_DNS_NAME_MAX) {
		temp(m, "short answer");
		return;
	}
	flags = get16(&r);
	questions = get16(&r);
	answers = get16(&r);
	authority = get16(&r);
	(void)get16(&r);
	if ((flags & FLAG_RESPONSE) == 0)
		temp(m, "not an answer");
	else if ((flags & FLAG_TRUNCATED) != 0)
		temp(m, "truncated answer");
	else if ((flags & RCODE) != 0 && (flags & RCODE) != RCODE_NXDOMAIN)
		failed(m, flags & RCODE);
	else if (!question_ok(&r, questions, name, type))
		temp(m, "answer to another question");
	else
		collect(&r, answers, name, type, flags, authority, m);
	m->ad = m->status != AR_DNS_TEMP && (flags & FLAG_AUTHENTIC_DATA) != 0;
}
