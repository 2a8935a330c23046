/*
 * The header of a message as a list of fields, and what filters change in it. One of them may be
 * ours: the Received: that was put in front, which filters neither see nor change.
 */
#ifndef SS_HEADER_H
#define SS_HEADER_H

#include "libsm/arena.h"
#include "libsm/buf.h"
#include "libsm/list.h"

enum ss_header_change_kind {
	SS_HEADER_ADD,    /* at the end */
	SS_HEADER_INSERT, /* before field `index`, from 0, ours counted; at the end if there is none
	                   */
	SS_HEADER_REPLACE, /* the index-th field of that name, from 1, ours not counted; an empty
	                      value takes it away; if there is none, a value is added at the end */
};
struct ss_header_change {
	struct sm_list link;
	enum ss_header_change_kind kind;
	uint32_t index;
	struct sm_str name;
	struct sm_str field; /* as it will stand, with CRLF; empty: take it away */
};
/*
 * A change in `a`. The value's lines are separated by LF or CRLF; one that does not begin with
 * white space gets it, so that a value is never more than one field, and empty lines are left out.
 * With `spaced` the value brings the space behind the colon along. SM_E_SYNTAX: no name of a field;
 * SM_E_TOOBIG: `a` is full.
 */
int ss_header_change_new(struct sm_arena *a, enum ss_header_change_kind kind, uint32_t index,
                         struct sm_str name, struct sm_str value, bool spaced,
                         struct ss_header_change **out) SM_MUST_CHECK;

struct ss_header {
	struct sm_str *v; /* fields with CRLF, borrowed */
	size_t n, cap;
	size_t ours; /* which of them; SIZE_MAX: none is */
};
void ss_header_init(struct ss_header *h, size_t ours);
void ss_header_fini(struct ss_header *h);
void ss_header_push(struct ss_header *h, struct sm_str field);
/* The change and its field must live as long as the header. */
void ss_header_apply(struct ss_header *h, const struct ss_header_change *c);

#endif
