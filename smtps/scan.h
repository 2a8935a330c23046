/*
 * Looks at content as it streams by: counts hops, bounds header and lines, picks the Message-ID for
 * the log. Never changes anything.
 */
#ifndef SS_SCAN_H
#define SS_SCAN_H

#include "smtps/conf.h"
#include "smtps/reply.h"

enum { SS_MSGID_MAX = 128, SS_SCAN_START = 160 };

struct ss_scan {
	const struct ss_conf *conf;
	bool in_header;
	enum ss_reply_name fault; /* the first limit that was passed; SS_R_NONE */
	int64_t hops, header_bytes, header_lines, line_bytes;
	size_t start_n;
	char start[SS_SCAN_START]; /* of the header line that is under way */
	size_t msgid_n;
	char msgid[SS_MSGID_MAX];
};

void ss_scan_init(struct ss_scan *sc, const struct ss_conf *conf);
/* The next piece of content, split anywhere. Gives `fault`. */
enum ss_reply_name ss_scan_feed(struct ss_scan *sc, const char *p, size_t n);

#endif
