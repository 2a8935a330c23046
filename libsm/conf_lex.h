/*
 * Inside of the configuration parser: text to tokens. Only conf_parse.c uses it.
 */
#ifndef SM_CONF_LEX_H
#define SM_CONF_LEX_H

#include "libsm/buf.h"
#include "libsm/conf.h"

enum sm_conf_tok {
	SM_TOK_END,    /* end of the file */
	SM_TOK_WORD,   /* bare characters */
	SM_TOK_STRING, /* what was in quotes, neighbours joined */
	SM_TOK_OPEN,   /* { */
	SM_TOK_CLOSE,  /* } */
	SM_TOK_EQUALS, /* = */
	SM_TOK_SEMI,   /* ; */
	SM_TOK_COMMA   /* , */
};

struct sm_conf_lex {
	const char *path;
	struct sm_str in; /* all of the text */
	size_t pos;       /* first character not yet read */
	int pos_line;     /* and its line */

	/* the current token */
	enum sm_conf_tok tok;
	struct sm_str text; /* WORD: in `in`; STRING: in `buf`, until the next token */
	int line;           /* where it begins */
	struct sm_buf buf;
};

void sm_conf_lex_init(struct sm_conf_lex *l, const char *path, struct sm_str in);
void sm_conf_lex_fini(struct sm_conf_lex *l);
/* Read the next token. SM_E_SYNTAX, SM_E_TOOBIG with "path:line: ..." in the diag. */
int sm_conf_lex_next(struct sm_conf_lex *l) SM_MUST_CHECK;
/* For messages: the current token as people write it, e.g. `"{"`, `"max_hops"`, `the end of the
 * file`. */
const char *sm_conf_lex_show(struct sm_conf_lex *l, char out[64]);

#endif
