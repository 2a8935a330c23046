/* The sections policy_milter of smtps: which filters are asked, where they are, how long they may
 * take, and what happens without them. */
#ifndef SS_MILTER_CONF_H
#define SS_MILTER_CONF_H

#include "libsm/conf.h"
#include "libsm/net.h"

enum { SS_MILTERS_MAX = 16 };

/* flags: what happens when a filter cannot be reached, or breaks down; none: it is ignored. */
enum {
	SS_MILTER_ABORT = 1,     /* 421, and the session ends */
	SS_MILTER_RECONNECT = 2, /* ignored, and tried again with the next session */
	SS_MILTER_TEMPFAIL = 4,  /* 4yz to whatever it should have been asked about */
};
enum ss_milter_socket { SS_MILTER_INET, SS_MILTER_UNIX };

struct ss_milter_conf {
	struct sm_conf_where where; /* its name is that of the log */
	struct {
		int type; /* enum ss_milter_socket */
		int64_t port;
		struct sm_str address, path;
	} socket;
	uint32_t flags;
	struct sm_conf_list listeners; /* empty: all */
	int64_t connect_timeout_ms, timeout_ms, content_timeout_ms, end_timeout_ms, rest_ms;
	int64_t version;
};
extern const struct sm_opt ss_milter_opts[];

/* What the table cannot say of all of them; SM_E_SYNTAX or SM_E_RANGE, with file, line and name. */
int ss_milters_check(const struct sm_conf_sections *milters) SM_MUST_CHECK;
/* Where it is. Only for what ss_milters_check has let pass. */
void ss_milter_address(const struct ss_milter_conf *c, struct sm_sa *sa);
const struct ss_milter_conf *ss_milter_at(const struct sm_conf_sections *milters, size_t i);

#endif
