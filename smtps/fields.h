/*
 * A message as it streams by, cut into the fields of its header and its body, wherever the stream
 * is cut. The header ends at an empty line, or, without one, before the first line that is no
 * field: then that line is the body's first.
 */
#ifndef SS_FIELDS_H
#define SS_FIELDS_H

#include "libsm/buf.h"

/* Who is told. A result other than 0 stops the feeding, which gives it back. They may yield. */
struct ss_fields_sink {
	/* A whole field with the CRLF of each of its lines. */
	int (*field)(void *arg, struct sm_str field) SM_YIELDS;
	/* The header is over; `blank`: by an empty line, which is neither a field nor body. */
	int (*end)(void *arg, bool blank) SM_YIELDS;
	int (*body)(void *arg, const char *p, size_t n) SM_YIELDS;
};

struct ss_fields {
	const struct ss_fields_sink *sink;
	void *arg;
	bool in_body;
	struct sm_buf b; /* the field that is under way, and behind it the line that is */
	size_t field;    /* bytes of the former */
};

/* `max_field`: bytes of a field with its lines; more is SM_E_TOOBIG. */
void ss_fields_init(struct ss_fields *f, const struct ss_fields_sink *sink, void *arg,
                    size_t max_field);
void ss_fields_fini(struct ss_fields *f);
int ss_fields_feed(struct ss_fields *f, const char *p, size_t n) SM_YIELDS SM_MUST_CHECK;
/* There is no more. The header's end is told, also when there was no body. */
int ss_fields_finish(struct ss_fields *f) SM_YIELDS SM_MUST_CHECK;

/* Name (without white space) and what follows the colon, with the CRLF at its end. False: it is no
 * field. */
bool ss_field_split(struct sm_str field, struct sm_str *name, struct sm_str *value);
/* May this be the name of a field (RFC 5322 2.2)? */
bool ss_field_name_ok(struct sm_str name);

#endif
