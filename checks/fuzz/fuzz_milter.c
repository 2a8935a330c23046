/*
 * Fuzz what a filter sends: packets taken apart (milter_proto.c), the text of replies, lists of
 * macros, and its changes applied to a header (header.c), which is then cut into fields again
 * (fields.c). The first byte says how values are spaced; the rest is what the filter sends.
 *
 * Checked: nothing is read behind a packet; a reply that is accepted is 4yz or 5yz; a changed
 * header has as many fields as it should, none with a bare CR or LF or an empty line, and ours is
 * still there, whole.
 */
#include "libsm/err.h"
#include "smtps/fields.h"
#include "smtps/header.h"
#include "smtps/milter_proto.h"

#define OURS "Received: from x\r\n\tby y\r\n"

static size_t fields;
static bool ours_seen, ended_by_blank;

static int on_field(void *arg SM_UNUSED, struct sm_str field)
{
	fields++;
	ours_seen = ours_seen || sm_str_eq(field, SM_STR(OURS));
	return 0;
}

static int on_end(void *arg SM_UNUSED, bool blank)
{
	ended_by_blank = blank;
	return 0;
}

/* There is none behind a header. */
static int on_body(void *arg SM_UNUSED, const char *p SM_UNUSED, size_t n)
{
	sm_assert(n == 0);
	return 0;
}

static void check_header(const struct ss_header *h)
{
	static const struct ss_fields_sink sink = {on_field, on_end, on_body};
	struct ss_fields f;

	fields = 0;
	ours_seen = false;
	ss_fields_init(&f, &sink, NULL, 4 * SS_MP_PACKET_MAX);
	for (size_t i = 0; i < h->n; i++) {
		struct sm_str v = h->v[i];

		for (size_t k = 0; k < v.n; k++) {
			sm_assert(v.p[k] != '\n' || (k > 0 && v.p[k - 1] == '\r'));
			sm_assert(v.p[k] != '\r' || (k + 1 < v.n && v.p[k + 1] == '\n'));
		}
		sm_assert(ss_fields_feed(&f, v.p, v.n) == 0);
	}
	sm_assert(ss_fields_finish(&f) == 0);
	ss_fields_fini(&f);
	sm_assert(fields == h->n && ours_seen && !ended_by_blank);
	sm_assert(h->ours < h->n && sm_str_eq(h->v[h->ours], SM_STR(OURS)));
}

static void check_text(const struct ss_mp_reply *r)
{
	struct sm_buf b;

	sm_assert(r->reply >= 400 && r->reply <= 599);
	sm_buf_init(&b, SS_MP_PACKET_MAX);
	ss_mp_reply_text(r, &b);
	sm_assert(sm_buf_err(&b) == 0 && b.len <= r->value.n);
	sm_buf_fini(&b);
}

static void check_lists(struct sm_str lists)
{
	struct sm_str names;
	uint32_t stage;

	while (ss_mp_list_next(&lists, &stage, &names) == 1)
		sm_assert(sm_str_chr(names, '\0') < 0);
}

/* What we offer is read as it was meant. */
static void check_optneg(const struct ss_mp_reply *r)
{
	struct ss_mp_packet packet;
	struct ss_mp_reply again;
	struct sm_buf b;
	size_t used;

	sm_buf_init(&b, SS_MP_PACKET_MAX);
	ss_mp_optneg(&b, r->version, r->actions & ss_mp_actions(r->version),
	             r->steps & ss_mp_steps(r->version));
	sm_assert(ss_mp_packet(sm_buf_view(&b), &packet, &used) == 1 && used == b.len);
	sm_assert(ss_mp_reply(&packet, &again) == 0 && again.code == SS_MP_OPTNEG);
	sm_assert(again.version == r->version && again.args.n == 0);
	sm_assert((again.actions & ~r->actions) == 0 && (again.steps & ~r->steps) == 0);
	sm_buf_fini(&b);
}

static void change(struct ss_header *h, struct sm_arena *a, enum ss_header_change_kind kind,
                   const struct ss_mp_reply *r, bool spaced)
{
	struct ss_header_change *c;

	if (ss_header_change_new(a, kind, r->index, r->name, r->value, spaced, &c) == 0)
		ss_header_apply(h, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct sm_str header[] = {SM_STR(OURS), SM_STR("A: 1\r\n"),
	                                       SM_STR("B: 2\r\n 3\r\n"), SM_STR("A: 4\r\n")};
	struct sm_str in;
	struct ss_mp_packet packet;
	struct ss_mp_reply r;
	struct ss_header h;
	struct sm_arena a;
	size_t used;

	if (n == 0 || n > 100000)
		return 0;
	in = sm_str_n(p + 1, n - 1);
	sm_arena_init(&a, "changes", 1024, 8 * 1024 * 1024);
	ss_header_init(&h, 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(header); i++)
		ss_header_push(&h, header[i]);
	while (ss_mp_packet(in, &packet, &used) == 1) {
		sm_assert(used >= SS_MP_HEAD && used <= in.n);
		in = sm_str_from(in, used);
		if (ss_mp_reply(&packet, &r) != 0)
			continue;
		if (r.code == SS_MR_REPLYCODE)
			check_text(&r);
		else if (r.code == SS_MP_OPTNEG) {
			check_lists(r.args);
			check_optneg(&r);
		} else if (r.code == SS_MR_ADDHEADER)
			change(&h, &a, SS_HEADER_ADD, &r, p[0] & 1);
		else if (r.code == SS_MR_INSHEADER)
			change(&h, &a, SS_HEADER_INSERT, &r, p[0] & 1);
		else if (r.code == SS_MR_CHGHEADER)
			change(&h, &a, SS_HEADER_REPLACE, &r, p[0] & 1);
	}
	check_header(&h);
	ss_header_fini(&h);
	sm_arena_fini(&a);
	return 0;
}
