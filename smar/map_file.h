/* Files of maps that are read into memory as a whole: then one that is written in place meanwhile
 * does no harm. Blocks; any thread. */
#ifndef AR_MAP_FILE_H
#define AR_MAP_FILE_H

#include "libsm/str.h"

/* All of it. On error *out needs no free, the diag names the path. */
int ar_map_file_read(const char *path, struct sm_str *out) SM_MUST_CHECK;
void ar_map_file_free(struct sm_str *text); /* harmless when it is empty */

#endif
