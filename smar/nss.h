/*
 * The user database of the C library, asked so that "there is none" can be told from "nobody could
 * be asked".
 *
 * By itself the library goes on to the next source of nsswitch.conf when one cannot be asked, and
 * says "there is none" when that one has none: with /etc/passwd out of reach, or without a free
 * descriptor, every user would be unknown, for good.
 */
#ifndef AR_NSS_H
#define AR_NSS_H

#include "libsm/buf.h"

/*
 * Once in a process, before any ar_nss_user, and before rights are dropped: load the modules that
 * nsswitch.conf names for passwd, and have each source that is there end the search when it cannot
 * be asked, unless nsswitch.conf itself says what then ("[UNAVAIL=...]"). Changes of nsswitch.conf
 * are not seen any more. Further calls do nothing.
 */
int ar_nss_init(void) SM_MUST_CHECK;
/* 0 and *there; an error with diag. Blocks; any thread. */
int ar_nss_user(const char *name, bool *there) SM_MUST_CHECK;

/* For tests: the sources of the line "passwd:" of this text, with what they are to do added, for
 * those that `is_there` says yes to. */
void ar_nss_sources(struct sm_str nsswitch, bool (*is_there)(const char *source),
                    struct sm_buf *out);

#endif
