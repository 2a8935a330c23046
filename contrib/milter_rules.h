/*
 * The rules of milter-regex: a file of them, and what they say as a session goes on. Knows nothing
 * of the milter protocol. Rules are read once and never change; a state belongs to one session and
 * one thread at a time.
 */
#ifndef MILTER_RULES_H
#define MILTER_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum mr_event { MR_CONNECT, MR_HELO, MR_MAIL, MR_RCPT, MR_HEADER, MR_BODY };
enum mr_action {
	MR_ACCEPT,
	MR_REJECT,
	MR_TEMPFAIL,
	MR_DISCARD,
	MR_QUARANTINE, /* this and the next are done at the end of the message; others are the end
	                */
	MR_ADD,
};

struct mr_rule {
	enum mr_action action;
	unsigned line; /* of the file */
	char *name;    /* MR_ADD: the field */
	char *text;    /* MR_ADD: its value; MR_QUARANTINE: the reason; refusals: the text */
	char code[4], status[12]; /* refusals: "550", "5.7.1" */
	size_t first, count;      /* its conditions */
};
struct mr_rules;
struct mr_state;

/*
 * Reads a file of rules. NULL: it has errors; each is a line "NAME:LINE: text" in `errors`. An
 * empty file is fine.
 */
struct mr_rules *mr_read(FILE *f, const char *name, FILE *errors);
void mr_free(struct mr_rules *rules);
size_t mr_count(const struct mr_rules *rules);
const struct mr_rule *mr_rule(const struct mr_rules *rules, size_t i);
/* Does any of them ask about this? */
bool mr_asks(const struct mr_rules *rules, enum mr_event event);

/* NULL: no memory. */
struct mr_state *mr_state_new(const struct mr_rules *rules);
void mr_state_free(struct mr_state *s);
/*
 * What has happened: `a` is the client's name, the name of HELO, an address without <>, the name of
 * a field, or a line of the body; `b` the client's address or the field's value, else NULL.
 * MR_MAIL begins a message. Gives the rule that ends the matter, or NULL.
 */
const struct mr_rule *mr_tell(struct mr_state *s, enum mr_event event, const char *a,
                              const char *b);
/* No more recipients (MR_RCPT), fields (MR_HEADER) or lines (MR_BODY) will come. */
const struct mr_rule *mr_end(struct mr_state *s, enum mr_event event);
/* Is the i-th rule, MR_QUARANTINE or MR_ADD, to be done at the end of this message? */
bool mr_pending(const struct mr_state *s, size_t i);
bool mr_any_pending(const struct mr_state *s);
/* Can this kind of event still change anything for this message? */
bool mr_curious(const struct mr_state *s, enum mr_event event);

#endif
