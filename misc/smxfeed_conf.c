/* Options of the section `smxfeed`. Who starts it (sendmail 8) lets it read the file. A table and
 * its check; no state. */
#include "libsm/err.h"
#include "misc/smxfeed.h"

#define AT(m) offsetof(struct sf_conf, m)

/* clang-format off */
const struct sm_opt sf_conf_opts[] = {
	{.name = "socket", .type = SM_OPT_STR, .offset = AT(socket), .def = SMX_QUEUEDIR "/submit/lmtp", .min = 1, .max = 107,
	 .help = "Unix socket of smtps that takes the mail", .man = "A listen_socket of type unix of a section with protocol = lmtp, named in relay_from_local, with unix in xforward.from."},
	{.name = "total_timeout", .type = SM_OPT_TIME, .offset = AT(total_ms), .def = "58m", .min = 1000, .max = 86400000, .unit = "s",
	 .help = "wait so long, from the end of a message on, for what became of its recipients",
	 .man = "Then the connection is cut, so that smx tries none of them any more, and those that are undecided get 4.4.7. Where smtps delivers now it should have "
	 "answered before: its deliver_timeout and two minutes; and the one that waits for smxfeed has to wait longer (sendmail 8: Timeout.datafinal, 1h). Option -t total comes first."},
	SM_OPT_END,
};
/* clang-format on */

int sf_conf_check(const struct sf_conf *c)
{
	return c->socket.p[0] == '/' ? 0 : sm_fail(SM_E_SYNTAX, "socket must be an absolute path");
}
