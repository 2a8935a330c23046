/*
 * What operators type as conditions, one in each line, against mail of the active queue and of the
 * index. Besides crashes: a condition and its opposite share the recipients of a transaction
 * between them, and what a filter remembers of strings changes nothing.
 */
#include <stdlib.h>
#include "libsm/err.h"
#include "qmgr/filter.h"

#define LINES_MOST 8

static struct qm_edbc *edbc;
static struct qm_txn_table txns;
static struct qm_txn *txn;

static void setup(void)
{
	struct qm_rec_rcpt r[3] = {
	    {.addr = SM_STR("info@example.org"),
	     .code = 450,
	     .text = SM_STR("4.2.2 mailbox 17 full"),
	     .host = SM_STR("mx.example.org"),
	     .tries = 3},
	    {.addr = SM_STR("\"a b\"@[192.0.2.1]"), .index = 1, .flags = QM_RCPT_HELD},
	    {.addr = SM_STR("postmaster"), .index = 2, .tries = 1},
	};
	struct qm_rec_txn rec = {.ta = {0x100, 1},
	                         .sender = SM_STR("News@Example.com"),
	                         .size = 4000,
	                         .received_s = 1000,
	                         .rcpts = r,
	                         .rcpts_count = 3};

	edbc = qm_edbc_new();
	qm_edbc_put_rec(edbc, &rec, (struct qm_loc){1, 1, 1});
	qm_txn_table_init(&txns);
	txn = qm_txn_from_rec(&txns, &rec);
}

static unsigned match(struct qm_filter *f, const struct qm_view *v, unsigned *bits)
{
	uint32_t which[3];
	unsigned n = qm_filter_match(f, v, which);

	*bits = 0;
	sm_assert(n <= v->rcpt_count);
	for (unsigned i = 0; i < n; i++) {
		sm_assert(which[i] < v->rcpt_count && (i == 0 || which[i] > which[i - 1]));
		*bits |= 1u << which[i];
	}
	return n;
}

static void opposite(struct sm_str line, const struct qm_view *v, unsigned bits)
{
	char text[4096];
	struct sm_str other;
	struct qm_filter *f;
	unsigned n;

	if (line.n + 1 > sizeof(text))
		return;
	if (line.p[0] == '!') {
		other = sm_str_from(line, 1);
	} else {
		text[0] = '!';
		memcpy(text + 1, line.p, line.n);
		other = sm_str_n(text, line.n + 1);
	}
	sm_assert(qm_filter_new(&other, 1, 5000, &f) == 0);
	match(f, v, &n);
	sm_assert((n ^ bits) == 7);
	qm_filter_free(&f);
}

static void look(const struct sm_str *lines, size_t count, const struct qm_view *v)
{
	struct qm_filter *f;
	unsigned first, again;
	size_t ids;

	if (qm_filter_new(lines, count, 5000, &f) != 0) {
		sm_assert(sm_diag()[0] != '\0');
		return;
	}
	match(f, v, &first);
	match(f, v, &again);
	sm_assert(first == again);
	sm_assert(!qm_filter_whole(f) || first == 0 || first == 7);
	sm_assert(!qm_filter_empty(f) || first == 7);
	(void)qm_filter_ids(f, &ids);
	qm_filter_free(&f);
	if (count == 1)
		opposite(lines[0], v, first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sm_str in = sm_str_n(data, size), lines[LINES_MOST];
	struct sm_arena a;
	struct qm_view v;
	size_t count = 0;

	if (edbc == NULL)
		setup();
	while (in.n > 0 && count < LINES_MOST)
		lines[count++] = sm_str_split(in, '\n', &in);
	sm_arena_init(&a, "fuzz", 1024, 64 * 1024);
	qm_view_of_entry(edbc, qm_edbc_find(edbc, txn->id), &a, &v);
	look(lines, count, &v);
	qm_view_of_txn(txn, &a, &v);
	look(lines, count, &v);
	for (size_t i = 0; i < count; i++)
		look(&lines[i], 1, &v);
	sm_arena_fini(&a);
	return 0;
}
