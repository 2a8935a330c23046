/*
 * Reloading: what of a new configuration takes effect only at the next start keeps its former
 * value. Invariant: afterwards the new target is legal, and differs from the former one only in
 * what a reload may change. Any thread.
 */
#include <stdio.h>

#include "libsm/buf.h"
#include "libsm/conf.h"

static void *at(void *target, const struct sm_opt *o)
{
	return (char *)target + o->offset;
}

static size_t size_of(const struct sm_opt *o)
{
	switch (o->type) {
	case SM_OPT_BOOL:
		return sizeof(bool);
	case SM_OPT_INT:
	case SM_OPT_TIME:
	case SM_OPT_SIZE:
		return sizeof(int64_t);
	case SM_OPT_STR:
	case SM_OPT_PATH:
		return sizeof(struct sm_str);
	case SM_OPT_ENUM:
		return sizeof(int);
	case SM_OPT_FLAGS:
		return sizeof(uint32_t);
	case SM_OPT_LIST:
		return sizeof(struct sm_conf_list);
	case SM_OPT_SECTIONS:
		return sizeof(struct sm_conf_sections);
	case SM_OPT_SECTION:
		break;
	}
	return 0;
}

/* Whether one option differs, told by its text: what prints alike is alike. */
static bool differs(const struct sm_opt *o, const void *x, const void *y)
{
	struct sm_opt row[2] = {*o, SM_OPT_END};
	struct sm_buf tx, ty;
	bool differ;

	sm_buf_init(&tx, SIZE_MAX / 4);
	sm_buf_init(&ty, SIZE_MAX / 4);
	sm_conf_dump(&tx, row, x, 0, false);
	sm_conf_dump(&ty, row, y, 0, false);
	differ = !sm_str_eq(sm_buf_view(&tx), sm_buf_view(&ty));
	sm_buf_fini(&tx);
	sm_buf_fini(&ty);
	return differ;
}

static void keep(const struct sm_opt *table, void *now, const void *was, const char *prefix,
                 sm_conf_report *changed, void *arg)
{
	char name[200];

	for (const struct sm_opt *o = table; o->name != NULL; o++) {
		const void *before = (const char *)was + o->offset;

		snprintf(name, sizeof(name), "%s%s", prefix, o->name);
		if (o->type == SM_OPT_SECTION) {
			char inner[sizeof(name) + 1];
			snprintf(inner, sizeof(inner), "%s.", name);
			keep(o->sub, at(now, o), before, inner, changed, arg);
		} else if (!o->reload && differs(o, now, was)) {
			memcpy(at(now, o), before, size_of(o));
			if (changed != NULL)
				changed(arg, name);
		}
	}
}

void sm_conf_keep(const struct sm_opt *table, void *now, const void *was, sm_conf_report *changed,
                  void *arg)
{
	keep(table, now, was, "", changed, arg);
}
