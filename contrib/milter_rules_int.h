/* What reading and judging rules share: for contrib/milter_rules*.c only. */
#ifndef MILTER_RULES_INT_H
#define MILTER_RULES_INT_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "contrib/milter_rules.h"

struct mr_condition {
	enum mr_event event;
	bool negated;
	pcre2_code *first, *second; /* second: NULL if there is none */
};
struct mr_rules {
	struct mr_rule *v;
	size_t count;
	struct mr_condition *conditions; /* those of a rule stand together, in order */
	size_t condition_count;
};

#endif
