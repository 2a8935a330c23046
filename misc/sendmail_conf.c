/*
 * Options of the section `sendmail`. It is no program that mcp runs: whoever calls sendmail reads
 * the file. A table and its check; no state.
 */
#include "misc/sendmail.h"

#include "libsm/addr.h"
#include "libsm/err.h"

#define AT(m) offsetof(struct sl_conf, m)

/* clang-format off */
const struct sm_opt sl_conf_opts[] = {
	{.name = "socket", .type = SM_OPT_STR, .offset = AT(socket), .def = SMX_QUEUEDIR "/submit/smtp", .min = 1, .max = 107,
	 .help = "Unix socket of smtps that takes the mail", .man = "A listen_socket of type unix that every user may write to, named in relay_from_local."},
	{.name = "control_socket", .type = SM_OPT_STR, .offset = AT(control_socket), .def = SMX_QUEUEDIR "/ctl/qmgr", .min = 1, .max = 107,
	 .help = "qmgr's control socket, for -bp and -q"},
	{.name = "qualify_domain", .type = SM_OPT_STR, .offset = AT(qualify_domain), .def = "", .max = 255,
	 .help = "put behind an address without domain; empty: the hostname"},
	{.name = "max_message_size", .type = SM_OPT_SIZE, .offset = AT(max_message_bytes), .def = "51200KB", .min = 1024, .max = (int64_t)1 << 40,
	 .unit = "KB", .help = "largest message", .man = "It is kept in memory until smtps has it. What smtps allows holds as well."},
	{.name = "max_recipients", .type = SM_OPT_INT, .offset = AT(max_rcpts), .def = "1000", .min = 1, .max = 1000,
	 .unit = "recipients", .help = "most recipients of a message; more: it is refused"},
	SM_OPT_END,
};
/* clang-format on */

int sl_conf_check(const struct sl_conf *c)
{
	if (c->socket.p[0] != '/' || c->control_socket.p[0] != '/')
		return sm_fail(SM_E_SYNTAX, "socket and control_socket must be absolute paths");
	if (!sm_str_empty(c->qualify_domain) && !sm_domain_valid_utf8(c->qualify_domain, false))
		return sm_fail(SM_E_SYNTAX, "qualify_domain is no domain");
	return 0;
}
