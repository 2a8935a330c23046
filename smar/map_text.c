/*
 * Maps of type text and inline: a source (libsm/mapsrc.h) that is read into memory as a whole; a
 * file, or entries that stand in the configuration itself. Opened by a helper thread, then never
 * changed.
 */
#include "libsm/buf.h"
#include "libsm/mapsrc.h"
#include "smar/map_int.h"
#include "smar/map_table.h"

static int add(void *arg, const struct sm_mapsrc_entry *e)
{
	int before = ar_table_add(arg, e->key, e->value, (int)e->line);

	if (before != 0)
		return sm_fail(SM_E_EXISTS, SM_STR_FMT " is in line %d already",
		               SM_STR_ARG(sm_str_head(e->key, 100)), before);
	return 0;
}

static struct ar_table *new_table(void)
{
	struct ar_table *t = sm_calloc(1, sizeof(*t));

	ar_table_init(t);
	return t;
}

static void close_table(void *handle)
{
	ar_table_fini(handle);
	sm_free(handle);
}

static int opened(int rc, struct ar_table *t, void **handle, size_t *entries)
{
	if (rc != 0) {
		close_table(t);
		return rc;
	}
	*handle = t;
	*entries = t->hash.count;
	return 0;
}

static int open_text(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct ar_table *t = new_table();
	struct sm_mapsrc src = {.entry = add, .arg = t};
	char path[AR_PATH_BYTES];
	int rc;

	rc = sm_str_copy(conf->file, path, sizeof(path));
	src.name = path;
	if (rc == 0)
		rc = sm_mapsrc_file(&src, path);
	return opened(rc, t, handle, entries);
}

/* In a file these would be none, or a part of the one before. */
static bool is_one_entry(struct sm_str s)
{
	return s.n > 0 && s.p[0] != '#' && s.p[0] != ' ' && s.p[0] != '\t' &&
	       sm_str_chr(s, '\n') < 0;
}

static int open_inline(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct ar_table *t = new_table();
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
	return opened(rc, t, handle, entries);
}

static int get(void *handle, const struct ar_ctx *ctx SM_UNUSED, struct sm_str key,
               struct sm_str *value)
{
	return ar_table_get(handle, key, value) ? 0 : SM_E_NOTFOUND;
}

const struct ar_map_driver ar_map_text = {
    .type = AR_MAP_TEXT,
    .name = "text",
    .open = open_text,
    .get = get,
    .close = close_table,
};

const struct ar_map_driver ar_map_inline = {
    .type = AR_MAP_INLINE,
    .name = "inline",
    .open = open_inline,
    .get = get,
    .close = close_table,
};
