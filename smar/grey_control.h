/*
 * The greylist's own control socket, "ctl" in its directory: what greyprint and greyrm ask while
 * smar has the databases. Verbs: list, remove; an argument names a net (grey_row.h). Only root and
 * smar's user get to the directory.
 */
#ifndef AR_GREY_CONTROL_H
#define AR_GREY_CONTROL_H

#include "smar/ar.h"

struct ar_grey_control;

/* Before rights are dropped: afterwards no listener can be made. ar->grey may come later. */
int ar_grey_control_open(const struct ar *ar, struct ar_grey_control **out) SM_MUST_CHECK;
void ar_grey_control_free(struct ar_grey_control **c); /* before ar_greylist_free */

#endif
