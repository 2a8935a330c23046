/*
 * "Did you mean": which known name is nearest to a misspelt one. Pure; any thread.
 */
#include "libsm/conf.h"

#define NAME_MAX_BYTES 64
#define FAR            1000u

/* Insertions, deletions, changes and swaps of neighbours, ignoring case (optimal string alignment),
 * with three rows of the matrix. */
static unsigned distance(struct sm_str a, struct sm_str b)
{
	unsigned row[3][NAME_MAX_BYTES + 1];
	unsigned *before = row[0], *last = row[1], *now = row[2];

	if (a.n > NAME_MAX_BYTES || b.n > NAME_MAX_BYTES)
		return FAR;
	for (size_t j = 0; j <= b.n; j++)
		before[j] = last[j] = (unsigned)j;
	for (size_t i = 1; i <= a.n; i++) {
		unsigned *oldest = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b.n; j++) {
			char x = sm_lower(a.p[i - 1]), y = sm_lower(b.p[j - 1]);
			now[j] = SM_MIN(last[j], now[j - 1]) + 1;
			now[j] = SM_MIN(now[j], last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == sm_lower(b.p[j - 2]) &&
			    y == sm_lower(a.p[i - 2]))
				now[j] = SM_MIN(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = oldest;
	}
	return last[b.n];
}

struct best {
	const char *name;
	unsigned distance;
};

static void consider(struct best *best, const char *name, struct sm_str wanted)
{
	unsigned d = distance(sm_str(name), wanted);

	if (d < best->distance)
		*best = (struct best){name, d};
}

static void consider_table(struct best *best, const struct sm_opt *table, struct sm_str wanted)
{
	for (const struct sm_opt *o = table; o != NULL && o->name != NULL; o++) {
		if (strcmp(o->name, "*") != 0)
			consider(best, o->name, wanted);
		else if (o->sub != NULL)
			consider_table(best, o->sub, wanted);
	}
}

/* One error for each three characters: more would suggest what nobody meant. */
static struct best none_yet(struct sm_str wanted)
{
	return (struct best){NULL, (unsigned)SM_MIN(wanted.n / 3, (size_t)NAME_MAX_BYTES) + 2};
}

const char *sm_conf_nearest(const struct sm_opt *table, const struct sm_opt *also,
                            struct sm_str name)
{
	struct best best = none_yet(name);

	consider_table(&best, table, name);
	consider_table(&best, also, name);
	return best.name;
}

const char *sm_conf_nearest_word(const struct sm_word *words, struct sm_str name)
{
	struct best best = none_yet(name);

	for (const struct sm_word *w = words; w->word != NULL; w++)
		consider(&best, w->word, name);
	return best.name;
}
