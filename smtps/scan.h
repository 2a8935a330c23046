/*
 * Looks at content as it streams by: counts hops, bounds header and lines, picks the Message-ID for
 * the log, notes what would not pass everywhere. Never changes anything.
 */
#ifndef SS_SCAN_H
#define SS_SCAN_H

#include "smtps/conf.h"
#include "smtps/reply.h"

enum { SS_MSGID_MAX = 128, SS_SCAN_START = 160 };

struct ss_scan {
	const struct ss_conf *conf;
	bool in_header;
	bool binary; /* BODY=BINARYMIME: lines need no end (RFC 3030 3) */
	bool bare;   /* a CR or LF by itself was seen where none may be */
	bool after_cr;
	bool header_8bit;         /* the header is not all ASCII */
	enum ss_reply_name fault; /* the first limit that was passed; SS_R_NONE */
	int64_t hops, header_bytes, header_lines, line_bytes;
	size_t start_n;
	char start[SS_SCAN_START]; /* of the header line that is under way */
	size_t msgid_n;
	char msgid[SS_MSGID_MAX];
};

void ss_scan_init(struct ss_scan *sc, const struct ss_conf *conf, bool binary);
/* The next piece of content, split anywhere. Gives `fault`. */
enum ss_reply_name ss_scan_feed(struct ss_scan *sc, const char *p, size_t n);
/* Before the piece is fed: look for CR and LF by themselves, where nobody has done so on the way
 * here (DATA has). */
void ss_scan_line_ends(struct ss_scan *sc, const char *p, size_t n);
/* That was all. Gives `fault`, or what only the end shows. */
enum ss_reply_name ss_scan_end(struct ss_scan *sc);

#endif
