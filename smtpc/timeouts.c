/* The table of time-outs: one for the section of smtpc and for single servers. Pure; any thread. */
#include "smtpc/timeouts.h"

#define TIME(m) offsetof(struct sc_timeouts, m)
#define SECOND  1000
#define MINUTE  (60 * SECOND)
#define HOUR    (60 * MINUTE)

/* clang-format off */
const struct sm_opt sc_timeout_opts[] = {
    {.name = "connect", .type = SM_OPT_TIME, .offset = TIME(connect_ms), .def = "30s",
     .min = SECOND, .max = 10 * MINUTE, .reload = true, .session = true, .help = "to connect to one address"},
    {.name = "greeting", .type = SM_OPT_TIME, .offset = TIME(greeting_ms), .def = "5m",
     .min = SECOND, .max = HOUR, .reload = true, .session = true, .help = "for the server's first reply"},
    {.name = "helo", .type = SM_OPT_TIME, .offset = TIME(helo_ms), .def = "0s",
     .min = 0, .max = HOUR, .reload = true, .session = true,
     .help = "for the reply to EHLO, LHLO, HELO and XFORWARD; 0: io_timeout"},
    {.name = "mail", .type = SM_OPT_TIME, .offset = TIME(mail_ms), .def = "5m",
     .min = SECOND, .max = HOUR, .reload = true, .session = true, .help = "for the reply to MAIL"},
    {.name = "rcpt", .type = SM_OPT_TIME, .offset = TIME(rcpt_ms), .def = "5m",
     .min = SECOND, .max = HOUR, .reload = true, .session = true, .help = "for the reply to each RCPT"},
    {.name = "data_init", .type = SM_OPT_TIME, .offset = TIME(data_init_ms), .def = "2m",
     .min = SECOND, .max = HOUR, .reload = true, .session = true, .help = "for the reply to DATA"},
    {.name = "data_block", .type = SM_OPT_TIME, .offset = TIME(data_block_ms), .def = "3m",
     .min = SECOND, .max = HOUR, .reload = true, .session = true,
     .help = "for the server to take 64 KiB of content",
     .man = "This is also the least rate at which a server has to take content."},
    {.name = "data_final", .type = SM_OPT_TIME, .offset = TIME(data_final_ms), .def = "10m",
     .min = SECOND, .max = HOUR, .reload = true, .session = true,
     .help = "for the reply to the end of data (LMTP: each reply)",
     .man = "A filter that looks into the content before it answers may need more: 20m for it, behind "
            "smtpc_session_conf: of the access map."},
    {.name = "rset", .type = SM_OPT_TIME, .offset = TIME(rset_ms), .def = "0s",
     .min = 0, .max = HOUR, .reload = true, .session = true, .help = "for the reply to RSET; 0: io_timeout"},
    {.name = "quit", .type = SM_OPT_TIME, .offset = TIME(quit_ms), .def = "10s",
     .min = SECOND, .max = 5 * MINUTE, .reload = true, .session = true, .help = "for the reply to QUIT"},
    SM_OPT_END,
};
/* clang-format on */
