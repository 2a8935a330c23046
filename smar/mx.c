/* The order of mail exchangers. Pure but for the dice, which a test can seed. */
#include "smar/mx.h"

#include <stdlib.h>

#include "libsm/rand.h"

static int by_pref(const void *a, const void *b)
{
	const struct ar_mx *x = a, *y = b;

	return (int)x->pref - (int)y->pref;
}

void ar_mx_sort(struct ar_mx *v, size_t count)
{
	size_t from = 0;

	if (count == 0)
		return;
	qsort(v, count, sizeof(v[0]), by_pref);
	/* Fisher and Yates within each run of equal preference. */
	for (size_t i = 1; i <= count; i++) {
		if (i < count && v[i].pref == v[from].pref)
			continue;
		for (size_t n = i - from; n > 1; n--) {
			size_t k = sm_rand_below(n);
			struct ar_mx t = v[from + k];

			v[from + k] = v[from + n - 1];
			v[from + n - 1] = t;
		}
		from = i;
	}
}

size_t ar_mx_cut(const struct ar_mx *v, size_t count, uint16_t own)
{
	size_t n = 0;

	while (n < count && v[n].pref < own)
		n++;
	return n;
}

bool ar_mx_is_null(const struct ar_mx *v, size_t count)
{
	return count == 1 && v[0].name.n == 0;
}

size_t ar_mx_unique(struct ar_mx *v, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		bool seen = v[i].name.n == 0;

		for (size_t k = 0; k < n && !seen; k++)
			seen = sm_str_eq(v[k].name, v[i].name);
		if (!seen)
			v[n++] = v[i];
	}
	return n;
}
