/*
 * The options of smtps: names, defaults, bounds, help. Every limit of the server is a row here.
 */
#include "smtps/conf.h"

#include "libcdb/cdb.h"
#include "libsm/addr.h"
#include "libsm/err.h"
#include "libsm/msg.h"
#include "libsm/net.h"
#include "libsm/offload.h"
#include "libsm/utf8.h"
#include "smtps/nets.h"

#define AT(m) offsetof(struct ss_conf, m)

static const struct sm_word flag_words[] = {
    {"8bitmime", SS_F_8BITMIME, "offer 8BITMIME; content is never converted"},
    {"chunking", SS_F_CHUNKING, "offer CHUNKING: BDAT beside DATA"},
    {"binarymime", SS_F_BINARYMIME,
     "offer BINARYMIME; needs chunking and 8bitmime. Content is never converted: what comes so is "
     "returned when the next hop does not take it so"},
    {"smtputf8", SS_F_SMTPUTF8,
     "offer SMTPUTF8, addresses and headers in UTF-8; needs 8bitmime. Such mail is returned when "
     "the next hop does not take it"},
    {"delay_checks", SS_F_DELAY_CHECKS, "say rejections of the connection and of MAIL at RCPT"},
    {"lmtp_does_not_imply_relaying", SS_F_LMTP_NO_RELAY,
     "local (lmtp:) domains need relay rights like others"},
    {"soft_bounce", SS_F_SOFT_BOUNCE, "answer 4yz where 5yz would be said"},
    {"strict_ehlo_checks", SS_F_STRICT_EHLO, "the argument of EHLO must be a domain or an address"},
    {"access", SS_F_ACCESS, "ask the access map; look up client names"},
    {"offline", SS_F_OFFLINE,
     "ask no name server about clients and senders, as with deliver = queue: no names of clients, "
     "no dnsbl, and whether mail could go back to a sender is not looked at"},
    {"greylisting", SS_F_GREYLISTING, "clients that are not known have to come twice"},
    {"delay_greylisting_error_until_DATA", SS_F_GREY_AT_DATA,
     "say the refusal of greylisting at DATA, so that RCPT tells which addresses exist"},
    {"greylisting_keeps_session", SS_F_GREY_STAYS,
     "refuse who is greylisted with 450 and go on, not with 421 and an end of the session"},
    {"submission", SS_F_SUBMISSION,
     "submission server (RFC 6409): MAIL needs AUTH, a verified certificate or the right to relay; "
     "local (lmtp:) domains need relay rights; addresses and header are completed"},
    {"leave_header", SS_F_LEAVE_HEADER, "a submission server adds no Date:, Message-ID:, From:"},
    {"session_conf", SS_F_SESSION_CONF,
     "look up smtps_session_conf: in the access map: options for sessions of a client"},
    {"allow_loopback_relaying", SS_F_LOOPBACK_RELAY,
     "loopback and Unix clients may relay, on every listener"},
    {0},
};

static const struct sm_word extension_words[] = {
    {"pipelining", SS_X_PIPELINING,
     "commands that come together are answered in order all the same"},
    {"enhancedstatuscodes", SS_X_ENHANCEDSTATUSCODES, "replies have none"},
    {"starttls", SS_X_STARTTLS,
     "what require_tls and the access map want of TLS is wanted all the same"},
    {"8bitmime", SS_X_8BITMIME, "and what needs it: binarymime, smtputf8"},
    {"chunking", SS_X_CHUNKING, "and what needs it: binarymime"},
    {"binarymime", SS_X_BINARYMIME, "no binary content"},
    {"smtputf8", SS_X_SMTPUTF8, "no UTF-8 in addresses and headers"},
    {"xclient", SS_X_XCLIENT, "nobody is told of another client"},
    {"xforward", SS_X_XFORWARD, "nobody tells who first brought a mail"},
    {"auth", SS_X_AUTH, "nobody logs in"},
    {"size", SS_X_SIZE, "the largest message is not told; max_message_size holds"},
    {"etrn", SS_X_ETRN, "nobody asks for mail that waits"},
    {"dsn", SS_X_DSN, "no RET, ENVID, NOTIFY, ORCPT"},
    {"limits", SS_X_LIMITS, "limits are not told; they hold"},
    {"help", SS_X_HELP, "no HELP"},
    {0},
};

static const struct sm_word sync_words[] = {
    {"auto", CDB_SYNC_DIR_AUTO, "where the file system needs it"},
    {"always", CDB_SYNC_DIR_ALWAYS, "after each new file"},
    {"never", CDB_SYNC_DIR_NEVER, "rely on the file's own sync"},
    {0},
};

