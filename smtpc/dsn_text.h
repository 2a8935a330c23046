/*
 * What a DSN says to people: a subject and a text for each kind, built in, or of an operator's
 * files.
 *
 *   file     = "Subject:" text LF LF *( literal / variable / "$$" )
 *   variable = "${" name "}"
 *
 * A file is UTF-8, named after its kind ("failed.txt"). Lines end with LF or CRLF.
 */
#ifndef SC_DSN_TEXT_H
#define SC_DSN_TEXT_H

#include "libsm/arena.h"

enum sc_dsn_var {
	SC_DSN_LITERAL,
	SC_DSN_HOSTNAME,
	SC_DSN_ID,
	SC_DSN_SENDER,
	SC_DSN_ARRIVAL,
	SC_DSN_UNTIL,
	SC_DSN_RECIPIENTS
};

struct sc_dsn_piece {
	enum sc_dsn_var var;
	struct sm_str text; /* of a literal: CRLF lines */
};
struct sc_dsn_text {
	struct sm_str subject;
	struct sc_dsn_piece *pieces;
	size_t count;
};

enum { SC_DSN_KINDS = 7 /* of enum sm_dsn_kind, with NONE */ };

struct sc_dsn_texts {
	struct sm_arena arena;
	struct sc_dsn_text of[SC_DSN_KINDS];
	unsigned files; /* how many came from files */
};

/* Those of the files in `dir`; built in where there is none, and all when dir is empty. An error
 * with a diag "file:line: what"; *out is NULL then. Blocks. */
int sc_dsn_texts_load(struct sm_str dir, struct sc_dsn_texts **out) SM_MUST_CHECK;
void sc_dsn_texts_free(struct sc_dsn_texts **t);

/* One text. `path` is for the diag. The arena has room for twice the text. */
int sc_dsn_text_parse(struct sm_arena *a, const char *path, struct sm_str text,
                      struct sc_dsn_text *out) SM_MUST_CHECK;

#endif
