/*
 * Option tables and their current values as JSON. Pure; any thread.
 */
#include <inttypes.h>

#include "libsm/conf_value.h"

/* Bytes of the well-formed UTF-8 character (RFC 3629) at the front of `s`, 0: none there. */
static size_t utf8(struct sm_str s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80                 ? 1
	           : c >= 0xc2 && c <= 0xdf ? 2
	           : c >= 0xe0 && c <= 0xef ? 3
	           : c >= 0xf0 && c <= 0xf4 ? 4
	                                    : 0;

	if (n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
	if (n >= 3) {
		unsigned char d = (unsigned char)s.p[1];
		if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d >= 0xa0) ||
		    (c == 0xf0 && d < 0x90) || (c == 0xf4 && d >= 0x90))
			return 0;
	}
	return n;
}

void sm_conf_json_str(struct sm_buf *b, struct sm_str s)
{
	sm_buf_char(b, '"');
	while (s.n > 0) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = utf8(s);

		if (n == 0)
			sm_buf_cstr(b, "\\ufffd");
		else if (c == '"' || c == '\\')
			sm_buf_printf(b, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			sm_buf_printf(b, "\\u%04x", c);
		else
			sm_buf_append(b, s.p, n);
		s = sm_str_from(s, n > 0 ? n : 1);
	}
	sm_buf_char(b, '"');
}

static void put_words(struct sm_buf *b, const struct sm_opt *o, uint32_t flags)
{
	const char *sep = "";

	sm_buf_char(b, '[');
	for (const struct sm_word *w = o->words; w->word != NULL; w++) {
		if (w->value != 0 && (flags & w->value) == w->value) {
			sm_buf_printf(b, "%s\"%s\"", sep, w->word);
			sep = ",";
		}
	}
	sm_buf_char(b, ']');
}

static void put_sections(struct sm_buf *b, const struct sm_opt *o,
                         const struct sm_conf_sections *all)
{
	sm_buf_char(b, '[');
	for (size_t i = 0; i < all->count; i++) {
		const struct sm_conf_where *where =
		    (const void *)((const char *)all->v + i * o->sub_size);
		sm_buf_printf(b, "%s{\"name\":", i > 0 ? "," : "");
		sm_conf_json_str(b, where->name);
		sm_buf_cstr(b, ",\"options\":");
		sm_conf_dump_json(b, o->sub, where);
		sm_buf_char(b, '}');
	}
	sm_buf_char(b, ']');
}

void sm_conf_dump_json(struct sm_buf *b, const struct sm_opt *table, const void *target)
{
	sm_buf_char(b, '{');
	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		const void *at = (const char *)target + o->offset;
		const struct sm_conf_list *list;

		sm_buf_printf(b, "%s\"%s\":", o == table ? "" : ",", o->name);
		switch (o->type) {
		case SM_OPT_BOOL:
			sm_conf_put_value(b, o, target);
			break;
		case SM_OPT_INT:
		case SM_OPT_TIME:
		case SM_OPT_SIZE:
			sm_buf_printf(b, "%" PRId64, *(const int64_t *)at);
			break;
		case SM_OPT_STR:
		case SM_OPT_PATH:
			sm_conf_json_str(b, *(const struct sm_str *)at);
			break;
		case SM_OPT_ENUM:
			sm_buf_char(b, '"');
			sm_conf_put_value(b, o, target);
			sm_buf_char(b, '"');
			break;
		case SM_OPT_FLAGS:
			put_words(b, o, *(const uint32_t *)at);
			break;
		case SM_OPT_LIST:
			list = at;
			sm_buf_char(b, '[');
			for (size_t i = 0; i < list->count; i++) {
				sm_buf_cstr(b, i > 0 ? "," : "");
				sm_conf_json_str(b, list->v[i]);
			}
			sm_buf_char(b, ']');
			break;
		case SM_OPT_SECTION:
			sm_conf_dump_json(b, o->sub, at);
			break;
		case SM_OPT_SECTIONS:
			put_sections(b, o, at);
			break;
		}
	}
	sm_buf_char(b, '}');
}
