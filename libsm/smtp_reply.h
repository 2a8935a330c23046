/*
 * SMTP replies as values: what smtps says and what smtpc was told. RFC 5321 4.2, enhanced codes RFC
 * 3463.
 */
#ifndef SM_SMTP_REPLY_H
#define SM_SMTP_REPLY_H

#include "libsm/arena.h"
#include "libsm/buf.h"

struct sm_reply {
	int code;           /* 200..599 */
	struct sm_str text; /* enhanced code and text; further lines behind LF */
};
/* Append as wire text: each line "NNN-" or "NNN ", CRLF-ended, at most 512 bytes, non-printable
 * bytes replaced by '?'. */
void sm_reply_put(struct sm_buf *b, int code, struct sm_str text);

/* "5.7.1" at the start of text; false when there is none or its class does not fit the code. */
bool sm_enhanced_parse(struct sm_str text, int code, unsigned out[3], struct sm_str *rest);

/*
 * Collects a server's reply line by line, defensively (RFC 5321 4.2.1): at most `max_lines` lines
 * and 4 KiB of text are kept, more are counted against the limit. feed: 1 complete, 0 more lines
 * follow, SM_E_PROTO (no code, code outside of 200..599, codes differ, bad separator), SM_E_TOOBIG.
 */
struct sm_reply_parser {
	int code, lines, max_lines;
	struct sm_buf text; /* lines joined by LF, control bytes replaced by '?' */
};
void sm_reply_parser_init(struct sm_reply_parser *p, int max_lines);
void sm_reply_parser_fini(struct sm_reply_parser *p);
void sm_reply_parser_reset(struct sm_reply_parser *p);
int sm_reply_parser_feed(struct sm_reply_parser *p, struct sm_str line) SM_MUST_CHECK;

#endif
