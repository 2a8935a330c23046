/* The options of a filter: names, defaults, bounds, help. Pure; any thread. */
#include "smtps/milter_conf.h"

#include "smtps/milter_proto.h"

#define AT(m) offsetof(struct ss_milter_conf, m)

static const struct sm_word type_words[] = {
    {"inet", SS_MILTER_INET, "TCP: address and port"},
    {"unix", SS_MILTER_UNIX, "a Unix socket: path"},
    {0},
};

static const struct sm_word flag_words[] = {
    {"abort", SS_MILTER_ABORT, "421, and the session ends"},
    {"accept_but_reconnect", SS_MILTER_RECONNECT,
     "the session goes on without it; the next one tries it again at once"},
    {"tempfail", SS_MILTER_TEMPFAIL, "commands and mail that it should have seen get 4yz"},
    {0},
};

/* clang-format off */
static const struct sm_opt socket_opts[] = {
	{.name = "type", .type = SM_OPT_ENUM, .offset = AT(socket.type) - AT(socket), .def = "inet", .words = type_words,
	 .help = "what kind of socket the filter listens on"},
	{.name = "port", .type = SM_OPT_INT, .offset = AT(socket.port) - AT(socket), .def = "0", .min = 0, .max = 65535,
	 .help = "inet: port of the filter"},
	{.name = "address", .type = SM_OPT_STR, .offset = AT(socket.address) - AT(socket), .def = "127.0.0.1", .max = 64,
	 .help = "inet: IPv4 or IPv6 address of the filter"},
	{.name = "path", .type = SM_OPT_STR, .offset = AT(socket.path) - AT(socket), .def = "", .max = 107,
	 .help = "unix: path of the filter's socket",
	 .man = "smtps's user needs the right to write to it."},
	SM_OPT_END,
};

const struct sm_opt ss_milter_opts[] = {
	{.name = "socket", .type = SM_OPT_SECTION, .offset = AT(socket), .sub = socket_opts, .help = "where the filter listens"},
	{.name = "flags", .type = SM_OPT_FLAGS, .offset = AT(flags), .def = "", .words = flag_words,
	 .help = "what happens when the filter cannot be reached or breaks down; nothing: mail goes on without it",
	 .man = "A filter that is ignored is left alone for rest_time, so that one that is away does not delay each session. A filter that breaks down "
	 "in the midst of its changes to a message has decided that this must not go on as it is: without a flag, too, its client gets 451."},
	{.name = "listeners", .type = SM_OPT_LIST, .offset = AT(listeners), .def = "", .max = 64,
	 .help = "names of listeners whose sessions it filters; nothing: all"},
	{.name = "timeout", .type = SM_OPT_TIME, .offset = AT(timeout_ms), .def = "30s", .min = 100, .max = 600000, .unit = "s",
	 .help = "wait so long for its answer to a command"},
	{.name = "connect_timeout", .type = SM_OPT_TIME, .offset = AT(connect_timeout_ms), .def = "10s", .min = 100, .max = 600000, .unit = "s",
	 .help = "wait so long for the connection, and for its answer to the negotiation"},
	{.name = "content_timeout", .type = SM_OPT_TIME, .offset = AT(content_timeout_ms), .def = "60s", .min = 100, .max = 600000, .unit = "s",
	 .help = "wait so long for its answer to a header or a piece of the body"},
	{.name = "end_timeout", .type = SM_OPT_TIME, .offset = AT(end_timeout_ms), .def = "3m", .min = 100, .max = 600000, .unit = "s",
	 .help = "wait so long for its verdict at the end of a message, and for each of its changes",
	 .man = "Each message \"in progress\" begins this and the other times anew. Clients wait ten minutes for the answer to the end of data "
	 "(RFC 5321 4.5.3.2.6); all filters and commit_timeout should fit into that."},
	{.name = "rest_time", .type = SM_OPT_TIME, .offset = AT(rest_ms), .def = "30s", .min = 0, .max = 3600000, .unit = "s",
	 .help = "a filter without flags that could not be reached is left alone for so long"},
	{.name = "version", .type = SM_OPT_INT, .offset = AT(version), .def = "6", .min = SS_MP_VERSION_MIN, .max = SS_MP_VERSION,
	 .help = "highest version of the milter protocol that is offered", .man = "For filters that refuse what they do not know."},
	SM_OPT_END,
};
/* clang-format on */

const struct ss_milter_conf *ss_milter_at(const struct sm_conf_sections *milters, size_t i)
{
	return (const struct ss_milter_conf *)milters->v + i;
}

static int check(const struct ss_milter_conf *c)
{
	uint32_t flags = c->flags;
	struct sm_sa sa;

	if ((flags & (flags - 1)) != 0)
		return sm_fail(SM_E_SYNTAX, "flags: only one of them");
	if (c->socket.type == SS_MILTER_UNIX && sm_str_empty(c->socket.path))
		return sm_fail(SM_E_SYNTAX, "socket: type unix needs a path");
	if (c->socket.type == SS_MILTER_UNIX)
		return sm_sa_unix(&sa, c->socket.path);
	if (c->socket.port == 0)
		return sm_fail(SM_E_SYNTAX, "socket: type inet needs a port");
	if (sm_sa_ip(&sa, c->socket.address, (uint16_t)c->socket.port) != 0)
		return sm_fail(SM_E_SYNTAX, "socket: address: \"%.*s\" is no IP address",
		               SM_STR_ARG(c->socket.address));
	return 0;
}

static int fail_in(int err, const struct ss_milter_conf *c)
{
	return sm_conf_fail_in(err, c->where.path != NULL ? c->where.path : "", c->where.line,
	                       sm_str_empty(c->where.name) ? SM_STR("policy_milter")
	                                                   : c->where.name);
}

int ss_milters_check(const struct sm_conf_sections *milters)
{
	for (size_t i = 0; i < milters->count; i++) {
		const struct ss_milter_conf *c = ss_milter_at(milters, i);
		int err = check(c);

		if (err != 0)
			return fail_in(err, c);
		for (size_t j = 0; j < i; j++)
			if (sm_str_caseeq(ss_milter_at(milters, j)->where.name, c->where.name))
				return fail_in(sm_fail(SM_E_SYNTAX, "another filter has this name"),
				               c);
	}
	return 0;
}

void ss_milter_address(const struct ss_milter_conf *c, struct sm_sa *sa)
{
	int err = c->socket.type == SS_MILTER_UNIX
	              ? sm_sa_unix(sa, c->socket.path)
	              : sm_sa_ip(sa, c->socket.address, (uint16_t)c->socket.port);

	sm_assert(err == 0);
}