static const struct sm_word allow_words[] = {
    {"sender", SS_ALLOW_SENDER, "by the sender's address: restrictions from: and list:"},
    {"client_ip", SS_ALLOW_CLIENT_IP, "by the client's address: restriction cltaddr:"},
    {0},
};

static const struct sm_word match_words[] = {
    {"exact", SS_MATCH_EXACT, "addresses are equal"},
    {"generic_lookup", SS_MATCH_LOOKUP, "by the lookup order: networks, @domain, user*@domain"},
    {"implicitly_match_detail", SS_MATCH_DETAIL,
     "the same, and user@domain stands for user+detail@domain, too"},
    {0},
};

static const struct sm_word xclient_words[] = {
    {"login", SS_XCLIENT_LOGIN, "whom LOGIN names is authenticated, and may relay"},
    {0},
};

static const struct sm_word etrn_words[] = {
    {"authenticated", SS_ETRN_AUTH, "who has authenticated may ask for any domain"},
    {"access", SS_ETRN_ACCESS,
     "what the entries etrn: of the access map give a user, a client address or a client name"},
    {0},
};

static const struct sm_word level_words[] = {
    {"none", SS_TLS_NONE, "mail is taken in clear"},
    {"encrypted", SS_TLS_ENCRYPTED, "the session must be encrypted"},
    {"verified", SS_TLS_VERIFIED,
     "... and the client's certificate must lead to one of tls.CAcert_file or CAcert_directory"},
    {0},
};

static const struct sm_word violation_words[] = {
    {"permanent", SS_VIOLATION_PERM, "MAIL gets 530 or 550"},
    {"temporary", SS_VIOLATION_TEMP, "MAIL gets 450"},
    {"abort", SS_VIOLATION_ABORT, "MAIL gets 421, and the session ends"},
    {0},
};

static const struct sm_word protocol_words[] = {
    {"smtp", SS_PROTOCOL_SMTP, "SMTP"},
    {"lmtp", SS_PROTOCOL_LMTP, "LMTP (RFC 2033): each recipient has its own reply to a message"},
    {0},
};

static const struct sm_word deliver_words[] = {
    {"background", SM_DELIVER_BACKGROUND, "the client has its reply when the mail is in the queue"},
    {"now", SM_DELIVER_NOW,
     "with LMTP: each recipient is tried once, and the client hears what became of it"},
    {"queue", SM_DELIVER_QUEUE, "it waits for the next queue run; no name server is asked before"},
    {"hold", SM_DELIVER_HOLD, "the same, until it is asked for (qmgrctl run, ETRN)"},
    {0},
};

/* clang-format off */
static const struct sm_opt proxy_opts[] = {
	{.name = "listeners", .type = SM_OPT_LIST, .def = "", .max = 64, .reload = true,
	 .offset = offsetof(struct ss_conf, proxy.listeners) - AT(proxy),
	 .help = "names of listeners on which every connection begins with a PROXY header",
	 .man = "Versions 1 and 2 (haproxy). The address told there is the client's for checks, limits, log and Received:. "
	 "It never counts as local. Who is not in from, or begins with anything else, is disconnected without a word."},
	{.name = "from", .type = SM_OPT_LIST, .def = "", .max = 1000, .reload = true,
	 .offset = offsetof(struct ss_conf, proxy.from) - AT(proxy),
	 .help = "addresses and networks of the proxies: 192.0.2.1, 10.0.0.0/8, 2001:db8::/32, unix"},
	{.name = "timeout", .type = SM_OPT_TIME, .def = "10s", .min = 100, .max = 600000, .unit = "s", .reload = true,
	 .offset = offsetof(struct ss_conf, proxy.timeout_ms) - AT(proxy), .help = "wait so long for the header"},
	SM_OPT_END,
};

static const struct sm_opt xclient_opts[] = {
	{.name = "from", .type = SM_OPT_LIST, .def = "", .max = 1000, .reload = true,
	 .offset = offsetof(struct ss_conf, xclient.from) - AT(xclient),
	 .help = "addresses and networks of front ends that may say XCLIENT: as proxy.from",
	 .man = "Once a connection. The address told there is the client's for checks, limits, log and Received:. It never counts as local."},
	{.name = "flags", .type = SM_OPT_FLAGS, .def = "", .words = xclient_words, .reload = true,
	 .offset = offsetof(struct ss_conf, xclient.flags) - AT(xclient), .help = "what else is believed"},
	SM_OPT_END,
};

