/*
 * The code of a table: see def.h. Each section below is one pass over the table that gives its
 * words one meaning; read a section as the template of the function it makes for every part and
 * message.
 */
/* clang-format off */

/* ---- least bytes on the wire, against which array counts are checked: without what came later ---- */
#define SM_DEF_REST_(n)                   sm_def_later_##n##_
#define SM_DEF_REST(n)                    SM_DEF_REST_(n)
#define PART(name)                        enum { SM_DEF(name##_least_) = 0
#define MSG(name, number, from, to, what) PART(name)
#define U8(f)                             + 1
#define U16(f)                            + 2
#define U32(f)                            + 4
#define U64(f)                            + 8
#define I64(f)                            + 8
#define ID(f)                             + 9
#define SA(f)                             + 1
#define STR(f, max)                       + 4
#define ARRAY(f, part, max)               + 4
#define SINCE(version)                    , SM_DEF_REST(__COUNTER__) = 0
#define END(name)                         };
#include SM_DEF_FILE
#include "libsm/def_undef.h"
#undef SM_DEF_REST
#undef SM_DEF_REST_

/* ---- encode ---- */
#define PART(name) void SM_DEF(name##_encode)(struct sm_buf *b SM_UNUSED, const struct SM_DEF(name) *m SM_UNUSED) {
#define MSG(name, number, from, to, what) PART(name)
#define U8(f)                             sm_w_u8(b, m->f);
#define U16(f)                            sm_w_u16(b, m->f);
#define U32(f)                            sm_w_u32(b, m->f);
#define U64(f)                            sm_w_u64(b, m->f);
#define I64(f)                            sm_w_i64(b, m->f);
#define ID(f)                             sm_w_id(b, m->f);
#define SA(f)                             sm_w_sa(b, &m->f);
#define STR(f, max)                       sm_w_str_max(b, m->f, max);
#define ARRAY(f, part, max)                                                                      \
	sm_w_count(b, m->f##_count, max);                                                        \
	for (uint32_t i = 0; i < m->f##_count; i++)                                              \
		SM_DEF(part##_encode)(b, &m->f[i]);
#define SINCE(version)
#define END(name) }
#include SM_DEF_FILE
#include "libsm/def_undef.h"

/* ---- read ---- */
#define PART(name)                                                                               \
	void SM_DEF(name##_read)(struct sm_reader *r SM_UNUSED, struct sm_arena *a SM_UNUSED,    \
				 struct SM_DEF(name) *m SM_UNUSED) {                     \
		enum { SM_DEF_PART_ = 1 };
#define MSG(name, number, from, to, what)                                                        \
	void SM_DEF(name##_read)(struct sm_reader *r SM_UNUSED, struct sm_arena *a SM_UNUSED,    \
				 struct SM_DEF(name) *m SM_UNUSED) {                     \
		enum { SM_DEF_PART_ = 0 };                                                       \
		memset(m, 0, sizeof(*m));
#define U8(f)                             m->f = sm_r_u8(r);
#define U16(f)                            m->f = sm_r_u16(r);
#define U32(f)                            m->f = sm_r_u32(r);
#define U64(f)                            m->f = sm_r_u64(r);
#define I64(f)                            m->f = sm_r_i64(r);
#define ID(f)                             m->f = sm_r_id(r);
#define SA(f)                             sm_r_sa(r, &m->f);
#define STR(f, max)                       m->f = sm_r_str(r, max);
#define ARRAY(f, part, max)                                                                      \
	m->f = sm_r_array(r, a, max, SM_DEF(part##_least_), sizeof(*m->f), &m->f##_count);       \
	for (uint32_t i = 0; i < m->f##_count; i++)                                              \
		SM_DEF(part##_read)(r, a, &m->f[i]);
#define SINCE(version)                                                                           \
	_Static_assert(!SM_DEF_PART_, "what lies within a message has no end that could come early"); \
	if (r->err == 0 && r->p == r->end)                                                       \
		return;
#define END(name) }
#include SM_DEF_FILE
#include "libsm/def_undef.h"

/* ---- decode ---- */
#define PART(name)                                                                               \
	int SM_DEF(name##_decode)(struct sm_str body, struct sm_arena *a, struct SM_DEF(name) *m) \
	{                                                                                        \
		struct sm_reader r = sm_reader(body);                                            \
		SM_DEF(name##_read)(&r, a, m);                                                   \
		return sm_r_end(&r);                                                             \
	}
#define MSG(name, number, from, to, what) PART(name)
#define END(name)
#include "libsm/def_nofields.h"
#include SM_DEF_FILE
#include "libsm/def_undef.h"

/* ---- dump ---- */
#define PART(name)                                                                               \
	void SM_DEF(name##_dump)(struct sm_buf *b SM_UNUSED, const struct SM_DEF(name) *m SM_UNUSED) \
	{                                                                                        \
		const char *sep = "";
#define MSG(name, number, from, to, what) PART(name)
#define SM_DEF_KEY_(f)                    sm_buf_cstr(b, sep), sm_buf_cstr(b, #f "="), sep = " "
#define SM_DEF_NUM_(f)                    SM_DEF_KEY_(f), sm_buf_printf(b, "%llu", (unsigned long long)m->f);
#define U8(f)                             SM_DEF_NUM_(f)
#define U16(f)                            SM_DEF_NUM_(f)
#define U32(f)                            SM_DEF_NUM_(f)
#define U64(f)                            SM_DEF_NUM_(f)
#define I64(f)                            SM_DEF_KEY_(f), sm_buf_printf(b, "%lld", (long long)m->f);
#define ID(f)                             SM_DEF_KEY_(f), sm_def_dump_id(b, m->f);
#define SA(f)                             SM_DEF_KEY_(f), sm_def_dump_sa(b, &m->f);
#define STR(f, max)                       SM_DEF_KEY_(f), sm_def_dump_str(b, m->f);
#define ARRAY(f, part, max)                                                                      \
	SM_DEF_KEY_(f), sm_buf_char(b, '[');                                                     \
	for (uint32_t i = 0; i < m->f##_count; i++) {                                            \
		sm_buf_cstr(b, i ? ",{" : "{");                                                  \
		SM_DEF(part##_dump)(b, &m->f[i]);                                                \
		sm_buf_char(b, '}');                                                             \
	}                                                                                        \
	sm_buf_char(b, ']');
#define SINCE(version)
#define END(name) (void)sep; }
#include SM_DEF_FILE
#include "libsm/def_undef.h"
#undef SM_DEF_KEY_
#undef SM_DEF_NUM_

/* ---- sample ---- */
#define PART(name)                                                                               \
	void SM_DEF(name##_sample)(uint64_t seed SM_UNUSED, struct sm_arena *a SM_UNUSED,        \
				   struct SM_DEF(name) *m SM_UNUSED) {
#define MSG(name, number, from, to, what) PART(name)
#define U8(f)                             m->f = (uint8_t)sm_def_sample_u64(&seed);
#define U16(f)                            m->f = (uint16_t)sm_def_sample_u64(&seed);
#define U32(f)                            m->f = (uint32_t)sm_def_sample_u64(&seed);
#define U64(f)                            m->f = sm_def_sample_u64(&seed);
#define I64(f)                            m->f = (int64_t)sm_def_sample_u64(&seed);
#define ID(f)                             m->f = sm_def_sample_id(&seed);
#define SA(f)                             m->f = sm_def_sample_sa(&seed);
#define STR(f, max)                       m->f = sm_def_sample_str(&seed, a, max);
#define ARRAY(f, part, max)                                                                      \
	m->f##_count = sm_def_sample_count(&seed, max);                                          \
	m->f = sm_arena_must(a, m->f##_count * sizeof(*m->f));                                   \
	for (uint32_t i = 0; i < m->f##_count; i++)                                              \
		SM_DEF(part##_sample)(sm_def_sample_u64(&seed), a, &m->f[i]);
#define SINCE(version)
#define END(name) }
#include SM_DEF_FILE
#include "libsm/def_undef.h"

/* ---- the table: rows by number; the switch refuses a number used twice ---- */
#define PART(name)
#define MSG(name, number, from, to, what)                                                        \
	static void SM_DEF(name##_encode_any_)(struct sm_buf *b, const void *m)                 \
	{                                                                                        \
		SM_DEF(name##_encode)(b, m);                                                     \
	}                                                                                        \
	static int SM_DEF(name##_decode_any_)(struct sm_str body, struct sm_arena *a, void *m)  \
	{                                                                                        \
		return SM_DEF(name##_decode)(body, a, m);                                        \
	}                                                                                        \
	static void SM_DEF(name##_dump_any_)(struct sm_buf *b, const void *m)                   \
	{                                                                                        \
		SM_DEF(name##_dump)(b, m);                                                       \
	}                                                                                        \
	static void SM_DEF(name##_sample_any_)(uint64_t seed, struct sm_arena *a, void *m)      \
	{                                                                                        \
		SM_DEF(name##_sample)(seed, a, m);                                               \
	}
#define END(name)
#include "libsm/def_nofields.h"
#include SM_DEF_FILE
#include "libsm/def_undef.h"

static const struct sm_def_info SM_DEF(rows_)[] = {
#define PART(name)
#define MSG(name, number, from, to, what)                                                        \
	{number,                                                                                 \
	 #name,                                                                                  \
	 #from,                                                                                  \
	 #to,                                                                                    \
	 what,                                                                                   \
	 sizeof(struct SM_DEF(name)),                                                            \
	 SM_DEF(name##_encode_any_),                                                             \
	 SM_DEF(name##_decode_any_),                                                             \
	 SM_DEF(name##_dump_any_),                                                               \
	 SM_DEF(name##_sample_any_)},
#define END(name)
#include "libsm/def_nofields.h"
#include SM_DEF_FILE
#include "libsm/def_undef.h"
};

enum {
#define PART(name)
#define MSG(name, number, from, to, what) SM_DEF(name##_row_),
#define END(name)
#include "libsm/def_nofields.h"
#include SM_DEF_FILE
#include "libsm/def_undef.h"
};

const struct sm_def_info *SM_DEF(info)(uint16_t type)
{
	switch (type) {
#define PART(name)
#define MSG(name, number, from, to, what)                                                        \
	case number:                                                                             \
		return &SM_DEF(rows_)[SM_DEF(name##_row_)];
#define END(name)
#include "libsm/def_nofields.h"
#include SM_DEF_FILE
#include "libsm/def_undef.h"
	default:
		return NULL;
	}
}

const struct sm_def_info *SM_DEF(table)(size_t *count)
{
	*count = SM_ARRAY_SIZE(SM_DEF(rows_));
	return SM_DEF(rows_);
}

/* ---- the hash: over the table's own text, free of layout and comments ---- */
uint64_t SM_DEF(table_hash)(void)
{
#define SM_DEF_TEXT_(x)                   #x
#define SM_DEF_TEXT(x)                    SM_DEF_TEXT_(x)
#define PART(name)                        "PART " #name "\n"
#define MSG(name, number, from, to, what) "MSG " #name " " SM_DEF_TEXT(number) "\n"
#define U8(f)                             "U8 " #f "\n"
#define U16(f)                            "U16 " #f "\n"
#define U32(f)                            "U32 " #f "\n"
#define U64(f)                            "U64 " #f "\n"
#define I64(f)                            "I64 " #f "\n"
#define ID(f)                             "ID " #f "\n"
#define SA(f)                             "SA " #f "\n"
#define STR(f, max)                       "STR " #f " " SM_DEF_TEXT(max) "\n"
#define ARRAY(f, part, max)               "ARRAY " #f " " #part " " SM_DEF_TEXT(max) "\n"
#define SINCE(version)                    "SINCE " #version "\n"
#define END(name)                         "END\n"
	static const char text[] =
#include SM_DEF_FILE
	    ;
#include "libsm/def_undef.h"
#undef SM_DEF_TEXT
#undef SM_DEF_TEXT_
	return sm_def_hash(text, sizeof(text) - 1);
}
