/* The option table of smtpc: names, defaults, limits and their documentation, in one place. */
#include "smtpc/conf.h"

#include "smtpc/dsn_text.h"

#define AT(m)  offsetof(struct sc_conf, m)
#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* clang-format off */
static const struct sm_word chunking_words[] = {
    {"never", SC_CHUNKING_NEVER, "DATA is used; binary content is returned"},
    {"binary", SC_CHUNKING_BINARY, "for content that came with BODY=BINARYMIME"},
    {"offered", SC_CHUNKING_OFFERED, "wherever the server offers CHUNKING"},
    {0},
};

const struct sm_opt sc_conf_opts[] = {
    {.name = "chunking", .type = SM_OPT_ENUM, .offset = AT(chunking), .def = "offered",
     .words = chunking_words, .reload = true, .help = "when content goes by BDAT, not by DATA"},
    {.name = "io_timeout", .type = SM_OPT_TIME, .offset = AT(io_timeout_ms), .def = "5m",
     .min = SECOND, .max = HOUR, .reload = true,
     .help = "for replies without a time of their own: EHLO, LHLO, HELO, STARTTLS, AUTH, RSET"},
    {.name = "source_address", .type = SM_OPT_LIST, .offset = AT(source_address), .def = "", .max = 2,
     .help = "address of this host that connections come from, one of each family; none: the kernel chooses",
     .man = "While this host does not have that address, mail waits."},
    {.name = "timeouts", .type = SM_OPT_SECTION, .offset = AT(timeouts), .sub = sc_timeout_opts,
     .help = "longest wait in each step of a conversation",
     .man = "Behind smtpc_session_conf: of the access map the same section may stand, for single servers."},
    {.name = "max_task_time", .type = SM_OPT_TIME, .offset = AT(max_task_time_ms), .def = "2h",
     .min = MINUTE, .max = 24 * (int64_t)HOUR, .reload = true,
     .help = "longest time for one message, all hosts together",
     .man = "However slowly a server answers, its session and the attempt end then; what has no "
            "result by then is tried again later."},
    {.name = "drain_time", .type = SM_OPT_TIME, .offset = AT(drain_time_ms), .def = "30s",
     .min = 0, .max = 10 * MINUTE, .reload = true,
     .help = "how long deliveries may go on when smtpc is asked to end"},
    {.name = "LMTP_socket", .type = SM_OPT_PATH, .offset = AT(lmtp_socket), .def = "lmtpsock",
     .min = 1, .max = 100, .reload = true,
     .help = "socket of the local delivery agent, for mailertable entries \"lmtp:\""},
    {.name = "DSN_text_directory", .type = SM_OPT_PATH, .offset = AT(dsn_texts), .def = "",
     .max = 200, .help = "texts of delivery status notifications; empty: the built-in ones",
     .man = "Files failed.txt, delayed.txt, delivered.txt, relayed.txt, expanded.txt and "
            "double-bounce.txt, in UTF-8; for one that is missing the built-in text is used. The "
            "first line is \"Subject: ...\", the second is empty, the others are the text, with "
            "the variables ${hostname}, ${id}, ${sender}, ${arrival_date}, ${retry_until} (of a "
            "delay) and ${recipients} (who, and why); $$ is a dollar. They are read again at a "
            "reload; with an error in one of them the former texts stay."},
    {.name = "max_threads", .type = SM_OPT_INT, .offset = AT(max_threads), .def = "400",
     .min = 1, .max = 10000, .unit = "deliveries",
     .help = "most deliveries at a time; qmgr is told and never asks for more"},
    {.name = "helper_threads", .type = SM_OPT_INT, .offset = AT(helper_threads), .def = "4",
     .min = 1, .max = 64, .unit = "threads", .help = "helpers that read contents from disk"},
    {.name = "wait_for_server", .type = SM_OPT_TIME, .offset = AT(wait_for_server_ms), .def = "20s",
     .min = 0, .max = HOUR,
     .help = "at the start, how long to wait for qmgr before giving up"},
    {.name = "session_idle_timeout", .type = SM_OPT_TIME, .offset = AT(session_idle_timeout_ms),
     .def = "10s", .min = 0, .max = 10 * MINUTE, .reload = true,
     .help = "how long an open session waits for another message; 0: not at all"},
    {.name = "max_messages_per_session", .type = SM_OPT_INT, .offset = AT(max_messages_per_session),
     .def = "100", .min = 1, .max = 1000000, .unit = "messages", .reload = true,
     .help = "after so many a session is closed"},
    {.name = "max_sessions_idle", .type = SM_OPT_INT, .offset = AT(max_sessions_idle),
     .def = "200", .min = 0, .max = 10000, .unit = "sessions", .reload = true,
     .help = "most idle sessions kept open"},
    {.name = "max_sessions_idle_per_host", .type = SM_OPT_INT,
     .offset = AT(max_sessions_idle_per_host), .def = "100", .min = 0, .max = 1000,
     .unit = "sessions", .reload = true, .help = "most idle sessions kept open to one address",
     .man = "As many as qmgr may have at a time to one (its OCM): between two turns all of them are idle."},
    {.name = "max_reply_lines", .type = SM_OPT_INT, .offset = AT(max_reply_lines), .def = "100",
     .min = 1, .max = 10000, .unit = "lines", .reload = true,
     .help = "a reply with more lines is a protocol error"},
    {.name = "max_reply_bytes", .type = SM_OPT_SIZE, .offset = AT(max_reply_bytes), .def = "64K",
     .min = 512, .max = 1 << 20, .reload = true,
     .help = "a longer reply is a protocol error"},
    {.name = "max_pipelined_commands", .type = SM_OPT_INT, .offset = AT(max_pipelined_commands),
     .def = "100", .min = 1, .max = 1000, .unit = "commands", .reload = true,
     .help = "commands sent before their replies are read; 1: no pipelining"},
    {.name = "tls", .type = SM_OPT_SECTION, .offset = AT(tls), .sub = sm_tls_client_opts, .reload = true,
     .help = "certificates and protocol for TLS with servers",
     .man = "Without CAs no server can be verified, and all is the same with TLS."},
    {.name = "tls_level", .type = SM_OPT_ENUM, .offset = AT(tls_level), .def = "may", .words = sc_tls_level_words,
     .reload = true, .help = "how much TLS is required of servers for which nothing else is said",
     .man = "The access map says more: smtpc_session_conf: for single servers, smtpc_rcpt_conf: for recipients."},
    {.name = "tls_failure_memory", .type = SM_OPT_TIME, .offset = AT(tls_failure_memory_ms), .def = "1h", .min = 0,
     .max = 24 * (int64_t)HOUR, .reload = true,
     .help = "after a failed handshake an address is tried without TLS for so long, where the level is may"},
    {.name = "max_tls_failures", .type = SM_OPT_INT, .offset = AT(tls_failures), .def = "1000", .min = 0,
     .max = 1000000, .unit = "addresses", .reload = true, .help = "most addresses that are remembered for that"},
    {.name = "token_directory", .type = SM_OPT_PATH, .offset = AT(token_directory), .def = "", .max = 1000,
     .help = "where the files are that token_file of server_auth names",
     .man = "Something else keeps OAuth 2.0 access tokens fresh there; smtpc reads a file each time it logs in."},
    SM_OPT_END,
};
/* clang-format on */

int sc_conf_check(const struct sc_conf *c)
{
	struct sc_dsn_texts *texts;
	struct sc_source source;
	int rc = sc_dsn_texts_load(c->dsn_texts, &texts);

	sc_dsn_texts_free(&texts);
	return rc != 0 ? rc : sc_source_parse(&c->source_address, &source);
}
