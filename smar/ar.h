/*
 * What smar consists of, as one decision sees it: configuration, maps and tables that belong
 * together.
 */
#ifndef AR_AR_H
#define AR_AR_H

#include "smar/conf.h"
#include "smar/mailertable.h"
#include "smar/map.h"

struct ar {
	const struct ar_conf *conf;
	struct sm_str hostname; /* domain of a bare <postmaster> */
	int64_t dns_timeout_ms;
	struct ar_maps *maps;     /* NULL: none. Replaced as a whole by a reload */
	struct ar_mt *mt;         /* the mailertable's file; replaced together with the maps */
	struct ar_greylist *grey; /* NULL: nobody is greylisted */
	bool loopback_ok;         /* tests only: DNS may name loopback addresses */
};

/*
 * A decision that may wait is made with a copy that holds what a reload replaces, so that it ends
 * with the maps it began with. Of the loop's thread.
 */
static inline struct ar ar_hold(const struct ar *ar)
{
	struct ar copy = *ar;

	if (copy.maps != NULL)
		copy.maps = ar_maps_ref(copy.maps);
	if (copy.mt != NULL)
		copy.mt = ar_mt_ref(copy.mt);
	return copy;
}
static inline void ar_release(struct ar *copy)
{
	ar_maps_unref(&copy->maps);
	ar_mt_unref(&copy->mt);
}

#endif
