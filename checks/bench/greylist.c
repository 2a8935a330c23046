/*
 * greylist DIRECTORY [ENTRIES [ROUNDS]]: how long the greylist takes for a client, with so many
 * entries (1,000,000), each written and committed as smar's helper does it: alone, and 64 in a
 * batch. DIRECTORY has to be empty. One thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "libsm/err.h"
#include "libsm/rand.h"
#include "libsm/time.h"
#include "smar/grey_db.h"

static struct ar_grey_conf conf = {.main_db = SM_STR("main.db"),
                                   .secondary_db = SM_STR("expire.db"),
                                   .cache_bytes = 32 << 20,
                                   .wait_ms = 1000,
                                   .expire_ms = 86400000,
                                   .white_expire_ms = INT64_C(14) * 86400000,
                                   .white_timeout_ms = INT64_C(36) * 86400000};

static void must(int rc)
{
	if (rc != 0) {
		fprintf(stderr, "greylist: %s\n", sm_diag());
		exit(1);
	}
}

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Addresses that are spread as those of clients: no order. */
static struct ar_grey_key key_of(uint32_t i)
{
	uint32_t h = i * 2654435761U;

	return (struct ar_grey_key){
	    5, {4, (uint8_t)(h >> 24), (uint8_t)(h >> 16), (uint8_t)(h >> 8), (uint8_t)h}};
}

/* Look up, decide, write: each time something has changed. */
static void one(struct ar_grey_db *db, uint32_t i, int64_t now_s)
{
	struct ar_grey_key key = key_of(i);
	struct ar_grey_entry e;
	bool write;

	must(ar_grey_db_get(db, &key, &e));
	(void)ar_grey_decide(&e, now_s, &conf, &write);
	must(ar_grey_db_put(db, &key, &e));
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct ar_grey_db *db, const char *what, uint32_t entries, unsigned batch,
                    unsigned rounds)
{
	int64_t *took = sm_malloc(rounds * sizeof(*took)), now_s = ar_grey_db_now(db, sm_now_ms());

	for (unsigned r = 0; r < rounds; r++) {
		int64_t start = now_ns();

		must(ar_grey_db_begin(db));
		for (unsigned k = 0; k < batch; k++)
			one(db, (uint32_t)(sm_rand_u64() % entries), now_s + 100 + r);
		must(ar_grey_db_commit(db, sm_now_ms(), sm_wall_s()));
		took[r] = (now_ns() - start) / batch;
		if (ar_grey_db_checkpoint_due(db))
			must(ar_grey_db_checkpoint(db));
	}
	qsort(took, rounds, sizeof(*took), compare);
	printf("%s: median %.1f us, p99 %.1f us\n", what, (double)took[rounds / 2] / 1000,
	       (double)took[rounds * 99 / 100] / 1000);
	sm_free(took);
}

int main(int argc, char **argv)
{
	uint32_t entries = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
	unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 20000;
	struct ar_grey_db *db;
	struct rusage usage;
	int64_t start;

	if (argc < 2 || argc > 4 || entries == 0 || rounds == 0) {
		fprintf(stderr, "usage: greylist directory [entries [rounds]]\n");
		return 64;
	}
	conf.directory = sm_str(argv[1]);
	must(ar_grey_db_open(&conf, false, &db));
	start = now_ns();
	for (uint32_t i = 0; i < entries;) {
		must(ar_grey_db_begin(db));
		for (unsigned k = 0; k < 1000 && i < entries; k++)
			one(db, i++, ar_grey_db_now(db, sm_now_ms()));
		must(ar_grey_db_commit(db, sm_now_ms(), sm_wall_s()));
		if (ar_grey_db_checkpoint_due(db))
			must(ar_grey_db_checkpoint(db));
	}
	printf("%u entries made in %.1f s\n", entries, (double)(now_ns() - start) / 1e9);
	measure(db, "lookup and update, each committed", entries, 1, rounds);
	measure(db, "lookup and update, 64 in a batch", entries, 64, rounds / 64 + 1);
	ar_grey_db_close(&db);
	start = now_ns();
	must(ar_grey_db_open(&conf, false, &db));
	printf("opened again in %.0f ms\n", (double)(now_ns() - start) / 1e6);
	ar_grey_db_close(&db);
	(void)getrusage(RUSAGE_SELF, &usage);
	printf("resident at most %ld MB\n", usage.ru_maxrss / 1024);
	return 0;
}
