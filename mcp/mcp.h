/*
 * The things that mcp keeps: a service is a section of the configuration, it has slots, a slot has
 * a process now and then. mcp knows nothing of what a service does.
 */
#ifndef MC_MCP_H
#define MC_MCP_H

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "libsm/conf_mcp.h"
#include "libsm/loop.h"
#include "mcp/brake.h"

#define MC_NAME_MAX     64
#define MC_SERVICES_MAX 256
/* Packets between mcp and its children (libsm/proc.h). */
#define MC_PACKET_MAX 512
/* How long a program that has said nothing yet holds up the services behind it. Programs that speak
 * have start_timeout; one that only accepts need not be waited for, its socket listens already. */
#define MC_SILENT_START_MS 1000

/* A program that is kept open: what runs is what was started, also after the file was replaced. */
struct mc_program {
	int fd;      /* -1: none */
	bool script; /* begins with #!: the interpreter opens it by its descriptor */
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

/* A listening socket; lives as long as some configuration names it, so that no connection is lost
 * at a restart. */
struct mc_listener {
	struct sm_list link; /* all listeners of mcp */
	unsigned refs;
	char key[160];  /* "inet 127.0.0.1:25", "unix smtps/sock" */
	char name[224]; /* handed over with it */
	char path[112]; /* of a Unix socket, else "" */
	int fd;
	struct sm_fd watch; /* nostartaccept: mcp accepts itself */
	bool watched;
	struct mc_service *service; /* who accepts */
};

/* One process and what mcp keeps for it. */
struct mc_child {
	struct mc_service *service;
	struct mc_slot *slot;
	pid_t pid;
	struct sm_fd talk; /* its mcp socket; fd -1: none */
	bool spoke, ready; /* a tick or ready came; ready came */
	bool killed;       /* by the watchdog or the stop timeout */
	bool aborted;      /* by the watchdog: the next time it is killed */
	bool asked;        /* was told to end */
	int64_t started_ms, heard_ms;
	struct sm_timer watchdog; /* nostartaccept: max_run_time */
	struct sm_timer handover; /* passing listeners: next try */
	unsigned handover_tries;  /* that were worth a complaint */
	char status[120];         /* what it last said of itself */
};

/* The place of one process: its number, and how often it died. */
struct mc_slot {
	struct mc_service *service;
	unsigned id;
	struct mc_child *child; /* NULL: none now */
	struct mc_brake brake;
	struct sm_timer restart;
	bool given_up;
	bool missed; /* one that was up is gone, and its dependents do not know yet */
};

struct mc_service {
	struct sm_list link;
	char name[MC_NAME_MAX];         /* "smtps", "smtps-MSA" */
	struct sm_str keyword, section; /* "smtps", "MSA" */
	struct sm_arena arena;          /* of conf */
	struct sm_conf_service conf;
	struct sm_str text; /* conf written out: equal text is equal configuration */
	char *argv[SM_CONF_ARGV_MAX];
	int argc;
	uid_t uid;
	gid_t gid;
	bool become; /* mcp is root and the service is not */
	struct mc_program program;
	int log_fd; /* -1: mcp's own standard error */
	struct mc_listener **listeners;
	size_t listener_count;

	struct mc_slot *slots;
	size_t slot_count;
	size_t alive;        /* slots with a child */
	struct mc_rate rate; /* nostartaccept: of starts */
	bool up, stopping, again, gone;
	struct mc_service *next;     /* configuration to take over when the processes are gone */
	struct sm_timer kill_timer;  /* stop_timeout */
	struct sm_timer start_timer; /* end of waiting for ready; nostartaccept: of a pause */
};

/* What the command line says, and what all files of mcp share. */
struct mc_globals {
	const char *conf_path, *log_dir, *pid_path;
	bool foreground, syslog;
	struct rlimit nofile;    /* as mcp was started, for the children */
	bool root;               /* effective uid is 0: users can be changed */
	struct sm_list services; /* in the order of the file */
};
extern struct mc_globals mc;

#endif
