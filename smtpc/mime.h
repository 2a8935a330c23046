/* What MIME wants of text that is not plain ASCII in short lines (RFC 2045, 2047). Pure. */
#ifndef SC_MIME_H
#define SC_MIME_H

#include "libsm/buf.h"

/* What a piece of a message is, and so how it can travel. */
enum sc_mime_kind {
	SC_MIME_7BIT,  /* ASCII in CRLF lines of at most 998 bytes */
	SC_MIME_8BIT,  /* the same with bytes above ASCII */
	SC_MIME_BINARY /* NUL, a lone CR or LF, a longer line */
};
enum sc_mime_kind sc_mime_kind(struct sm_str s);

/* Quoted-printable (RFC 2045 6.7) of text in CRLF lines; whatever else is in it is encoded. */
void sc_mime_put_qp(struct sm_buf *b, struct sm_str s);
/* The value of an unstructured field: as it is, or as encoded words (RFC 2047) in folded lines.
 * `s` is UTF-8 without controls. */
void sc_mime_put_words(struct sm_buf *b, struct sm_str s);

#endif
