/* Packets of the milter protocol: what is written, and what is taken apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "smtps/milter_proto.h"

#define BYTES(lit) SM_STR(lit)

static void assert_bytes(struct sm_str got, struct sm_str want)
{
	assert_int_equal(got.n, want.n);
	assert_memory_equal(got.p, want.p, want.n);
}

/* ---- writing ---- */

static void t_negotiation(void **state)
{
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 1000);
	ss_mp_optneg(&b, 6, ss_mp_actions(6), ss_mp_steps(6));
	assert_bytes(sm_buf_view(&b), BYTES("\0\0\0\15O\0\0\0\6\0\0\1\377\0\37\377\377"));
	sm_buf_reset(&b);
	ss_mp_optneg(&b, 2, ss_mp_actions(2), ss_mp_steps(2));
	assert_bytes(sm_buf_view(&b), BYTES("\0\0\0\15O\0\0\0\2\0\0\0\77\0\0\0\177"));
	assert_int_equal(ss_mp_steps(3), 0x17f);
	assert_int_equal(ss_mp_steps(4), 0x37f);
	assert_int_equal(ss_mp_steps(5), 0x37f);
	sm_buf_fini(&b);
}

static void t_connect(void **state)
{
	struct sm_sa sa;
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 1000);
	assert_int_equal(sm_sa_ip(&sa, SM_STR("192.0.2.1"), 0x1234), 0);
	ss_mp_connect(&b, SM_STR("a.test"), &sa);
	assert_bytes(sm_buf_view(&b), BYTES("\0\0\0\25Ca.test\0004\22\064192.0.2.1\0"));
	sm_buf_reset(&b);
	assert_int_equal(sm_sa_ip(&sa, SM_STR("2001:db8::1"), 25), 0);
	ss_mp_connect(&b, SM_STR("x"), &sa);
	assert_bytes(sm_buf_view(&b), BYTES("\0\0\0\22Cx\0006\0\0312001:db8::1\0"));
	sm_buf_reset(&b);
	assert_int_equal(sm_sa_ip(&sa, SM_STR("::ffff:192.0.2.1"), 25), 0);
	ss_mp_connect(&b, SM_STR("x"), &sa);
	assert_bytes(sm_buf_view(&b), BYTES("\0\0\0\20Cx\0004\0\031192.0.2.1\0"));
	sm_buf_reset(&b);
	assert_int_equal(sm_sa_unix(&sa, SM_STR("/x")), 0);
	ss_mp_connect(&b, SM_STR("localhost"), &sa);
	assert_bytes(sm_buf_view(&b), BYTES("\0\0\0\21Clocalhost\0L\0\0/x\0"));
	sm_buf_reset(&b);
	sa = (struct sm_sa){.len = 0};
	ss_mp_connect(&b, SM_STR("x"), &sa);
	assert_bytes(sm_buf_view(&b), BYTES("\0\0\0\4Cx\0U"));
	sm_buf_fini(&b);
}

static void t_text(void **state)
{
	struct sm_buf b;
	size_t at;

	(void)state;
	sm_buf_init(&b, 1000);
	sm_buf_char(&b, 'x');
	at = ss_mp_begin(&b, SS_MP_HELO);
	ss_mp_text(&b, BYTES("a\0b"));
	ss_mp_text(&b, SM_STR_NONE);
	ss_mp_end(&b, at);
	assert_bytes(sm_buf_view(&b), BYTES("x\0\0\0\4Ha\0\0"));
	sm_buf_fini(&b);
}

/* ---- reading ---- */

static void t_packet(void **state)
{
	struct ss_mp_packet p;
	size_t used = 0;

	(void)state;
	for (size_t n = 0; n < 7; n++)
		assert_int_equal(ss_mp_packet(sm_str_n("\0\0\0\3rxy", n), &p, &used), 0);
	assert_int_equal(ss_mp_packet(BYTES("\0\0\0\3rxyz"), &p, &used), 1);
	assert_int_equal(used, 7);
	assert_int_equal(p.code, 'r');
	assert_bytes(p.data, BYTES("xy"));
	assert_int_equal(ss_mp_packet(BYTES("\0\0\0\0"), &p, &used), SM_E_PROTO);
	assert_int_equal(ss_mp_packet(BYTES("\0\20\0\1"), &p, &used), SM_E_TOOBIG);
	assert_int_equal(ss_mp_packet(BYTES("\377\377\377\377"), &p, &used), SM_E_TOOBIG);
}

static int reply(char code, struct sm_str data, struct ss_mp_reply *r)
{
	struct ss_mp_packet p = {code, data};

	return ss_mp_reply(&p, r);
}

static void t_plain(void **state)
{
	static const char plain[] = "cardtsp4f";
	struct ss_mp_reply r;

	(void)state;
	for (const char *c = plain; *c != '\0'; c++) {
		assert_int_equal(reply(*c, SM_STR(""), &r), 0);
		assert_int_equal(r.code, *c);
		assert_int_equal(reply(*c, SM_STR("x"), &r), SM_E_PROTO);
	}
	assert_int_equal(reply('!', SM_STR(""), &r), SM_E_PROTO);
	assert_int_equal(reply('C', SM_STR(""), &r), SM_E_PROTO);
}