static const struct sm_opt xforward_opts[] = {
	{.name = "from", .type = SM_OPT_LIST, .def = "", .max = 1000, .reload = true,
	 .offset = offsetof(struct ss_conf, xforward.from) - AT(xforward),
	 .help = "addresses and networks of filters and other mail systems that may say XFORWARD: as proxy.from",
	 .man = "It is for the log, and for whoever the mail is passed on to; checks and limits are about who speaks. Where deliver = now, who tells the id of another's "
	 "mail that was delivered, with its sender and recipient, is told that it was delivered: list only those whose ids are right."},
	SM_OPT_END,
};

static const struct sm_opt etrn_opts[] = {
	{.name = "from", .type = SM_OPT_LIST, .def = "", .max = 1000, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, etrn.from) - AT(etrn),
	 .help = "addresses and networks of clients that may ask for any domain: as proxy.from"},
	{.name = "flags", .type = SM_OPT_FLAGS, .def = "", .words = etrn_words, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, etrn.flags) - AT(etrn), .help = "who else may ask",
	 .man = "access needs the flag access of the section: \"etrn:192.0.2.7\", \"etrn:joe@\" (a user without domain) or \"etrn:.isp.example\" "
	 "with the domains that may be asked for: \"cust.example .cust.example\"; \".\" stands for all."},
	SM_OPT_END,
};

static const struct sm_opt require_opts[] = {
	{.name = "level", .type = SM_OPT_ENUM, .def = "none", .words = level_words, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, require_tls.level) - AT(require_tls), .help = "what the session must have"},
	{.name = "min_bits", .type = SM_OPT_INT, .def = "0", .min = 0, .max = 512, .unit = "bits", .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, require_tls.min_bits) - AT(require_tls),
	 .help = "least strength of the cipher; more than 0 means encrypted"},
	{.name = "issuer", .type = SM_OPT_STR, .def = "", .max = 1000, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, require_tls.issuer) - AT(require_tls),
	 .help = "issuer of the client's certificate, written as for certissuer: in the access map; means verified"},
	{.name = "subject", .type = SM_OPT_STR, .def = "", .max = 1000, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, require_tls.subject) - AT(require_tls),
	 .help = "its subject, written as for certsubject:; means verified"},
	{.name = "name", .type = SM_OPT_STR, .def = "", .max = 255, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, require_tls.name) - AT(require_tls),
	 .help = "its common name; \"*.example.org\" stands for one label more; means verified"},
	{.name = "violation", .type = SM_OPT_ENUM, .def = "permanent", .words = violation_words, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, require_tls.violation) - AT(require_tls), .help = "what becomes of MAIL otherwise"},
	SM_OPT_END,
};

static const struct sm_opt protect_opts[] = {
	{.name = "allow_by", .type = SM_OPT_FLAGS, .def = "", .words = allow_words, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, protected_recipients.allow_by) - AT(protected_recipients),
	 .help = "what may open the way to a protected recipient; nothing: no recipient is protected",
	 .man = "A restriction in the access map whose word is missing here is never met. Needs the flag access."},
	{.name = "match_type", .type = SM_OPT_ENUM, .def = "exact", .words = match_words, .reload = true, .session = true,
	 .offset = offsetof(struct ss_conf, protected_recipients.match_type) - AT(protected_recipients),
	 .help = "how sender and client are compared with the restrictions"},
	SM_OPT_END,
};

