/*
 * What the rules say as a session goes on. Invariants: a condition is open until its event decides
 * it, and a rule holds when all of its conditions are true; conditions about connection and HELO
 * live as long as the session, all others as long as the message. One thread for each state.
 */
#include "contrib/milter_rules_int.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum truth { OPEN, TRUE, FALSE };

struct mr_state {
	const struct mr_rules *rules;
	pcre2_match_data *match;
	bool helo, accepted; /* accepted: this message, but something has to be done at its end */
	enum truth *truth;   /* of conditions */
	bool *now, *seen;    /* of conditions about recipients: this one matches; one of them did */
	bool *pending;       /* of rules */
};

struct mr_state *mr_state_new(const struct mr_rules *rules)
{
	struct mr_state *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->rules = rules;
	s->match = pcre2_match_data_create(1, NULL);
	s->truth = calloc(rules->condition_count + 1, sizeof(*s->truth));
	s->now = calloc(rules->condition_count + 1, sizeof(*s->now));
	s->seen = calloc(rules->condition_count + 1, sizeof(*s->seen));
	s->pending = calloc(rules->count + 1, sizeof(*s->pending));
	if (s->match != NULL && s->truth != NULL && s->now != NULL && s->seen != NULL &&
	    s->pending != NULL)
		return s;
	mr_state_free(s);
	return NULL;
}

void mr_state_free(struct mr_state *s)
{
	if (s == NULL)
		return;
	pcre2_match_data_free(s->match);
	free(s->truth);
	free(s->now);
	free(s->seen);
	free(s->pending);
	free(s);
}

static bool matches(struct mr_state *s, const pcre2_code *code, const char *text)
{
	int rc;

	if (code == NULL)
		return true;
	rc = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, s->match, NULL);
	if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
		syslog(LOG_WARNING, "matching a text of %zu bytes failed: PCRE2 error %d",
		       strlen(text), rc);
	return rc >= 0;
}

static enum truth truth_of(bool is)
{
	return is ? TRUE : FALSE;
}

/* What has happened, for one condition about it. */
static void decide(struct mr_state *s, size_t i, const char *a, const char *b)
{
	const struct mr_condition *c = &s->rules->conditions[i];
	bool is;

	if (c->event >= MR_HEADER && s->truth[i] != OPEN)
		return;
	is = matches(s, c->first, a) && matches(s, c->second, b != NULL ? b : "");
	switch (c->event) {
	case MR_CONNECT:
	case MR_HELO:
	case MR_MAIL:
		s->truth[i] = truth_of(is != c->negated);
		break;
	case MR_RCPT:
		s->now[i] = is;
		s->truth[i] = c->negated ? OPEN : truth_of(is);
		break;
	case MR_HEADER:
	case MR_BODY:
		if (is)
			s->truth[i] = truth_of(!c->negated);
		break;
	}
}

static void begin_message(struct mr_state *s)
{
	for (size_t i = 0; i < s->rules->condition_count; i++) {
		const struct mr_condition *c = &s->rules->conditions[i];

		if (c->event >= MR_MAIL)
			s->truth[i] = OPEN;
		s->seen[i] = s->now[i] = false;
	}
	memset(s->pending, 0, s->rules->count * sizeof(*s->pending));
	s->accepted = false;
}

static bool holds(const struct mr_state *s, const struct mr_rule *rule)
{
	for (size_t i = rule->first; i < rule->first + rule->count; i++)
		if (s->truth[i] != TRUE)
			return false;
	return true;
}

static bool is_last_word(const struct mr_rule *rule)
{
	return rule->action != MR_QUARANTINE && rule->action != MR_ADD;
}

static bool refuses(const struct mr_rule *rule)
{
	return rule != NULL && (rule->action == MR_REJECT || rule->action == MR_TEMPFAIL);
}

/* The first rule of the file that ends the matter; those before it are done at the end, unless
 * there will be none. */
static const struct mr_rule *judge(struct mr_state *s)
{
	const struct mr_rule *v = s->rules->v, *last = NULL;
	size_t n = 0;

	for (; n < s->rules->count; n++)
		if (is_last_word(&v[n]) && holds(s, &v[n])) {
			last = &v[n];
			break;
		}
	s->accepted |= last != NULL && last->action == MR_ACCEPT;
	for (size_t i = 0; !refuses(last) && i < n; i++)
		s->pending[i] |= !is_last_word(&v[i]) && holds(s, &v[i]);
	return last;
}

const struct mr_rule *mr_tell(struct mr_state *s, enum mr_event event, const char *a, const char *b)
{
	const struct mr_rule *rule;

	if (event == MR_HELO)
		s->helo = true;
	if (event == MR_MAIL) {
		/* Who says no HELO has said an empty one. */
		if (!s->helo)
			(void)mr_tell(s, MR_HELO, "", NULL);
		begin_message(s);
	}
	if (s->accepted && event >= MR_RCPT)
		return NULL;
	for (size_t i = 0; i < s->rules->condition_count; i++)
		if (s->rules->conditions[i].event == event)
			decide(s, i, a, b);
	rule = judge(s);
	/* A recipient that is refused is none. */
	for (size_t i = 0; event == MR_RCPT && !refuses(rule) && i < s->rules->condition_count; i++)
		s->seen[i] |= s->now[i];
	return rule;
}

const struct mr_rule *mr_end(struct mr_state *s, enum mr_event event)
{
	if (s->accepted)
		return NULL;
	for (size_t i = 0; i < s->rules->condition_count; i++) {
		const struct mr_condition *c = &s->rules->conditions[i];

		if (c->event != event)
			continue;
		if (event == MR_RCPT)
			s->truth[i] = truth_of(s->seen[i] != c->negated);
		else if (s->truth[i] == OPEN)
			s->truth[i] = truth_of(c->negated);
	}
	return judge(s);
}

bool mr_pending(const struct mr_state *s, size_t i)
{
	return s->pending[i];
}

bool mr_any_pending(const struct mr_state *s)
{
	for (size_t i = 0; i < s->rules->count; i++)
		if (s->pending[i])
			return true;
	return false;
}

bool mr_curious(const struct mr_state *s, enum mr_event event)
{
	for (size_t i = 0; !s->accepted && i < s->rules->condition_count; i++)
		if (s->rules->conditions[i].event == event && s->truth[i] == OPEN)
			return true;
	return false;
}
