/* Every message of the table: there and back, cut short, too long, above its maxima, and readable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/msg.h"

enum { BYTES_MAX = 4 * 1024 * 1024, SEEDS = 100 };

struct env {
	struct sm_arena a;
	struct sm_buf one, two, three;
};

static int set_up(void **state)
{
	static struct env e;

	sm_arena_init(&e.a, "test", 65536, 4 * BYTES_MAX);
	sm_buf_init(&e.one, BYTES_MAX);
	sm_buf_init(&e.two, BYTES_MAX);
	sm_buf_init(&e.three, BYTES_MAX);
	*state = &e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	sm_arena_fini(&e->a);
	sm_buf_fini(&e->one);
	sm_buf_fini(&e->two);
	sm_buf_fini(&e->three);
	return 0;
}

/* A sample of `info` by `seed`, encoded in e->one. Gives the struct. */
static void *sample(struct env *e, const struct sm_def_info *info, uint64_t seed)
{
	void *m;

	sm_arena_reset(&e->a);
	sm_buf_reset(&e->one);
	m = sm_arena_must(&e->a, info->size);
	info->sample(seed, &e->a, m);
	info->encode(&e->one, m);
	assert_int_equal(sm_buf_err(&e->one), 0);
	return m;
}

static void round_trip(void **state)
{
	struct env *e = *state;
	size_t count;
	const struct sm_def_info *rows = sm_msg_table(&count);

	assert_true(count > 20);
	for (size_t i = 0; i < count; i++) {
		assert_ptr_equal(sm_msg_info(rows[i].type), &rows[i]);
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			void *m = sample(e, &rows[i], seed);
			void *back = sm_arena_must(&e->a, rows[i].size);

			assert_int_equal(rows[i].decode(sm_buf_view(&e->one), &e->a, back), 0);
			sm_buf_reset(&e->two);
			rows[i].encode(&e->two, back);
			assert_true(sm_str_eq(sm_buf_view(&e->one), sm_buf_view(&e->two)));

			/* `back` points into e->one. */
			sm_buf_reset(&e->two);
			sm_buf_reset(&e->three);
			rows[i].dump(&e->two, m);
			rows[i].dump(&e->three, back);
			assert_true(sm_str_eq(sm_buf_view(&e->two), sm_buf_view(&e->three)));
		}
	}
	assert_null(sm_msg_info(SM_MSG_NONE_));
	assert_null(sm_msg_info(0xFFFF));
}

static void wrong_length(void **state)
{
	struct env *e = *state;
	size_t count;
	const struct sm_def_info *rows = sm_msg_table(&count);

	for (size_t i = 0; i < count; i++) {
		for (uint64_t seed = 0; seed < 4; seed++) {
			void *back;
			struct sm_str all;

			sample(e, &rows[i], seed);
			all = sm_buf_view(&e->one);
			for (size_t n = 0; n < all.n; n++) {
				sm_arena_reset(&e->a);
				back = sm_arena_must(&e->a, rows[i].size);
				assert_int_not_equal(
				    rows[i].decode(sm_str_head(all, n), &e->a, back), 0);
			}
			sm_buf_char(&e->one, '\0');
			back = sm_arena_must(&e->a, rows[i].size);
			assert_int_equal(rows[i].decode(sm_buf_view(&e->one), &e->a, back),
			                 SM_E_PROTO);
		}
	}
}

