/*
 * The configuration language: parser, option tables, binding of one to the other, dumps.
 *
 *   conf    = *entry
 *   entry   = option / section
 *   section = keyword [name] "{" *entry "}" [";"]
 *   option  = keyword "=" ( value ";" / "{" [value *("," value)] "}" [";"] )
 *
 * Keywords fold case. "#" to the end of the line and C comments are skipped. Adjacent quoted
 * strings are one. Everything is bounded: file size 1 MiB, nesting 8, entries 20000, value 64 KiB.
 */
#ifndef SM_CONF_H
#define SM_CONF_H

#include "libsm/arena.h"
#include "libsm/err.h"

/* ---- syntax tree
 * ------------------------------------------------------------------------------------------------
 */
struct sm_conf_value {
	struct sm_str text;
	int line;
	struct sm_conf_value *next;
};
struct sm_conf_node {
	struct sm_str key;  /* as written */
	struct sm_str name; /* of a named section, else empty */
	int line;
	bool is_section, is_list;
	struct sm_conf_value *values;                      /* option */
	struct sm_conf_node *parent, *first, *last, *next; /* section: children in order */
	bool used;                                         /* bound by some table */
};
struct sm_conf_file {
	const char *path;
	struct sm_arena arena;
	struct sm_conf_node root;
};
/* Parse. On error SM_E_SYNTAX or another code, and the diag says "path:line: what". The tree lives
 * until sm_conf_free. */
int sm_conf_load(struct sm_conf_file *f, const char *path) SM_MUST_CHECK;
int sm_conf_parse(struct sm_conf_file *f, const char *path, struct sm_str text) SM_MUST_CHECK;
void sm_conf_free(struct sm_conf_file *f);

/* ---- option tables: one row = parser, target, default, bounds, unit, help, man page
 * -------------------------------- */
enum sm_opt_type {
	SM_OPT_BOOL,  /* bool */
	SM_OPT_INT,   /* int64_t; decimal, 0x, 0 octal */
	SM_OPT_TIME,  /* int64_t milliseconds; "1h 5m", "5m3s"; unit "us" in the row: microseconds,
	                 default unit as well */
	SM_OPT_SIZE,  /* int64_t bytes; unit "KB" in the row: a bare number counts KB */
	SM_OPT_STR,   /* struct sm_str */
	SM_OPT_PATH,  /* struct sm_str; a default without '/' is relative to the config file when
	                 unit is "etc", else to the queue directory */
	SM_OPT_ENUM,  /* int; words of the row */
	SM_OPT_FLAGS, /* uint32_t; words of the row; "dont_x", "no_x", "not_x" clear */
	SM_OPT_LIST,  /* struct sm_conf_list of strings */
	SM_OPT_SECTION, /* a fixed subsection: `sub` at offset */
	SM_OPT_SECTIONS /* any number of subsections, named or not: struct sm_conf_sections,
	                   elements of `sub_size` by `sub` */
};
struct sm_word {
	const char *word;
	uint32_t value;
	const char *help;
};
struct sm_conf_list {
	size_t count;
	struct sm_str *v;
};
struct sm_conf_sections {
	size_t count;
	void *v; /* array of sub_size elements, in file order */
};
struct sm_opt {
	const char *name;
	enum sm_opt_type type;
	size_t offset;
	const char *def; /* default as it would be written; NULL: none (required when `required`) */
	const char *written; /* PATH, STR: the default instead when the section is written at all */
	int64_t min,
	    max; /* INT, TIME (ms or us), SIZE (bytes), STR/LIST (length/count) when max > 0 */
	const char *unit; /* for people and for the cases above; NULL: none */
	const struct sm_word *words;
	const struct sm_opt *sub;
	size_t sub_size; /* of one element (SECTIONS) */
	bool required;
	bool reload;      /* takes effect on HUP */
	bool session;     /* may differ between sessions: sm_conf_bind_session (not for SECTIONS) */
	const char *help; /* one line, for -h and dumps */
	const char *man;  /* further sentences for the manual page; NULL: help is enough */
};
#define SM_OPT_END \
	{          \
		0  \
	} /* name NULL */
/* Every element of SECTIONS begins with this; it gets the name (empty: unnamed), the line, and the
 * path of the file as it was given to sm_conf_load (copied). */
struct sm_conf_where {
	struct sm_str name;
	const char *path;
	int line;
};
/* Put "path:line: section NAME: " (line 0: none) before the diag of a check, unless that names a
 * line of the file itself; gives `err` back. */
int sm_conf_fail_in(int err, const char *path, int line, struct sm_str section);

/* Set every target of the table to its default. A default that the table itself refuses is a bug
 * (asserted). */
void sm_conf_defaults(const struct sm_opt *table, void *target, struct sm_arena *a);
/*
 * Bind the entries of `section` to `target` by `table`. `also` (may be NULL) is a second table
 * whose names are known but not bound here (mcp's options in a component's section). In `also`, a
 * row named "*" brings in the rows of its `sub`, or without `sub` every name. Unknown option:
 * SM_E_NOTFOUND, diag "file:line: unknown option X (did you mean Y?)"; values out of range and of
 * the wrong type likewise; a required one that is missing: SM_E_SYNTAX. Later entries win; flags
 * change what was set before; SECTIONS add. In the root section, other sections are passed over:
 * they are other programs'. Strings live in the arena. `target` has its defaults already; here PATH
 * defaults with unit "etc" get the directory of the file put before them.
 */
int sm_conf_bind(const struct sm_conf_file *f, struct sm_conf_node *section,
                 const struct sm_opt *table, const struct sm_opt *also, void *target,
                 struct sm_arena *a) SM_MUST_CHECK;
/* The same, but goes on after an error: each one is told to `report` (the line is valid during the
 * call). Gives how many there were. */
