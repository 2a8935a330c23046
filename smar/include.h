/* Files with the members of lists, in the one directory that the operator names for them. */
#ifndef AR_INCLUDE_H
#define AR_INCLUDE_H

#include "libsm/buf.h"

/*
 * Read the list `name` (as ar_rhs_parse lets it through) below `directory`. `out` is fresh, its
 * maximum is what a list may take. Neither the file nor a directory on the way may be a symbolic
 * link, and nobody but owner and group may be able to write to them. SM_E_NOTFOUND, SM_E_DENIED,
 * SM_E_NOTSUP (not a plain file), SM_E_TOOBIG, SM_E_IO ...; the diag names it. Blocks; any thread.
 */
int ar_include_read(const char *directory, const char *name, struct sm_buf *out) SM_MUST_CHECK;
/* Is the directory itself fit for that? Errors as above. Blocks; any thread. */
int ar_include_check(const char *directory) SM_MUST_CHECK;

#endif
