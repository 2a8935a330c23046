/* Interned strings against a plain model, the packing of what is left of them, and reasons. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/rand.h"
#include "qmgr/atoms.h"
#include "qmgr/pool.h"
#include "qmgr/reason.h"

static void once_each(void **state)
{
	struct qm_atoms *a = qm_atoms_new();
	uint32_t x = qm_atoms_take(a, SM_STR("example.org")), y, stamp;

	(void)state;
	assert_int_equal(qm_atoms_take(a, SM_STR("")), 0);
	assert_int_equal(qm_atoms_text(a, 0).n, 0);
	assert_int_not_equal(x, 0);
	assert_int_equal(qm_atoms_take(a, SM_STR("example.org")), x);
	assert_int_equal(qm_atoms_find(a, SM_STR("example.org")), x);
	assert_int_equal(qm_atoms_find(a, SM_STR("Example.org")), 0);
	assert_int_equal(qm_atoms_count(a), 1);
	stamp = qm_atoms_stamp(a, x);
	qm_atoms_drop(a, x);
	assert_int_equal(qm_atoms_find(a, SM_STR("example.org")), x);
	assert_int_equal(qm_atoms_stamp(a, x), stamp);
	qm_atoms_drop(a, x);
	qm_atoms_drop(a, 0);
	assert_int_equal(qm_atoms_find(a, SM_STR("example.org")), 0);
	assert_int_equal(qm_atoms_count(a), 0);
	y = qm_atoms_take(a, SM_STR("other.example"));
	assert_int_equal(y, x); /* the number is free again */
	assert_int_not_equal(qm_atoms_stamp(a, y), stamp);
	qm_atoms_free(&a);
	assert_null(a);
}

static void bounded(void **state)
{
	struct qm_atoms *a = qm_atoms_new();
	uint32_t x = qm_atoms_take_bounded(a, SM_STR("a"), 2);

	(void)state;
	assert_int_not_equal(qm_atoms_take_bounded(a, SM_STR("b"), 2), 0);
	assert_int_equal(qm_atoms_take_bounded(a, SM_STR("c"), 2), 0);
	assert_int_equal(qm_atoms_take_bounded(a, SM_STR("a"), 2), x); /* no new one */
	qm_atoms_free(&a);
}

#define MODEL 2000

/* Long and short ones come and go: each keeps its text, and memory follows what is there. */
static void against_a_model(void **state)
{
	struct qm_atoms *a = qm_atoms_new();
	uint32_t atom[MODEL] = {0}, users[MODEL] = {0};
	static char text[MODEL][400];
	size_t live = 0, most = 0;

	(void)state;
	sm_rand_seed(11);
	for (unsigned i = 0; i < MODEL; i++) {
		size_t n = 1 + sm_rand_below(i % 50 ? 30 : 380);

		snprintf(text[i], sizeof(text[i]), "%u", i);
		memset(text[i] + strlen(text[i]), 'a' + (int)(i % 26), n);
	}
	for (unsigned round = 0; round < 400000; round++) {
		unsigned k = (unsigned)sm_rand_below(round % 100000 < 50000 ? MODEL : MODEL / 20);

		if (sm_rand_below(2)) {
			atom[k] = qm_atoms_take(a, sm_str(text[k]));
			live += users[k]++ == 0;
		} else if (users[k] > 0) {
			qm_atoms_drop(a, atom[k]);
			live -= --users[k] == 0;
		}
		if (round % 1000)
			continue;
		assert_int_equal(qm_atoms_count(a), live);
		for (unsigned i = 0; i < MODEL; i++) {
			if (users[i])
				assert_true(sm_str_eq(qm_atoms_text(a, atom[i]), sm_str(text[i])));
			assert_int_equal(qm_atoms_find(a, sm_str(text[i])), users[i] ? atom[i] : 0);
		}
		most = SM_MAX(most, qm_atoms_bytes(a));
	}
	assert_true(most < 4u * 1024 * 1024);
	qm_atoms_free(&a);
}

/* ---- the pool below ---- */

#define PIECES 3000

static uint32_t places[PIECES];

static uint32_t *place(void *arg, uint32_t owner)
{
	(void)arg;
	return &places[owner];
}

static size_t piece_bytes(unsigned i, unsigned version)
{
	return i % 100 == 0 ? 5000 + version % 100000 : (i * 7 + version) % 200;
}

