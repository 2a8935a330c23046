/*
 * Completes the header of submitted mail while it streams through (RFC 6409 8), in smtps and in
 * sendmail(8): a Date:, a
 * Message-ID: and a From: that are missing are put at the header's end. Nothing else is changed.
 */
#ifndef SS_COMPLETE_H
#define SS_COMPLETE_H

#include "libsm/str.h"

/* What the fields are made of; strings must outlive the content. */
struct ss_complete_by {
	struct sm_str unique;   /* left side of a Message-ID: this host never makes it again */
	struct sm_str hostname; /* ours */
	struct sm_str sender;   /* envelope; empty: <> */
	struct sm_str phrase;   /* before it in From:, as it is to stand there, at most 1000 bytes;
	                           empty: none */
	int64_t wall_s;
	/* Where the bytes go: 0 or an error, which is given back. */
	int (*put)(void *arg, const void *p, size_t n);
	void *arg;
};

enum { SS_ADDED_DATE = 1, SS_ADDED_MSGID = 2, SS_ADDED_FROM = 4 };

struct ss_complete {
	struct ss_complete_by by;
	unsigned missing; /* SS_ADDED_*: not seen so far */
	unsigned added;
	bool over;    /* the header has ended: all that comes passes */
	bool passing; /* the rest of this line passes */
	bool any;     /* there was a field: a line may continue it */
	size_t held_n;
	char held[128]; /* beginning of a line, until it is known what it is */
};

void ss_complete_init(struct ss_complete *c, const struct ss_complete_by *by);
/* The next piece, split anywhere. */
int ss_complete_feed(struct ss_complete *c, const char *p, size_t n) SM_MUST_CHECK;
/* There is no more: a header without a body ends here. */
int ss_complete_end(struct ss_complete *c) SM_MUST_CHECK;
/* The Message-ID that was added, without its field name; `out` at least SM_COMPLETE_ID bytes. */
enum { SS_COMPLETE_ID = 300 };
struct sm_str ss_complete_msgid(const struct ss_complete *c, char *out, size_t size);

#endif
