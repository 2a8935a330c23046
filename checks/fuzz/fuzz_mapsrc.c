/* Source text of maps: from memory as in pieces it gives the same entries, and each of them written
 * back is read as what it was. */

#include "libsm/err.h"
#include "libsm/mapsrc.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct walk {
	struct sm_buf text;
	struct sm_str key, value; /* what has to come, when `back` */
	unsigned count, last_line;
	bool back;
};

static int entry(void *arg, const struct sm_mapsrc_entry *e)
{
	struct walk *w = arg;
	struct sm_mapsrc src = {
	    .name = "back", .flags = SM_MAPSRC_CASE | SM_MAPSRC_EMPTY, .entry = entry};
	struct walk back = {.key = e->key, .value = e->value, .back = true};

	w->count++;
	if (w->back) {
		sm_assert(sm_str_eq(e->key, w->key) && sm_str_eq(e->value, w->value));
		return 0;
	}
	sm_assert(e->line > w->last_line);
	w->last_line = e->line;
	sm_assert(e->key.n > 0 && e->key.n <= SM_MAPSRC_KEY_MAX);
	sm_buf_reset(&w->text);
	if (sm_mapsrc_write(&w->text, e->key, e->value) != 0) {
		/* Quotes and escapes make it longer than it was. */
		sm_assert(e->value.n > SM_MAPSRC_LINE_MAX - 5 * SM_MAPSRC_KEY_MAX);
		return 0;
	}
	src.arg = &back;
	sm_assert(sm_mapsrc_text(&src, sm_buf_view(&w->text)) == 0 && back.count == 1);
	return 0;
}

static bool wrong(void *arg, int err)
{
	struct walk *w = arg;

	sm_assert(err < 0);
	return w->text.max > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct walk w = {0};
	struct sm_mapsrc src = {.name = "fuzz", .entry = entry, .wrong = wrong, .arg = &w};

	if (n == 0)
		return 0;
	src.flags = p[0] % 8;
	sm_buf_init(&w.text, 1 << 20);
	(void)!sm_mapsrc_text(&src, sm_str_n(p + 1, n - 1));
	sm_buf_fini(&w.text);
	return 0;
}
