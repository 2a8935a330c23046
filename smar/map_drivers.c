/* Which kinds of maps there are. */
#include "smar/map_int.h"

const struct ar_map_driver *const ar_map_drivers[] = {
    &ar_map_text,
    &ar_map_inline,
    NULL,
};

const struct ar_map_driver *ar_map_driver(enum ar_map_type type)
{
	for (size_t i = 0; ar_map_drivers[i] != NULL; i++)
		if (ar_map_drivers[i]->type == type)
			return ar_map_drivers[i];
	return NULL;
}