static void maxima(void **state)
{
	static char text[513];
	struct env *e = *state;
	struct sm_msg_verdict v = {.code = 550, .text = sm_str_n(text, 512)};
	struct sm_msg_rcpt_new *rcpts = sm_arena_must(&e->a, 1001 * sizeof(*rcpts));
	struct sm_msg_ta_commit ta = {.rcpts_count = 1000, .rcpts = rcpts}, back;

	sm_msg_verdict_encode(&e->one, &v);
	assert_int_equal(sm_buf_err(&e->one), 0);
	v.text.n = 513;
	sm_msg_verdict_encode(&e->one, &v);
	assert_int_equal(sm_buf_err(&e->one), SM_E_TOOBIG);

	/* The reader checks by itself what a writer of another mind sends. */
	sm_buf_reset(&e->one);
	sm_w_u16(&e->one, 550);
	sm_w_str(&e->one, sm_str_n(text, 513));
	sm_w_u32(&e->one, 0);
	assert_int_equal(sm_msg_verdict_decode(sm_buf_view(&e->one), &e->a, &v), SM_E_TOOBIG);

	sm_buf_reset(&e->one);
	sm_msg_ta_commit_encode(&e->one, &ta);
	assert_int_equal(sm_msg_ta_commit_decode(sm_buf_view(&e->one), &e->a, &back), 0);
	assert_int_equal(back.rcpts_count, 1000);
	ta.rcpts_count = 1001;
	sm_buf_reset(&e->one);
	sm_msg_ta_commit_encode(&e->one, &ta);
	assert_int_equal(sm_buf_err(&e->one), SM_E_TOOBIG);

	sm_buf_reset(&e->one);
	ta.rcpts_count = 0;
	sm_msg_ta_commit_encode(&e->one, &ta);
	sm_buf_truncate(&e->one, e->one.len - 4);
	sm_w_u32(&e->one, 1001);
	for (int i = 0; i < 1001; i++)
		sm_msg_rcpt_new_encode(&e->one, rcpts);
	assert_int_equal(sm_msg_ta_commit_decode(sm_buf_view(&e->one), &e->a, &back), SM_E_TOOBIG);
}

/* A count that the rest of the bytes cannot hold takes no memory. */
static void count_without_members(void **state)
{
	struct env *e = *state;
	struct sm_msg_ss_start m;
	size_t before = e->a.used_bytes;

	sm_w_u32(&e->one, 1);
	sm_w_u64(&e->one, 2);
	sm_w_u32(&e->one, 65536);
	sm_w_u64(&e->one, 3);
	assert_int_equal(sm_msg_ss_start_decode(sm_buf_view(&e->one), &e->a, &m), SM_E_PROTO);
	assert_int_equal(e->a.used_bytes, before);
}

static void arena_full(void **state)
{
	struct env *e = *state;
	struct sm_arena tiny;
	struct sm_msg_id_item ids[100] = {{{1, 1}}};
	struct sm_msg_ss_start m = {.open_count = 100, .open = ids}, back;

	sm_msg_ss_start_encode(&e->one, &m);
	sm_arena_init(&tiny, "tiny", 64, 256);
	assert_int_equal(sm_msg_ss_start_decode(sm_buf_view(&e->one), &tiny, &back), SM_E_TOOBIG);
	assert_int_equal(back.open_count, 0);
	sm_arena_fini(&tiny);
}

/* clang-format off */
static const struct {
	uint16_t type;
	const char *fields;
} field_list[] = {
/* Parts get rows of type 0, which no message has. */
#define PART(name)                        {0, ""
#define MSG(name, number, from, to, what) {number, ""
#define U8(f)                             #f " "
#define U16(f)                            #f " "
#define U32(f)                            #f " "
#define U64(f)                            #f " "
#define I64(f)                            #f " "
#define ID(f)                             #f " "
#define SA(f)                             #f " "
#define STR(f, max)                       #f " "
#define ARRAY(f, part, max)               #f " "
#define END(name)                         },
#include "libsm/msg.def"
#include "libsm/def_undef.h"
};
/* clang-format on */

static void dump_has_every_field(void **state)
{
	struct env *e = *state;
	size_t seen = 0, count;

	sm_msg_table(&count);
	for (size_t i = 0; i < SM_ARRAY_SIZE(field_list); i++) {
		const struct sm_def_info *info = sm_msg_info(field_list[i].type);
		struct sm_str rest = sm_str(field_list[i].fields), field;

		if (info == NULL)
			continue;
		seen++;
		sm_buf_reset(&e->two);
		info->dump(&e->two, sample(e, info, 7));
		assert_null(strchr(sm_buf_c(&e->two), '\n'));
		while ((field = sm_str_word(&rest)).n > 0) {
			char key[64];

			snprintf(key, sizeof(key), SM_STR_FMT "=", SM_STR_ARG(field));
			assert_non_null(strstr(sm_buf_c(&e->two), key));
		}
	}
	assert_int_equal(seen, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(wrong_length, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(maxima, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(count_without_members, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(arena_full, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(dump_has_every_field, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