const struct sm_opt ss_conf_opts[] = {
	{.name = "flags", .type = SM_OPT_FLAGS, .offset = AT(flags), .def = "8bitmime, chunking, smtputf8",
	 .words = flag_words, .reload = true, .session = true, .help = "switches of the server"},
	{.name = "hide_extensions", .type = SM_OPT_FLAGS, .offset = AT(hidden), .def = "", .words = extension_words,
	 .reload = true, .session = true, .help = "what EHLO does not offer; a client that uses it is answered as by a server that never heard of it",
	 .man = "For clients that stumble over something, by smtps_session_conf: of the access map; no_dsn there takes a word of the section back."},
	{.name = "id", .type = SM_OPT_INT, .offset = AT(id), .def = "0", .min = 0, .max = SS_PROC_MAX,
	 .help = "process index: the last two digits of ids; each server needs its own",
	 .man = "What mcp passes by pass_id is added, so a section with three processes has this id and the next two. smconf tells of two "
	 "sections with the same one, and qmgr serves the first that comes."},
	{.name = "CDB_gid", .type = SM_OPT_INT, .offset = AT(cdb_gid), .def = "-1", .min = -1, .max = 4294967294,
	 .help = "group id of content files: that of smtpc's group; -1: leave"},
	{.name = "CDB_sync_directory", .type = SM_OPT_ENUM, .offset = AT(cdb_sync_dir), .def = "auto",
	 .words = sync_words, .help = "sync the directory of a new content file, too"},
	{.name = "CDB_segment_size", .type = SM_OPT_SIZE, .offset = AT(cdb_segment_bytes), .def = "8MB", .min = 0, .max = 1 << 30,
	 .help = "small contents share files of this size; 0B: each has a file of its own",
	 .man = "One sync makes all contents durable that came meanwhile, where a file of its own costs each mail a sync, and the file system the making "
	 "and removing of a file. Such a file is removed when nothing in it is needed any more; what is deferred keeps it, but after a while not the room of the rest."},
	{.name = "CDB_segment_pace", .type = SM_OPT_INT, .offset = AT(cdb_segment_pace), .def = "8", .min = 1, .max = 1000000, .unit = "contents",
	 .help = "so many in a second begin to share a file", .man = "Where less comes each content has a file of its own."},
	{.name = "relay_to", .type = SM_OPT_LIST, .offset = AT(relay_to), .def = "", .max = 1000, .reload = true, .session = true,
	 .help = "domains that anybody may relay to; \".domain\" means all below it", .man = "The same as option -T."},
	{.name = "relay_from_local", .type = SM_OPT_LIST, .offset = AT(relay_from_local), .def = "", .max = 64,
	 .reload = true, .help = "names of listeners on which loopback and Unix clients may relay"},
	{.name = "protected_recipients", .type = SM_OPT_SECTION, .offset = AT(protected_recipients), .sub = protect_opts,
	 .help = "recipients that not everybody may send to: entries protectedrcpt: of the access map"},
	{.name = "route", .type = SM_OPT_STR, .offset = AT(route), .def = "", .max = 1000, .reload = true, .session = true,
	 .help = "where all mail goes that comes here, like a right hand side of the mailertable; empty: by recipient",
	 .man = "As for a content filter: \"10024^lmtp:[127.0.0.1]\" takes each recipient there as it is; aliases and users are the affair of "
	 "the server that gets it back. Mail for recipients that nobody knows is refused at RCPT as ever. Several ways with conditions "
	 "can be given, as there."},
	{.name = "protocol", .type = SM_OPT_ENUM, .offset = AT(protocol), .def = "smtp", .words = protocol_words,
	 .help = "what clients speak", .man = "LMTP is never spoken on port 25 (RFC 2033 5)."},
	{.name = "deliver_timeout", .type = SM_OPT_TIME, .offset = AT(deliver_timeout_ms), .def = "55m", .min = 1000, .max = 86400000,
	 .unit = "s", .reload = true, .session = true, .help = "deliver = now: begin no delivery after so long",
	 .man = "What is at its end of data then has two minutes more. Who is not served by then hears 4.4.7 and has to send again; so the "
	 "client must wait for its replies longer than this and two minutes."},
	{.name = "deliver", .type = SM_OPT_ENUM, .offset = AT(deliver), .def = "background", .words = deliver_words, .reload = true,
	 .session = true, .help = "when mail goes out that comes here"},
	{.name = "qualify_domain", .type = SM_OPT_STR, .offset = AT(qualify_domain), .def = "", .max = 255, .reload = true, .session = true,
	 .help = "submission: put behind an address without domain; empty: the hostname"},
	{.name = "require_tls", .type = SM_OPT_SECTION, .offset = AT(require_tls), .sub = require_opts,
	 .help = "what MAIL needs of TLS"},
	{.name = "proxy", .type = SM_OPT_SECTION, .offset = AT(proxy), .sub = proxy_opts,
	 .help = "listeners behind a proxy that tells the client's address first of all"},
	{.name = "xclient", .type = SM_OPT_SECTION, .offset = AT(xclient), .sub = xclient_opts,
	 .help = "front ends that tell the client's address by the command XCLIENT"},
	{.name = "xforward", .type = SM_OPT_SECTION, .offset = AT(xforward), .sub = xforward_opts,
	 .help = "who may tell, by the command XFORWARD, who first brought a mail, and which id it has there"},
	{.name = "etrn", .type = SM_OPT_SECTION, .offset = AT(etrn), .sub = etrn_opts,
	 .help = "who may ask for mail that waits (ETRN, RFC 1985); without it nobody may",
	 .man = "For domains of smar's on_demand. How often, qmgr's section etrn says."},
	{.name = "warn_one_client", .type = SM_OPT_INT, .offset = AT(warn_one_client), .def = "500", .min = 0, .max = 1000000000,
	 .unit = "sessions", .reload = true, .help = "warn once when so many sessions all come from one private address; 0: never",
	 .man = "Then a gateway or a container's network hides the clients, and what counts by address counts all of them as one."},
	{.name = "delay_LA", .type = SM_OPT_INT, .offset = AT(delay_la), .def = "0", .min = 0, .max = 100000, .reload = true,
	 .help = "at this load average (of a minute) clients wait for the greeting for load_delay; 0: never"},
	{.name = "refuse_LA", .type = SM_OPT_INT, .offset = AT(refuse_la), .def = "0", .min = 0, .max = 100000, .reload = true,
	 .help = "at this load average new sessions are refused (421); 0: never",
	 .man = "Sessions that are open go on."},
	{.name = "delay_waiting", .type = SM_OPT_INT, .offset = AT(delay_waiting), .def = "0", .min = 0, .max = 1000000000, .unit = "recipients",
	 .reload = true, .help = "while so many wait in the queue clients wait for the greeting for load_delay; 0: never"},
	{.name = "refuse_waiting", .type = SM_OPT_INT, .offset = AT(refuse_waiting), .def = "0", .min = 0, .max = 1000000000,
	 .unit = "recipients", .reload = true, .help = "while so many wait in the queue new sessions (421) and MAIL (452) are refused; 0: never",
	 .man = "Those that are deferred or held count as well. qmgr says how many there are, at most once a second."},
	{.name = "load_delay", .type = SM_OPT_TIME, .offset = AT(pressure_delay_ms), .def = "1s", .min = 100, .max = 60000, .unit = "s",
	 .reload = true, .help = "how long delay_LA and delay_waiting keep a client waiting"},
	{.name = "auth", .type = SM_OPT_SECTION, .offset = AT(auth), .sub = ss_auth_opts,
	 .help = "AUTH by Cyrus SASL; without this section it is not offered"},
	{.name = "policy_milter", .type = SM_OPT_SECTIONS, .offset = AT(milters), .max = SS_MILTERS_MAX, .sub = ss_milter_opts,
	 .sub_size = sizeof(struct ss_milter_conf),
	 .help = "policy_milter NAME { ... } is a filter that speaks the milter protocol; several are asked in their order"},
	{.name = "policy_milters", .type = SM_OPT_BOOL, .offset = AT(policy_milters), .def = "true", .reload = true, .session = true,
	 .help = "ask the filters; false for sessions that they have nothing to say about"},
	{.name = "listen", .type = SM_OPT_LIST, .offset = AT(listen), .def = "", .max = 16,
	 .help = "addresses to listen on without a supervisor, \"1.2.3.4:25\", \"[::1]:25\", \"unix:/path\"",
	 .man = "The same as option -L; the name of such a listener is its address."},

	{.name = "tls", .type = SM_OPT_SECTION, .offset = AT(tls), .sub = sm_tls_server_opts,
	 .help = "certificates, and what TLS is good for; without cert_file it is not offered"},

	{.name = "io_timeout", .type = SM_OPT_TIME, .offset = AT(io_timeout_ms), .def = "5m", .min = 1000, .max = 3600000,
	 .unit = "s", .reload = true, .session = true, .help = "wait so long for a command, for more data, or for the client to take a reply"},
	{.name = "session_timeout", .type = SM_OPT_TIME, .offset = AT(session_timeout_ms), .def = "1h", .min = 1000, .max = 86400000,
	 .unit = "s", .reload = true, .session = true, .help = "most time of a session; a transaction under way may end"},
	{.name = "check_timeout", .type = SM_OPT_TIME, .offset = AT(check_timeout_ms), .def = "1m", .min = 100, .max = 600000,
	 .unit = "s", .reload = true, .session = true, .help = "wait so long for qmgr or smar before a temporary error"},
	{.name = "verify_timeout", .type = SM_OPT_TIME, .offset = AT(verify_timeout_ms), .def = "30s", .min = 100, .max = 240000,
	 .unit = "s", .reload = true, .session = true, .help = "wait so long for what the next hop says of a recipient",
	 .man = "For domains of smar's verify_recipient. Then on_failure rules there. Clients wait five minutes for the answer to RCPT "
	 "(RFC 5321 4.5.3.2.3)."},
	{.name = "commit_timeout", .type = SM_OPT_TIME, .offset = AT(commit_timeout_ms), .def = "5m", .min = 1000, .max = 570000,
	 .unit = "s", .reload = true, .session = true, .help = "wait so long for qmgr to take over a message",
	 .man = "Clients wait ten minutes for the answer to the end of data (RFC 5321 4.5.3.2.6)."},
	{.name = "drain_timeout", .type = SM_OPT_TIME, .offset = AT(drain_timeout_ms), .def = "20s", .min = 0, .max = 3600000,
	 .unit = "s", .help = "when told to end, let transactions go on for this time"},
	{.name = "data_grace", .type = SM_OPT_TIME, .offset = AT(data_grace_ms), .def = "5m", .min = 1000, .max = 3600000,
	 .unit = "s", .reload = true, .session = true, .help = "time of a message's data before min_data_rate counts"},
	{.name = "min_data_rate", .type = SM_OPT_SIZE, .offset = AT(min_data_rate), .def = "500B", .min = 1, .max = 1 << 30,
	 .unit = "B", .reload = true, .session = true, .help = "data slower than so many bytes a second on average is given up"},

	{.name = "max_threads", .type = SM_OPT_INT, .offset = AT(max_threads), .def = "2000", .min = 1, .max = 30000,
	 .unit = "sessions", .help = "most sessions of a process at a time"},
	{.name = "io_threads", .type = SM_OPT_INT, .offset = AT(io_threads), .def = "16", .min = 1, .max = SM_OFFLOAD_MAX,
	 .unit = "threads", .help = "helper threads for the disk"},

	{.name = "max_bad_commands_per_session", .type = SM_OPT_INT, .offset = AT(max_bad_session), .def = "20", .min = 0, .max = 100000,
	 .unit = "commands", .reload = true, .session = true, .help = "unknown, malformed or misplaced commands; more: 421"},
	{.name = "max_bad_commands_per_transaction", .type = SM_OPT_INT, .offset = AT(max_bad_transaction), .def = "10", .min = 0, .max = 100000,
	 .unit = "commands", .reload = true, .session = true, .help = "the same, within one transaction"},
	{.name = "max_invalid_addresses_per_session", .type = SM_OPT_INT, .offset = AT(max_invalid_session), .def = "100", .min = 0, .max = 1000000,
	 .unit = "addresses", .reload = true, .session = true, .help = "recipients that were refused for good; more: 421"},
	{.name = "max_invalid_addresses_per_transaction", .type = SM_OPT_INT, .offset = AT(max_invalid_transaction), .def = "50", .min = 0,
	 .max = 1000000, .unit = "addresses", .reload = true, .session = true, .help = "the same, within one transaction"},
	{.name = "max_nop_commands_between_transactions", .type = SM_OPT_INT, .offset = AT(max_nop_between), .def = "50", .min = 0, .max = 1000000,
	 .unit = "commands", .reload = true, .session = true, .help = "NOOP, RSET, VRFY, EHLO ... between two accepted transactions; more: 421"},
	{.name = "max_nop_commands_in_transaction", .type = SM_OPT_INT, .offset = AT(max_nop_in), .def = "20", .min = 0, .max = 1000000,
	 .unit = "commands", .reload = true, .session = true, .help = "NOOP, VRFY ... within one transaction; more: 421"},
	{.name = "max_recipients_per_session", .type = SM_OPT_INT, .offset = AT(max_rcpts_session), .def = "50000", .min = 100, .max = 10000000,
	 .unit = "recipients", .reload = true, .session = true, .help = "accepted recipients; more: 452"},
	{.name = "max_recipients_per_transaction", .type = SM_OPT_INT, .offset = AT(max_rcpts_transaction), .def = "1000", .min = 1, .max = 1000,
	 .unit = "recipients", .reload = true, .session = true, .help = "accepted recipients; more: 452", .man = "RFC 5321 4.5.3.1.8 wants 100 at least."},
	{.name = "max_transactions", .type = SM_OPT_INT, .offset = AT(max_transactions), .def = "1000", .min = 1, .max = 1000000,
	 .unit = "transactions", .reload = true, .session = true, .help = "MAIL commands of a session; more: 421"},
	{.name = "max_command_length", .type = SM_OPT_SIZE, .offset = AT(max_command_bytes), .def = "2048B", .min = 512, .max = 16000,
	 .unit = "B", .reload = true, .help = "longest command line with its CRLF; more: 500", .man = "512 and what the extensions add."},
	{.name = "max_junk", .type = SM_OPT_SIZE, .offset = AT(max_junk_bytes), .def = "20MB", .min = 1024, .max = (int64_t)1 << 40,
	 .unit = "B", .reload = true, .session = true, .help = "bytes of a session that are read only to be thrown away; more: 421",
	 .man = "The rest of a message that is too large, of a line that is too long."},

	{.name = "max_hops", .type = SM_OPT_INT, .offset = AT(max_hops), .def = "50", .min = 1, .max = 1000,
	 .unit = "hops", .reload = true, .session = true, .help = "Received: lines of a message; more: it loops"},
	{.name = "max_message_size", .type = SM_OPT_SIZE, .offset = AT(max_message_bytes), .def = "51200KB", .min = 1024, .max = (int64_t)1 << 40,
	 .unit = "KB", .reload = true, .session = true, .help = "largest message"},
	{.name = "max_header_size", .type = SM_OPT_SIZE, .offset = AT(max_header_bytes), .def = "1MB", .min = 1024, .max = 1 << 30,
	 .unit = "B", .reload = true, .session = true, .help = "largest header of a message"},
	{.name = "max_header_lines", .type = SM_OPT_INT, .offset = AT(max_header_lines), .def = "10000", .min = 100, .max = 10000000,
	 .unit = "lines", .reload = true, .session = true, .help = "most lines of a message's header"},
	{.name = "max_line_length", .type = SM_OPT_SIZE, .offset = AT(max_line_bytes), .def = "1MB", .min = 1000, .max = 1 << 30,
	 .unit = "B", .reload = true, .session = true, .help = "longest line of a message", .man = "RFC 5321 allows 1000; many senders do not care."},
	SM_OPT_END,
};
/* clang-format on */

