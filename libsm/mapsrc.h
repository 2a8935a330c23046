/*
 * The source text of maps: what operators write, createmap builds databases from, and text maps are
 * read from.
 *
 *     entry   = key (WSP / ":" WSP / WSP ":" WSP) value *(line-end WSP value)
 *     key     = one word; what stands in double quotes belongs to it with its blanks. A key that
 *               is one quoted string loses its quotes; in it \" \\ and \xHH are known.
 *
 * The key ends at the first white space; a colon right before it, or a word of its own behind it,
 * belongs to neither ("user: local:" is user and local:, "to:@dom relay" is to:@dom and relay). A
 * line that begins with white space continues the one before, joined with one blank. Lines that are
 * empty, or whose first character is #, are passed over, but an empty line ends an entry. Lines end
 * with LF or CRLF. There are no control characters but the tab.
 *
 * Any thread; files are read in pieces, so memory is one entry, and with SM_MAPSRC_UNIQUE the keys.
 */
#ifndef SM_MAPSRC_H
#define SM_MAPSRC_H

#include "libsm/buf.h"

#define SM_MAPSRC_KEY_MAX  600         /* AR_KEY_MAX: longer ones are never looked up */
#define SM_MAPSRC_LINE_MAX (64u << 10) /* an entry with its continuations */
#define SM_MAPSRC_FILE_MAX (UINT64_C(1) << 30)

enum sm_mapsrc_flags {
	SM_MAPSRC_CASE = 1,   /* keys keep upper case; otherwise they are folded */
	SM_MAPSRC_UNIQUE = 2, /* a key that was there is an error, which names both lines */
	SM_MAPSRC_EMPTY = 4,  /* a key may stand without value */
	SM_MAPSRC_WHOLE = 8,  /* entries are not taken apart: the key is empty, all is value */
};

struct sm_mapsrc_entry {
	struct sm_str key, value; /* valid during the call */
	unsigned line;            /* the first one of the entry, from 1 */
};

struct sm_mapsrc {
	const char *name; /* of the file, for messages */
	unsigned flags;
	/* Gives 0, or an error with a diag, which gets "name:line: " put before it. */
	int (*entry)(void *arg, const struct sm_mapsrc_entry *e);
	/* NULL: the first error ends it. Otherwise called for each, with the diag complete; gives
	 * whether to go on. */
	bool (*wrong)(void *arg, int err);
	void *arg;
};

/* All entries in order. 0; the first error (SM_E_SYNTAX, SM_E_EXISTS: a key comes twice,
 * SM_E_TOOBIG, what `entry` gave), with a diag "name:line: what"; or one of reading. */
int sm_mapsrc_text(const struct sm_mapsrc *src, struct sm_str text) SM_MUST_CHECK;
/* From where the descriptor stands to its end. Blocks. */
int sm_mapsrc_fd(const struct sm_mapsrc *src, int fd) SM_MUST_CHECK;
int sm_mapsrc_file(const struct sm_mapsrc *src, const char *path) SM_MUST_CHECK;

/* One entry as source text, so that it is read back as it is (with SM_MAPSRC_CASE, and EMPTY where
 * the value is). SM_E_NOTSUP: the value cannot be written (control characters, blanks at an end),
 * or one of the two is too long. Nothing is appended then. */
int sm_mapsrc_write(struct sm_buf *out, struct sm_str key, struct sm_str value) SM_MUST_CHECK;

/* Keys that were seen, and in which line. */
struct sm_mapsrc_seen;
struct sm_mapsrc_seen *sm_mapsrc_seen_new(void) __attribute__((returns_nonnull));
void sm_mapsrc_seen_free(struct sm_mapsrc_seen **s);
/* The line where this key was seen first; 0: now. */
unsigned sm_mapsrc_seen_add(struct sm_mapsrc_seen *s, struct sm_str key, unsigned line);

#endif
