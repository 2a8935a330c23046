/*
 * Maps of type text and inline: a source (libsm/mapsrc.h) that is read into memory as a whole; a
 * file, or entries that stand in the configuration itself. Opened by a helper thread, then never
 * changed.
 */
#include "libsm/buf.h"
#include "libsm/mapsrc.h"
#include "smar/map_table.h"

static int add(void *arg, const struct sm_mapsrc_entry *e)
{
	unsigned before = ar_table_add(arg, e->key, e->value, e->line);

	if (before != 0)
		return sm_fail(SM_E_EXISTS, SM_STR_FMT " is in line %u already",
		               SM_STR_ARG(sm_str_head(e->key, 100)), before);
	return 0;
}

static int open_text(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct ar_table *t = ar_table_new();
	struct sm_mapsrc src = {.entry = add, .arg = t};
	char path[AR_PATH_BYTES];
	int rc;

	rc = sm_str_copy(conf->file, path, sizeof(path));
	src.name = path;
	if (rc == 0)
		rc = sm_mapsrc_file(&src, path);
	return ar_table_opened(rc, t, handle, entries);
}

/* In a file these would be none, or a part of the one before. */
static bool is_one_entry(struct sm_str s)
{
	return s.n > 0 && s.p[0] != '#' && s.p[0] != ' ' && s.p[0] != '\t' &&
	       sm_str_chr(s, '\n') < 0;
}

static int open_inline(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct ar_table *t = ar_table_new();
	struct sm_mapsrc src = {.name = "entries", .entry = add, .arg = t};
	struct sm_buf text;
	int rc = 0;

	sm_buf_init(&text, SIZE_MAX / 8);
	for (size_t i = 0; i < conf->entries.count && rc == 0; i++) {
		sm_buf_str(&text, conf->entries.v[i]);
		sm_buf_char(&text, '\n');
		if (!is_one_entry(conf->entries.v[i]))
			rc = sm_fail(SM_E_SYNTAX, "entries:%zu: not one line \"key value\"", i + 1);
	}
	if (rc == 0)
		rc = sm_mapsrc_text(&src, sm_buf_view(&text));
	sm_buf_fini(&text);
	return ar_table_opened(rc, t, handle, entries);
}

const struct ar_map_driver ar_map_text = {
    .type = AR_MAP_TEXT,
    .name = "text",
    .open = open_text,
    .get = ar_table_driver_get,
    .close = ar_table_driver_close,
};

const struct ar_map_driver ar_map_inline = {
    .type = AR_MAP_INLINE,
    .name = "inline",
    .open = open_inline,
    .get = ar_table_driver_get,
    .close = ar_table_driver_close,
};