static void put(struct qm_pool *p, unsigned i, unsigned version)
{
	static char bytes[110000];
	size_t n = piece_bytes(i, version);

	memset(bytes, (int)((i + version) % 251), n);
	places[i] = qm_pool_put(p, i, sm_str_n(bytes, n));
	assert_int_not_equal(places[i], 0);
}

static void check(const struct qm_pool *p, unsigned i, unsigned version)
{
	struct sm_str s = qm_pool_get(p, places[i]);

	assert_int_equal(s.n, piece_bytes(i, version));
	for (size_t k = 0; k < s.n; k++)
		assert_int_equal((uint8_t)s.p[k], (i + version) % 251);
}

static void packed(void **state)
{
	unsigned versions[PIECES] = {0};
	struct qm_pool p;
	size_t live = 0;

	(void)state;
	qm_pool_init(&p, place, NULL);
	memset(places, 0, sizeof(places));
	for (unsigned round = 1; round < 200000; round++) {
		unsigned i = (unsigned)sm_rand_below(PIECES);
		uint32_t old = places[i];

		if (old) {
			check(&p, i, versions[i]);
			live -= piece_bytes(i, versions[i]);
			places[i] = 0;
			qm_pool_drop(&p, old);
		}
		if (old == 0 || round % 3) {
			versions[i] = round;
			live += piece_bytes(i, round);
			put(&p, i, round);
		}
		if (round % 5000)
			continue;
		for (unsigned k = 0; k < PIECES; k++)
			if (places[k])
				check(&p, k, versions[k]);
		/* A quarter of waste, a few chunks, and the ends of chunks. */
		assert_true(qm_pool_bytes(&p) < live * 2 + 4u * 1024 * 1024);
	}
	for (unsigned k = 0; k < PIECES; k++) {
		uint32_t old = places[k];

		places[k] = 0;
		if (old)
			qm_pool_drop(&p, old);
	}
	assert_int_equal(p.live_bytes, 0);
	assert_true(qm_pool_bytes(&p) <= 3u * 1024 * 1024);
	qm_pool_fini(&p);
}

/* ---- reasons ---- */

static void reasons(void **state)
{
	static const struct {
		uint16_t code;
		const char *text, *want, *shorter;
		uint16_t found;
	} cases[] = {
	    {450, "4.2.2 mailbox 17 full", "450 4.2.2 mailbox # full", "450 4.2.2", 450},
	    {451, "try again at 12:30\nref <abc1@x>", "451 try again at # ref #", "451", 451},
	    {421, "", "421", "421", 421},
	    {0, "connection refused by 10.0.0.1", "connection refused by #", "other", 0},
	    {0, "4.4.1 timeout", "4.4.1 timeout", "4.4.1", 0},
	    {0, "", "", "other", 0},
	    {0, "450 forged", "# forged", "other", 0},
	    {554, "no 5.7.1 in front", "554 no # in front", "554", 554},
	    {550, "5.7.1.2 strange", "550 # strange", "550", 550},
	    {550, "5.7.1234 strange", "550 # strange", "550", 550},
	    {550, "  5.7.1\t\ttoo   many  blanks ", "550 5.7.1 too many blanks", "550 5.7.1", 550},
	    {250, "3.1.1 no class", "250 # no class", "250", 250},
	};
	char out[QM_REASON_MAX], longer[600];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct sm_str s = qm_reason(cases[i].code, sm_str(cases[i].text), out);

		if (!sm_str_eq(s, sm_str(cases[i].want)) ||
		    !sm_str_eq(qm_reason_short(s), sm_str(cases[i].shorter)))
			fail_msg("%zu: \"" SM_STR_FMT "\" \"" SM_STR_FMT "\"", i, SM_STR_ARG(s),
			         SM_STR_ARG(qm_reason_short(s)));
		assert_int_equal(qm_reason_code(s), cases[i].found);
	}
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(qm_reason(450, sm_str_n(longer, sizeof(longer)), out).n, QM_REASON_MAX);
	for (size_t i = 1; i < sizeof(longer); i += 2)
		longer[i] = ' ';
	assert_int_equal(qm_reason(450, sm_str_n(longer, sizeof(longer)), out).n, QM_REASON_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(once_each),       cmocka_unit_test(bounded),
	    cmocka_unit_test(against_a_model), cmocka_unit_test(packed),
	    cmocka_unit_test(reasons),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
