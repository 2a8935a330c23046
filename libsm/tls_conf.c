/*
 * The options of the sections `tls` of servers and clients, in every build: one without OpenSSL
 * reads them, too. No state; any thread.
 */
#include "libsm/tls.h"

#define AT(m) offsetof(struct sm_tls_conf, m)

static const struct sm_word version_words[] = {
    {"TLSv1", SM_TLS_1_0, "broken for long; lowers OpenSSL's security level to 0"},
    {"TLSv1.1", SM_TLS_1_1, "the same"},
    {"TLSv1.2", SM_TLS_1_2, "what RFC 8996 wants at least"},
    {"TLSv1.3", SM_TLS_1_3, "many mail servers do not have it yet"},
    {0},
};

static const struct sm_word flag_words[] = {
    {"allow_relaying_if_verified", SM_TLS_RELAY_IF_VERIFIED,
     "who shows a certificate that leads to one of the CAs may relay"},
    {"check_access_map_for_relaying", SM_TLS_RELAY_BY_MAP,
     "such a client may relay if the access map says so: certissuer:, certsubject:"},
    {"request_cert", SM_TLS_REQUEST_CERT, "ask clients for a certificate, if there is a CA"},
    {"resumption", SM_TLS_RESUME, "give out tickets, so that clients come back quickly"},
    {0},
};

/* clang-format off */
#define COMMON_ROWS \
	{.name = "cert_file", .type = SM_OPT_LIST, .offset = AT(cert_file), .def = "", .max = 32, .reload = true, \
	 .help = "files with a certificate and its chain (PEM)", \
	 .man = "Several certificates, of different keys (ECDSA, RSA) or for different names, are several files. The first of each kind of key is the " \
	 "default; a client that names a server gets those that are for that name."}, \
	{.name = "key_file", .type = SM_OPT_LIST, .offset = AT(key_file), .def = "", .max = 32, .reload = true, \
	 .help = "files with the private keys (PEM), in the order of cert_file; none: they are in cert_file", \
	 .man = "Nobody but the owner may read it; if the owner is root the group may as well. A file that only root may read is listed in open_files, too: " \
	 "then mcp opens it."}, \
	{.name = "CAcert_file", .type = SM_OPT_STR, .offset = AT(ca_file), .def = "", .max = 4000, .reload = true, \
	 .help = "file with certificates of CAs (PEM)"}, \
	{.name = "CAcert_directory", .type = SM_OPT_STR, .offset = AT(ca_dir), .def = "", .max = 4000, .reload = true, \
	 .help = "directory with certificates of CAs (PEM)", .man = "Its files are read at the start and at a reload, whatever their names."}, \
	{.name = "min_version", .type = SM_OPT_ENUM, .offset = AT(min_version), .def = "TLSv1.2", .words = version_words, .reload = true, \
	 .help = "lowest version of the protocol"}, \
	{.name = "ciphers", .type = SM_OPT_STR, .offset = AT(ciphers), .def = "", .max = 4000, .reload = true, \
	 .help = "cipher suites up to TLS 1.2, as in ciphers(1); none: those of OpenSSL"}, \
	{.name = "ciphersuites", .type = SM_OPT_STR, .offset = AT(ciphersuites), .def = "", .max = 4000, .reload = true, \
	 .help = "cipher suites of TLS 1.3; none: those of OpenSSL"}, \
	{.name = "handshake_timeout", .type = SM_OPT_TIME, .offset = AT(handshake_timeout_ms), .def = "1m", .min = 100, .max = 600000, .unit = "s", \
	 .reload = true, .help = "most time of a handshake"}

const struct sm_opt sm_tls_server_opts[] = {
	COMMON_ROWS,
	{.name = "flags", .type = SM_OPT_FLAGS, .offset = AT(flags), .def = "request_cert, resumption", .words = flag_words, .reload = true,
	 .help = "switches of TLS"},
	{.name = "implicit_listeners", .type = SM_OPT_LIST, .offset = AT(implicit), .def = "", .max = 64, .reload = true,
	 .help = "names of listeners whose clients speak TLS from the start (port 465)"},
	SM_OPT_END,
};

const struct sm_opt sm_tls_client_opts[] = {
	COMMON_ROWS,
	SM_OPT_END,
};
/* clang-format on */