static void t_changes(void **state)
{
	struct ss_mp_reply r;

	(void)state;
	assert_int_equal(reply('h', BYTES("X\0y\0"), &r), 0);
	assert_bytes(r.name, SM_STR("X"));
	assert_bytes(r.value, SM_STR("y"));
	assert_int_equal(reply('h', BYTES("X\0y"), &r), SM_E_PROTO);
	assert_int_equal(reply('h', BYTES("X\0"), &r), SM_E_PROTO);
	assert_int_equal(reply('h', BYTES("X\0y\0z"), &r), SM_E_PROTO);
	assert_int_equal(reply('i', BYTES("\0\0\1\2X\0y\0"), &r), 0);
	assert_int_equal(r.index, 258);
	assert_int_equal(reply('m', BYTES("\0\0\0\1X\0\0"), &r), 0);
	assert_int_equal(r.value.n, 0);
	assert_int_equal(reply('m', BYTES("\0\0\0"), &r), SM_E_PROTO);
	assert_int_equal(reply('+', BYTES("<a@b>\0"), &r), 0);
	assert_int_equal(reply('+', BYTES("<a@b>"), &r), SM_E_PROTO);
	assert_int_equal(reply('2', BYTES("<a@b>\0"), &r), 0);
	assert_int_equal(r.args.n, 0);
	assert_int_equal(reply('2', BYTES("<a@b>\0NOTIFY=NEVER\0"), &r), 0);
	assert_bytes(r.args, SM_STR("NOTIFY=NEVER"));
	assert_int_equal(reply('e', BYTES("<>\0"), &r), 0);
	assert_int_equal(reply('b', BYTES("a\0b"), &r), 0);
	assert_bytes(r.body, BYTES("a\0b"));
	assert_int_equal(reply('q', BYTES("why"), &r), 0);
	assert_bytes(r.name, SM_STR("why"));
}

static void t_reply_code(void **state)
{
	static const struct {
		struct sm_str data;
		int code; /* 0: malformed */
		const char *text;
	} cases[] = {
	    {BYTES("550 5.7.1 no\0"), 550, "5.7.1 no"},
	    {BYTES("550 5.7.1 no"), 550, "5.7.1 no"},
	    {BYTES("450\0"), 450, ""},
	    {BYTES("450"), 450, ""},
	    {BYTES("450 "), 450, ""},
	    {BYTES("550-5.7.1 a\r\n550 5.7.1 b\0"), 550, "5.7.1 a\n5.7.1 b"},
	    {BYTES("550-a\n550 b\n"), 550, "a\nb"},
	    {BYTES("550 100%% and %d and %\0"), 550, "100% and d and "},
	    {BYTES("550 5 people"), 550, "5 people"},
	    {BYTES("550 4 people"), 550, "4 people"},
	    {BYTES(""), 0, NULL},
	    {BYTES("\0"), 0, NULL},
	    {BYTES("5"), 0, NULL},
	    {BYTES("55"), 0, NULL},
	    {BYTES("\00055"), 0, NULL},
	    {BYTES("250 2.0.0 fine"), 0, NULL},
	    {BYTES("350 go on"), 0, NULL},
	    {BYTES("5x0 no"), 0, NULL},
	    {BYTES("5500 no"), 0, NULL},
	    {BYTES("550 4.7.1 no"), 0, NULL},
	    {BYTES("550-a\r\n450 b"), 0, NULL},
	    {BYTES("550-a\r\n\r\n550 b"), 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct ss_mp_reply r;
		struct sm_buf b;
		int err = reply('y', cases[i].data, &r);

		assert_int_equal(err, cases[i].code == 0 ? SM_E_PROTO : 0);
		if (err != 0)
			continue;
		assert_int_equal(r.reply, cases[i].code);
		sm_buf_init(&b, 1000);
		ss_mp_reply_text(&r, &b);
		assert_bytes(sm_buf_view(&b), sm_str(cases[i].text));
		sm_buf_fini(&b);
	}
}

static void t_lists(void **state)
{
	struct sm_str lists = BYTES("\0\0\0\1j {x}\0\0\0\0\2\0"), names;
	struct ss_mp_reply r;
	uint32_t stage;

	(void)state;
	assert_int_equal(ss_mp_list_next(&lists, &stage, &names), 1);
	assert_int_equal(stage, 1);
	assert_bytes(names, SM_STR("j {x}"));
	assert_int_equal(ss_mp_list_next(&lists, &stage, &names), 1);
	assert_int_equal(names.n, 0);
	assert_int_equal(ss_mp_list_next(&lists, &stage, &names), 0);
	lists = BYTES("\0\0\0\1j");
	assert_int_equal(ss_mp_list_next(&lists, &stage, &names), SM_E_PROTO);
	assert_int_equal(reply('O', BYTES("\0\0\0\6\0\0\0\1\0\0\0\2xx"), &r), 0);
	assert_int_equal(r.version, 6);
	assert_int_equal(r.actions, 1);
	assert_int_equal(r.steps, 2);
	assert_int_equal(r.args.n, 2);
	assert_int_equal(reply('O', BYTES("\0\0\0\6\0\0\0\1\0\0\0"), &r), SM_E_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_negotiation), cmocka_unit_test(t_connect),
	    cmocka_unit_test(t_text),        cmocka_unit_test(t_packet),
	    cmocka_unit_test(t_plain),       cmocka_unit_test(t_changes),
	    cmocka_unit_test(t_reply_code),  cmocka_unit_test(t_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
