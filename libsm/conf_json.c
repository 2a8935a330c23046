/*
 * Option tables and their current values as JSON. Pure; any thread.
 */
#include <inttypes.h>

#include "libsm/conf_value.h"
#include "libsm/json.h"

void sm_conf_json_str(struct sm_buf *b, struct sm_str s)
{
	sm_json_str(b, s);
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
