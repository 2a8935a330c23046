/* Which kinds of maps there are. */
#include "smar/map_int.h"

static const struct ar_map_driver *const drivers[] = {
    &ar_map_text,  &ar_map_inline, &ar_map_hash,   &ar_map_lmdb,     &ar_map_cdb,
    &ar_map_regex, &ar_map_socket, &ar_map_passwd, &ar_map_sequence, NULL,
};

static const struct ar_map_driver *replacement;
static enum ar_map_type replaced;

void ar_map_driver_replace(enum ar_map_type type, const struct ar_map_driver *by)
{
	replaced = type;
	replacement = by;
}

const struct ar_map_driver *ar_map_driver(enum ar_map_type type)
{
	if (replacement != NULL && replaced == type)
		return replacement;
	for (size_t i = 0; drivers[i] != NULL; i++)
		if (drivers[i]->type == type)
			return drivers[i];
	return NULL;
}