int ss_conf_check_port(const struct ss_conf *c, int64_t port)
{
	if (c->protocol == SS_PROTOCOL_LMTP && port == SS_SMTP_PORT)
		return sm_fail(SM_E_SYNTAX, "port 25 is for SMTP, not LMTP");
	return 0;
}

int ss_conf_check(const struct ss_conf *c)
{
	struct sm_sa sa;
	int err = ss_auth_conf_check(&c->auth, c->io_threads);

	if (err == 0)
		err = ss_milters_check(&c->milters);

	if (err != 0)
		return err;
	if (c->protected_recipients.match_type != SS_MATCH_EXACT &&
	    c->protected_recipients.allow_by == 0)
		return sm_fail(SM_E_SYNTAX,
		               "protected_recipients: allow_by needs sender, client_ip, or both");

	if (c->tls.implicit.count > 0 && c->tls.cert_file.count == 0)
		return sm_fail(SM_E_SYNTAX, "tls: implicit_listeners needs cert_file");
	if (c->tls.key_file.count > 0 && c->tls.key_file.count != c->tls.cert_file.count)
		return sm_fail(SM_E_SYNTAX, "tls: key_file has %zu files, cert_file %zu",
		               c->tls.key_file.count, c->tls.cert_file.count);
	for (size_t i = 0; i < c->relay_to.count; i++) {
		struct sm_str d = c->relay_to.v[i];
		if (!sm_domain_valid_utf8(d.n > 0 && d.p[0] == '.' ? sm_str_from(d, 1) : d, true))
			return sm_fail(SM_E_SYNTAX, "relay_to: \"%.*s\" is no domain",
			               SM_STR_ARG(d));
	}
	if (c->deliver == SM_DELIVER_NOW && c->protocol != SS_PROTOCOL_LMTP)
		return sm_fail(SM_E_SYNTAX, "deliver = now needs protocol = lmtp");
	for (size_t i = 0; i < c->listen.count; i++)
		if (ss_conf_listen_address(c->listen.v[i], &sa) != 0)
			return sm_fail(SM_E_SYNTAX, "listen: \"%.*s\" is no address with port",
			               SM_STR_ARG(c->listen.v[i]));
		else if (ss_conf_check_port(c, sm_sa_port(&sa)) != 0)
			return sm_fail_in(SM_E_SYNTAX, "listen");
	if (!sm_str_empty(c->qualify_domain) && !sm_domain_valid(c->qualify_domain, false))
		return sm_fail(SM_E_SYNTAX, "qualify_domain: \"%.*s\" is no domain",
		               SM_STR_ARG(c->qualify_domain));
	if (c->proxy.listeners.count > 0 && c->proxy.from.count == 0)
		return sm_fail(SM_E_SYNTAX, "proxy: listeners without from: nobody could connect");
	if (ss_nets_check(&c->proxy.from) != 0)
		return sm_fail_in(SM_E_SYNTAX, "proxy.from");
	if (ss_nets_check(&c->xclient.from) != 0)
		return sm_fail_in(SM_E_SYNTAX, "xclient.from");
	if (ss_nets_check(&c->xforward.from) != 0)
		return sm_fail_in(SM_E_SYNTAX, "xforward.from");
	if (ss_nets_check(&c->etrn.from) != 0)
		return sm_fail_in(SM_E_SYNTAX, "etrn.from");
	if ((c->etrn.flags & SS_ETRN_ACCESS) && !(c->flags & SS_F_ACCESS))
		return sm_fail(SM_E_SYNTAX, "etrn: the flag access needs that of the section");
	return 0;
}