typedef void sm_conf_report(void *arg, const char *line);
size_t sm_conf_bind_all(const struct sm_conf_file *f, struct sm_conf_node *section,
                        const struct sm_opt *table, const struct sm_opt *also, void *target,
                        struct sm_arena *a, sm_conf_report *report, void *report_arg);
/*
 * One option given as text, e.g. from a short command line option: `where` stands for file:line in
 * errors. `name` may lead through subsections ("DEFEDB.base_directory"); values of lists and flags
 * are separated by commas.
 */
int sm_conf_set(const struct sm_opt *table, void *target, struct sm_arena *a, const char *name,
                const char *value, const char *where) SM_MUST_CHECK;
/* The same for one more value behind those that a list has already, e.g. for a short option that
 * may be repeated. */
int sm_conf_add(const struct sm_opt *table, void *target, struct sm_arena *a, const char *name,
                const char *value, const char *where) SM_MUST_CHECK;
/*
 * For a reload: options that take effect only at the start (not `reload`) keep their value of `was`
 * in `now`. `changed` (may be NULL) is told the dotted name of each one whose value differs. `now`
 * then holds pointers into the arena of `was`.
 */
void sm_conf_keep(const struct sm_opt *table, void *now, const void *was, sm_conf_report *changed,
                  void *arg);
/*
 * Text that changes a configuration for one session, as the access map has it: only rows of `table`
 * with `session` may stand there. `target` is a copy of what is in force, by value; strings and
 * lists that change live in `a`. On an error some of it may have changed: SM_E_DENIED for a row
 * that cannot differ between sessions, else as sm_conf_parse and sm_conf_bind; the diag begins with
 * "where:line: ".
 */
int sm_conf_bind_session(const struct sm_opt *table, void *target, struct sm_arena *a,
                         struct sm_str text, const char *where) SM_MUST_CHECK;
/* The section `key` with this name; name empty: the unnamed one, or the only one. NULL: none. */
struct sm_conf_node *sm_conf_find(struct sm_conf_file *f, struct sm_str key, struct sm_str name);

/*
 * The table as configuration text with current values, one option a line, that parses back to the
 * same; with_help adds a line
 * "# help (min to max unit, default x)" before each.
 */
struct sm_buf;
void sm_conf_dump(struct sm_buf *b, const struct sm_opt *table, const void *target, int indent,
                  bool with_help);
/* One JSON object. Times are numbers in milliseconds (microseconds when that is the row's unit),
 * sizes in bytes, flags and lists arrays. */
void sm_conf_dump_json(struct sm_buf *b, const struct sm_opt *table, const void *target);
void sm_conf_json_str(struct sm_buf *b,
                      struct sm_str s); /* "..." with escapes; what is no UTF-8 becomes U+FFFD */
/* One option by its dotted name, as its value alone (a section: as sm_conf_dump). SM_E_NOTFOUND. */
int sm_conf_dump_one(struct sm_buf *b, const struct sm_opt *table, const void *target,
                     struct sm_str name) SM_MUST_CHECK;
void sm_conf_dump_flags(struct sm_buf *b,
                        const struct sm_opt *table); /* all words of ENUM and FLAGS options */
void sm_conf_man(struct sm_buf *b, const struct sm_opt *table,
                 const char *prefix); /* mdoc list items */

/* Parsers by themselves: SM_E_SYNTAX, SM_E_RANGE. */
int sm_conf_time(struct sm_str s, bool microseconds, int64_t *out) SM_MUST_CHECK;
int sm_conf_size(struct sm_str s, bool kilobytes, int64_t *out) SM_MUST_CHECK;
int sm_conf_bool(struct sm_str s, bool *out) SM_MUST_CHECK;
int sm_conf_int(struct sm_str s, int64_t *out) SM_MUST_CHECK;

/* Global options that every component reads (hostname, CDB_base_directory, sockets), and the log
 * section that each has. */
struct sm_conf_global {
	struct sm_str hostname, cdb_base_directory, smar_socket, smtpc_socket, smtps_socket;
};
extern const struct sm_opt sm_conf_global_opts[];
/* What the table cannot say: SM_E_SYNTAX with "where: ..." */
int sm_conf_global_check(const struct sm_conf_global *g, const char *where) SM_MUST_CHECK;
enum { SM_LOG_PID = 1, SM_LOG_PERROR = 2, SM_LOG_CONS = 4 };
enum sm_log_format { SM_LOG_KV, SM_LOG_JSON };
struct sm_conf_log {
	int format;          /* enum sm_log_format */
	int facility;        /* as of syslog(3), -1: none, the log is descriptor 2 */
	struct sm_str ident; /* empty: the program's name */
	uint32_t options;    /* SM_LOG_* */
};
extern const struct sm_opt sm_conf_log_opts[];
/* What every component has beside its own options; proc.c binds it. */
struct sm_conf_worker {
	int64_t log_level;
	struct sm_conf_log log;
};
extern const struct sm_opt sm_conf_worker_opts[];
/* As `also` for a component's own table: the worker's and mcp's. */
extern const struct sm_opt sm_conf_common_opts[];
/* What mcp binds in every section and the components accept beside their own. Its struct is mcp's
 * affair; here only the names matter (conf_mcp.h). */
extern const struct sm_opt sm_conf_mcp_opts[];
/* As `also` of sm_conf_bind: every other name belongs to somebody else. */
extern const struct sm_opt sm_conf_any[];

/* The name of the tables with the fewest typing errors to `name`, NULL when nothing is near: for
 * "did you mean". */
const char *sm_conf_nearest(const struct sm_opt *table, const struct sm_opt *also,
                            struct sm_str name);
const char *sm_conf_nearest_word(const struct sm_word *words, struct sm_str name);

#endif
