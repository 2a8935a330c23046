/*
 * smconf, the configuration checker: reads a whole file as mcp and all components together would,
 * and tells everything that is wrong with it.
 */
#ifndef SMCONF_H
#define SMCONF_H

#include "libsm/buf.h"
#include "libsm/conf_mcp.h"

/* A program of smx, by the keyword of its section. */
struct cf_component {
	const char *keyword;
	const struct sm_opt *opts;
	size_t size;                /* of its configuration struct */
	int (*check)(const void *); /* what the table cannot say; NULL: nothing */
	const char *about;          /* for the manual page */
	/* First process index of a section; NULL: it does not matter. */
	int64_t (*index)(const void *);
	/* May a section be given a listener on this TCP port? A diag otherwise. NULL: any. */
	int (*check_port)(const void *, int64_t port);
};
extern const struct cf_component cf_components[]; /* keyword NULL ends it */

/* What stands in the values of a map, in the same language. */
struct cf_text {
	const char *name;
	const struct sm_opt *opts;
	const char *section; /* it takes those options of this section that may differ between
	                        sessions; NULL: all of `opts` */
	const char *about;   /* for the manual page */
};
extern const struct cf_text cf_texts[]; /* name NULL ends it */

/* One section of the file's top level. */
struct cf_section {
	struct sm_conf_node *node;
	const struct cf_component *component; /* NULL: a program that is not of smx */
	void *conf;                           /* of the component */
	struct sm_conf_worker worker;         /* likewise */
	bool is_service;                      /* mcp starts it */
	struct sm_conf_service service;
};

struct cf {
	struct sm_conf_file file;
	struct sm_arena arena;
	struct sm_conf_global global;
	struct cf_section *sections; /* in the order of the file */
	size_t count;
	size_t errors;
	sm_conf_report *report;
	void *report_arg;
};

/* Read `path` and bind all of it; each error is told to `report`. Gives 0 when the file could be
 * parsed (then see c->errors), else an error with diag. */
int cf_load(struct cf *c, const char *path, sm_conf_report *report, void *arg) SM_MUST_CHECK;
void cf_free(struct cf *c);

/* All options of one section, with its values: f is called for each table that belongs to it. */
void cf_each_table(const struct cf_section *s,
                   void (*f)(const struct sm_opt *table, const void *target, void *arg), void *arg);

/* The generated sections of smx.conf(5). */
void cf_man(struct sm_buf *b);

#endif
