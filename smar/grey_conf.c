/* The options of greylisting, and what a table cannot say. Pure; any thread. */
#include "smar/grey_conf.h"

#define GREY(m) offsetof(struct ar_grey_conf, m)
#define DAYS(n) ((int64_t)(n)*24 * 60 * 60 * 1000)

/* clang-format off */
const struct sm_opt ar_grey_opts[] = {
    {.name = "directory", .type = SM_OPT_PATH, .offset = GREY(directory), .def = "", .written = "greylist", .max = 3000,
     .help = "where the databases are; \"\": nobody is greylisted",
     .man = "If the section greylisting is written at all, even as greylisting { }, it is greylist in the queue directory, which sm.setup.sh "
            "makes; without the section nobody is greylisted. A directory that belongs to smar's user, and has nothing else in it. What is damaged there is removed and begun anew: losing it "
            "only delays mail."},
    {.name = "grey_wait", .type = SM_OPT_TIME, .offset = GREY(wait_ms), .def = "5m", .min = 1000, .max = DAYS(1), .reload = true,
     .help = "a client that comes back earlier is refused once more"},
    {.name = "grey_expire", .type = SM_OPT_TIME, .offset = GREY(expire_ms), .def = "1d", .min = 2000, .max = DAYS(30), .reload = true,
     .help = "a client that does not come back in this time is unknown again"},
    {.name = "white_expire", .type = SM_OPT_TIME, .offset = GREY(white_expire_ms), .def = "14d", .min = 1000, .max = DAYS(1000),
     .reload = true, .help = "a client that sent nothing for this time may be forgotten, if there are more than expire_limit"},
    {.name = "white_timeout", .type = SM_OPT_TIME, .offset = GREY(white_timeout_ms), .def = "36d", .min = 1000, .max = DAYS(1000),
     .reload = true, .help = "a client that sent nothing for this time has to come twice again"},
    {.name = "main_DB_name", .type = SM_OPT_STR, .offset = GREY(main_db), .def = "main.db", .min = 1, .max = 200,
     .help = "file of the main database, in directory"},
    {.name = "secondary_DB_name", .type = SM_OPT_STR, .offset = GREY(secondary_db), .def = "expire.db", .min = 1, .max = 200,
     .help = "file of its index by expiration time"},
    {.name = "expire_limit", .type = SM_OPT_INT, .offset = GREY(expire_limit), .def = "500000", .min = 0, .max = INT64_C(1000000000),
     .unit = "entries", .reload = true, .help = "while there are more, expired ones are removed; there may be more if none is expired"},
    {.name = "max_entries", .type = SM_OPT_INT, .offset = GREY(max_entries), .def = "5000000", .min = 100,
     .max = INT64_C(1000000000), .unit = "entries", .reload = true,
     .help = "beyond that the one that would expire next makes room for a new one"},
    {.name = "cache_size", .type = SM_OPT_SIZE, .offset = GREY(cache_bytes), .def = "32M", .min = 1 << 20,
     .max = INT64_C(4) << 30, .help = "memory for pages of the databases"},
    {.name = "netmask", .type = SM_OPT_INT, .offset = GREY(netmask), .def = "0xFFFFFFFF", .min = 1, .max = UINT32_MAX, .reload = true,
     .help = "which part of an IPv4 address counts: 0xFFFFFF00, or 24, for a server farm in one such net"},
    {.name = "netmask6", .type = SM_OPT_INT, .offset = GREY(netmask6), .def = "64", .min = 1, .max = 128, .unit = "bits",
     .reload = true, .help = "which part of an IPv6 address counts"},
    SM_OPT_END,
};
/* clang-format on */

int ar_grey_netmask_bits(int64_t netmask)
{
	int bits = 0;

	if (netmask >= 1 && netmask <= 32)
		return (int)netmask;
	for (; bits < 32 && (netmask >> (31 - bits) & 1) != 0; bits++)
		;
	return bits == 32 || (netmask & ((INT64_C(1) << (32 - bits)) - 1)) == 0 ? bits : -1;
}

static bool is_file_name(struct sm_str s)
{
	return sm_str_chr(s, '/') < 0 && s.p[0] != '.';
}

int ar_grey_conf_check(const struct ar_grey_conf *c)
{
	if (!ar_grey_used(c))
		return 0;
	if (ar_grey_netmask_bits(c->netmask) <= 0)
		return sm_fail(SM_E_SYNTAX, "greylisting.netmask: no netmask");
	if (c->wait_ms >= c->expire_ms)
		return sm_fail(SM_E_SYNTAX, "greylisting: grey_wait has to be less than "
		                            "grey_expire");
	if (c->white_expire_ms > c->white_timeout_ms)
		return sm_fail(SM_E_SYNTAX, "greylisting: white_expire may not be more than "
		                            "white_timeout");
	if (!is_file_name(c->main_db) || !is_file_name(c->secondary_db) ||
	    sm_str_eq(c->main_db, c->secondary_db) ||
	    sm_str_has_prefix(c->main_db, SM_STR("log.")) ||
	    sm_str_has_prefix(c->secondary_db, SM_STR("log.")))
		return sm_fail(SM_E_SYNTAX, "greylisting: main_DB_name and secondary_DB_name are "
		                            "two names of files in its directory");
	return 0;
}
