/* Lists of mail exchangers: order and the cut at the own host (RFC 5321 5.1). Pure functions. */
#ifndef AR_MX_H
#define AR_MX_H

#include "libsm/str.h"

struct ar_mx {
	uint16_t pref;
	struct sm_str name;
};

/* Least preference first; equal ones in random order (sm_rand_below). */
void ar_mx_sort(struct ar_mx *v, size_t count);
/* A host of preference `own` is this host: gives how many of the sorted list are better, so that
 * mail only ever comes nearer. */
size_t ar_mx_cut(const struct ar_mx *v, size_t count, uint16_t own);
/* RFC 7505: the only entry is the root, the domain takes no mail. */
bool ar_mx_is_null(const struct ar_mx *v, size_t count);
/* Without entries of the root among others, and of names seen before. Gives the new count. */
size_t ar_mx_unique(struct ar_mx *v, size_t count);

#endif
