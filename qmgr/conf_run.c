/* The options of qmgr's sections queue_run and etrn. */
#include "qmgr/conf_int.h"
#include "qmgr/schedule.h"

const struct sm_opt qm_conf_run_opts[] = {
    {.name = "interval",
     .type = SM_OPT_TIME,
     .reload = true,
     .offset = AT(run.interval_ms),
     .def = "1h",
     .min = 0,
     .max = MS_DAY,
     .help = "how often mail that waits for a queue run has one, from midnight on; 0: only when "
             "somebody says so",
     .man = "Whole minutes. It holds for the times that no row of schedule is for."},
    {.name = "schedule",
     .type = SM_OPT_LIST,
     .reload = true,
     .offset = AT(run.schedule),
     .def = "",
     .max = QM_SCHEDULE_ROWS,
     .help = "rows \"DAYS [FROM-TO] HOW_OFTEN\", by the local clock: \"Mon-Fri 08:00-18:00 15m\"",
     .man = "The first row that a time is in decides; HOW_OFTEN is counted from the beginning of "
            "its window, and may be never. \"*\" stands for all days."},
    SM_OPT_END};

const struct sm_opt qm_conf_etrn_opts[] = {
    {.name = "max_per_client",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(etrn.max_client),
     .def = "20",
     .min = 0,
     .max = 1000000,
     .unit = "commands",
     .help = "how often one address may ask within period; 0: no limit",
     .man = "Clients of Unix sockets are not limited."},
    {.name = "max_per_node",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(etrn.max_node),
     .def = "10",
     .min = 0,
     .max = 1000000,
     .unit = "commands",
     .help = "how often one node may be asked for within period, by whomever; 0: no limit"},
    {.name = "period",
     .type = SM_OPT_TIME,
     .reload = true,
     .offset = AT(etrn.period_ms),
     .def = "10m",
     .min = 1000,
     .max = MS_DAY,
     .help = "the sliding period of both"},
    {.name = "max_entries",
     .type = SM_OPT_INT,
     .reload = true,
     .offset = AT(etrn.max_entries),
     .def = "10000",
     .min = 10,
     .max = 1000000,
     .unit = "entries",
     .help = "so many addresses, and as many nodes, are remembered; the longest unused go first"},
    SM_OPT_END};

int qm_conf_check_run(const struct qm_conf *c)
{
	struct qm_schedule s;

	return qm_schedule_parse(&c->run.schedule, c->run.interval_ms, &s);
}