int ss_conf_for_session(const struct ss_conf *base, struct sm_str text, struct sm_arena *a,
                        struct ss_conf *out)
{
	static const char where[] = "smtps_session_conf";
	int rc;

	*out = *base;
	rc = sm_conf_bind_session(ss_conf_opts, out, a, text, where);
	/* The process may write no larger files than it has said. */
	if (rc == 0 && out->max_message_bytes > base->max_message_bytes)
		rc = sm_fail(SM_E_RANGE, "%s: max_message_size is larger than that of the server",
		             where);
	if (rc == 0 && ss_conf_check(out) != 0)
		rc = sm_fail_in(SM_E_SYNTAX, "%s", where);
	return rc;
}

uint32_t ss_conf_check_flags(const struct ss_conf *c)
{
	static const struct {
		uint32_t flag, check;
	} same[] = {
	    {SS_F_ACCESS, SM_CHECK_ACCESS},
	    {SS_F_LMTP_NO_RELAY, SM_CHECK_LMTP_NO_RELAY},
	    {SS_F_SUBMISSION, SM_CHECK_LMTP_NO_RELAY},
	    {SS_F_SESSION_CONF, SM_CHECK_SESSION_CONF},
	    {SS_F_OFFLINE, SM_CHECK_NO_DNS},
	};
	static const uint32_t match[] = {
	    [SS_MATCH_EXACT] = 0,
	    [SS_MATCH_LOOKUP] = SM_CHECK_PROTECT_LOOKUP,
	    [SS_MATCH_DETAIL] = SM_CHECK_PROTECT_LOOKUP | SM_CHECK_PROTECT_DETAIL,
	};
	uint32_t out = match[c->protected_recipients.match_type];

	for (size_t i = 0; i < SM_ARRAY_SIZE(same); i++)
		if (c->flags & same[i].flag)
			out |= same[i].check;
	if (c->deliver == SM_DELIVER_QUEUE || c->deliver == SM_DELIVER_HOLD)
		out |= SM_CHECK_NO_DNS;
	if (c->protected_recipients.allow_by & SS_ALLOW_SENDER)
		out |= SM_CHECK_PROTECT_SENDER;
	if (c->protected_recipients.allow_by & SS_ALLOW_CLIENT_IP)
		out |= SM_CHECK_PROTECT_CLIENT;
	return out;
}

