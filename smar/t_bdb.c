/* Files of Berkeley DB: all that its library wrote is found, and of damaged ones nothing but an
 * error, or what is true, comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/rand.h"
#include "smar/bdb.h"
#include "smar/t_bdb.h"

static char path[64];
static struct sm_arena arena;

static void plain(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "user%u@dom%u.example", i, i % 7);
	snprintf(value, 2001, "value of %u", i);
}

/* Every length up to far beyond a page's quarter, so that keys and values go off their pages. */
static void lengths(unsigned i, char *key, char *value)
{
	int n = snprintf(key, 2001, "%u", i);

	memset(key + n, 'k', i);
	key[n + (int)i] = '\0';
	memset(value, 'v', 2000 - i);
	value[2000 - i] = '\0';
}

static void empty_value(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "%u", i);
	value[0] = '\0';
}

static void upper(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "User%u", i);
	snprintf(value, 2001, "Value");
}

static void twice(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, i % 2 ? "Key%u" : "key%u", i / 2);
	snprintf(value, 2001, "v");
}

static void same(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "key");
	snprintf(value, 2001, "v%u", i);
}

static struct sm_str slurp(void)
{
	FILE *f = fopen(path, "r");
	char *p;
	size_t n;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	n = (size_t)ftell(f);
	rewind(f);
	/* No byte more than there is: the sanitizer watches its end. */
	p = malloc(n);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, n, f), n);
	(void)fclose(f);
	return sm_str_n(p, n);
}

static void put_back(struct sm_str file)
{
	free((void *)(uintptr_t)file.p);
}

static void check_all(const struct ar_bdb *b, unsigned count,
                      void (*entry)(unsigned i, char *key, char *value))
{
	static char key[2001], value[2001];
	struct sm_str got;

	assert_int_equal(ar_bdb_count(b), count);
	for (unsigned i = 0; i < count; i++) {
		entry(i, key, value);
		sm_arena_reset(&arena);
		assert_int_equal(ar_bdb_get(b, sm_str(key), &arena, &got), 0);
		assert_true(sm_str_eq(got, sm_str(value)));
		key[strlen(key) - 1] ^= 0x40;
		assert_int_equal(ar_bdb_get(b, sm_str(key), &arena, &got), SM_E_NOTFOUND);
	}
	assert_int_equal(ar_bdb_get(b, SM_STR(""), &arena, &got), SM_E_NOTFOUND);
}

static void agree(struct t_bdb how, unsigned count,
                  void (*entry)(unsigned i, char *key, char *value))
{
	struct ar_bdb *b;
	struct sm_str file;

	how.path = path;
	t_bdb_make(&how, count, entry);
	file = slurp();
	if (ar_bdb_open(file, &b) != 0)
		fail_msg("%u entries, btree %d: %s", count, how.btree, sm_diag());
	check_all(b, count, entry);
	ar_bdb_free(&b);
	assert_null(b);
	put_back(file);
}

static void as_the_library_writes(void **state)
{
	static const unsigned counts[] = {0, 1, 2, 100, 5000};

	(void)state;
	for (int btree = 0; btree < 2; btree++) {
		for (size_t i = 0; i < SM_ARRAY_SIZE(counts); i++)
			agree((struct t_bdb){.btree = btree}, counts[i], plain);
		for (int order = 1234; order <= 4321; order += 4321 - 1234)
			agree((struct t_bdb){.btree = btree, .order = order}, 1000, plain);
		agree((struct t_bdb){.btree = btree, .page_bytes = 512}, 3000, plain);
		agree((struct t_bdb){.btree = btree, .page_bytes = 65536}, 3000, plain);
		agree((struct t_bdb){.btree = btree, .checksums = true}, 1000, plain);
		agree((struct t_bdb){.btree = btree, .nul = true}, 1000, plain);
		agree((struct t_bdb){.btree = btree, .page_bytes = 512}, 1900, lengths);
		agree((struct t_bdb){.btree = btree, .nul = true, .checksums = true}, 1900,
		      lengths);
		agree((struct t_bdb){.btree = btree}, 100, empty_value);
		agree((struct t_bdb){.btree = btree, .nul = true}, 100, empty_value);
		agree((struct t_bdb){.btree = btree, .duplicates = true}, 100, plain);
	}
}

