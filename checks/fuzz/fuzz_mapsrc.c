/* Source text of maps: from memory as from a file, in pieces, it gives the same entries, and each
 * of them written back is read as what it was. */

#include <sys/mman.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/mapsrc.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct walk {
	struct sm_buf text;
	uint64_t sum;             /* of all entries and errors, in their order */
	struct sm_str key, value; /* what has to come, when `back` */
	unsigned count, last_line;
	bool back;
};

static void add(struct walk *w, struct sm_str s)
{
	w->sum = (w->sum ^ s.n) * 0x100000001b3;
	for (size_t i = 0; i < s.n; i++)
		w->sum = (w->sum ^ (uint8_t)s.p[i]) * 0x100000001b3;
}

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
	add(w, e->key);
	add(w, e->value);
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
	w->sum = (w->sum ^ (uint64_t)-err) * 0x100000001b3;
	return w->text.max > 0;
}

/* The same from a file. */
static void check_file(struct sm_mapsrc src, struct sm_str text, const struct walk *memory, int rc)
{
	struct walk w = {0};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	sm_assert(fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n);
	sm_assert(lseek(fd, 0, SEEK_SET) == 0);
	sm_buf_init(&w.text, 1 << 20);
	src.arg = &w;
	sm_assert(sm_mapsrc_fd(&src, fd) == rc);
	sm_assert(w.sum == memory->sum && w.count == memory->count);
	sm_buf_fini(&w.text);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	int rc;
	struct walk w = {0};
	struct sm_mapsrc src = {.name = "fuzz", .entry = entry, .wrong = wrong, .arg = &w};

	if (n == 0)
		return 0;
	src.flags = p[0] % 8;
	sm_buf_init(&w.text, 1 << 20);
	rc = sm_mapsrc_text(&src, sm_str_n(p + 1, n - 1));
	check_file(src, sm_str_n(p + 1, n - 1), &w, rc);
	sm_buf_fini(&w.text);
	return 0;
}