int ss_conf_listen_address(struct sm_str text, struct sm_sa *sa)
{
	static const struct sm_str tag = SM_STR("unix:");
	ptrdiff_t colon = sm_str_rchr(text, ':');
	uint64_t port;

	if (sm_str_has_prefix(text, tag))
		return sm_sa_unix(sa, sm_str_from(text, tag.n));
	if (colon < 0 || sm_str_u64(sm_str_from(text, (size_t)colon + 1), 10, 65535, &port) != 0)
		return sm_fail(SM_E_SYNTAX, "no port");
	return sm_sa_ip(sa, sm_str_head(text, (size_t)colon), (uint16_t)port);
}

/* `name` of a list; both are ASCII. */
static bool covers(struct sm_str name, struct sm_str domain)
{
	return name.n > 0 && name.p[0] == '.'
	           ? domain.n > name.n && sm_str_has_casesuffix(domain, name)
	           : sm_str_caseeq(domain, name);
}

static bool covers_utf8(struct sm_str name, struct sm_str domain)
{
	char text[SM_DOMAIN_ASCII_SIZE];

	return sm_domain_ascii(name, text, &name) == 0 && covers(name, domain);
}

bool ss_conf_domain_in(const struct sm_conf_list *list, struct sm_str domain)
{
	if (!sm_str_is_ascii(domain)) {
		char text[SM_DOMAIN_ASCII_SIZE];

		return sm_domain_ascii(domain, text, &domain) == 0 &&
		       ss_conf_domain_in(list, domain);
	}
	for (size_t i = 0; i < list->count; i++)
		if (sm_str_is_ascii(list->v[i]) ? covers(list->v[i], domain)
		                                : covers_utf8(list->v[i], domain))
			return true;
	return false;
}

bool ss_conf_name_in(const struct sm_conf_list *list, struct sm_str name)
{
	for (size_t i = 0; i < list->count; i++)
		if (sm_str_eq(list->v[i], name))
			return true;
	return false;
}