static void keys_in_upper_case(void **state)
{
	struct t_bdb how = {.path = path};
	struct ar_bdb *b;
	struct sm_str file, got;

	(void)state;
	t_bdb_make(&how, 100, upper);
	file = slurp();
	assert_int_equal(ar_bdb_open(file, &b), 0);
	assert_int_equal(ar_bdb_get(b, SM_STR("user42"), &arena, &got), 0);
	assert_true(sm_str_eq(got, SM_STR("Value")));
	ar_bdb_free(&b);
	put_back(file);
}

static void refused(struct t_bdb how, unsigned count,
                    void (*entry)(unsigned i, char *key, char *value), int err, const char *diag)
{
	struct ar_bdb *b;
	struct sm_str file;

	how.path = path;
	t_bdb_make(&how, count, entry);
	file = slurp();
	assert_int_equal(ar_bdb_open(file, &b), err);
	assert_null(b);
	assert_string_equal(sm_diag(), diag);
	put_back(file);
}

static void not_maps(void **state)
{
	struct ar_bdb *b;

	(void)state;
	for (int btree = 0; btree < 2; btree++) {
		refused((struct t_bdb){.btree = btree}, 2, twice, SM_E_EXISTS,
		        btree ? "the key \"key0\" is there twice"
		              : "the key \"key0\" is there twice");
		refused((struct t_bdb){.btree = btree, .subdb = "one"}, 2, plain, SM_E_NOTSUP,
		        "several databases in one file");
	}
	refused((struct t_bdb){.duplicates = true}, 2, same, SM_E_NOTSUP,
	        "a key has several values");
	refused((struct t_bdb){.duplicates = true, .btree = true}, 2, same, SM_E_EXISTS,
	        "the key \"key\" is there twice");
	assert_int_equal(ar_bdb_open(SM_STR(""), &b), SM_E_CORRUPT);
	assert_int_equal(ar_bdb_open(SM_STR("to:abuse quick:ok\n"), &b), SM_E_CORRUPT);
}

/* Of a file with one bit flipped: gives how many of these opened. */
struct outcome {
	unsigned opened;
	size_t asked, lost, wrong;
};

static struct outcome flip(struct t_bdb how, unsigned rounds)
{
	static char key[2001], value[2001];
	struct outcome o = {0};
	struct ar_bdb *b;
	struct sm_str file, got;
	char *p;

	how.path = path;
	t_bdb_make(&how, 300, plain);
	file = slurp();
	p = (char *)(uintptr_t)file.p;
	for (size_t n = 0; n < file.n; n += 1 + n / 50) {
		assert_int_equal(ar_bdb_open(sm_str_head(file, n), &b), SM_E_CORRUPT);
		assert_null(b);
	}
	for (unsigned round = 0; round < rounds; round++) {
		size_t at = sm_rand_below(file.n);
		char was = p[at];

		p[at] ^= (char)(1 << sm_rand_below(8));
		if (ar_bdb_open(file, &b) == 0) {
			o.opened++;
			for (unsigned i = 0; i < 300; i++) {
				int rc;

				plain(i, key, value);
				sm_arena_reset(&arena);
				rc = ar_bdb_get(b, sm_str(key), &arena, &got);
				o.asked++;
				o.lost += rc != 0;
				o.wrong += rc == 0 && !sm_str_eq(got, sm_str(value));
			}
			ar_bdb_free(&b);
		}
		p[at] = was;
	}
	put_back(file);
	return o;
}

/*
 * Cut off anywhere: found out. A flipped bit: with checksums found out wherever it matters; without
 * them the text of a value or of a key can change unseen, but no other entry gets lost.
 */
static void damaged(void **state)
{
	(void)state;
	for (int btree = 0; btree < 2; btree++) {
		struct t_bdb how = {.btree = btree, .page_bytes = 512, .checksums = true};
		struct outcome o = flip(how, 2000);

		assert_int_equal(o.lost + o.wrong, 0);
		how.checksums = false;
		o = flip(how, 4000);
		print_message("of 4000 %u opened; %zu of %zu lookups wrong, %zu lost\n", o.opened,
		              o.wrong, o.asked, o.lost);
		assert_true(o.wrong + o.lost <= o.opened);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(as_the_library_writes),
	    cmocka_unit_test(keys_in_upper_case),
	    cmocka_unit_test(not_maps),
	    cmocka_unit_test(damaged),
	};
	int failed;

	snprintf(path, sizeof(path), "/tmp/t_bdb.%d", (int)getpid());
	sm_arena_init(&arena, "test", 4096, 1 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	sm_arena_fini(&arena);
	(void)unlink(path);
	return failed;
}
