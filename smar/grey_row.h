/* Entries of the greylist as operators name and see them. */
#ifndef AR_GREY_ROW_H
#define AR_GREY_ROW_H

#include "libsm/buf.h"
#include "smar/grey.h"

/*
 * "192.0.2.1" (the entry that such a client has, by the netmasks of `conf`), "192.0.2.0/24",
 * "2001:db8::/32"; empty: all. SM_E_SYNTAX with diag.
 */
int ar_grey_net_parse(struct sm_str text, const struct ar_grey_conf *conf, struct ar_grey_key *net,
                      unsigned *bits) SM_MUST_CHECK;
/* A line of JSON (doc/formats.md). `shift_s` makes times of day of the entry's. */
void ar_grey_row_put(struct sm_buf *b, const struct ar_grey_key *key, const struct ar_grey_entry *e,
                     int64_t shift_s);

#endif
