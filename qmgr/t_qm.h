/*
 * A whole queue manager in a test: the real parts over a directory of its own, with puppets on its
 * sockets for smtps, smtpc, smar and operators. A puppet speaks raw frames, so that it can be slow,
 * rude or gone at any moment. Tests only.
 */
#ifndef QM_T_QM_H
#define QM_T_QM_H

#include "libsm/rpc_int.h"
#include "qmgr/qm.h"

struct puppet {
	enum sm_role role;
	uint8_t proc;
	int fd, listen_fd;
	bool up;   /* qmgr's hello came */
	bool gone; /* qmgr closed it */
	uint64_t last_tag;
	struct sm_buf in, out;
};

/* What the last of each kind said to the smtps puppet. */
struct t_smtps {
	struct puppet p;
	uint64_t next_id;
	struct sm_msg_id_item open[4]; /* what it says that it still needs, when it comes */
	unsigned open_count;
	unsigned verdicts; /* in all */
	uint16_t code;     /* of the last one */
	char text[200];    /* ... */
	uint16_t credit;
	unsigned credits;
	unsigned outcomes, keeps;
	int taken;
	unsigned decisions; /* ta_decided, in all; the last one by index: */
	unsigned decided_count;
	uint16_t decided[16];
	char decided_text[16][64];
};

struct t_task {
	uint64_t tag;
	bool answered;
	struct sm_id ta, content, dsn_of;
	char sender[64], envid[32];
	unsigned count, dsn_count;
	uint16_t index[1000];
	char rcpt[40][64]; /* the first ones */
	uint8_t dsn_kind, notify, ret;
	uint32_t probe_ms, within_ms;
	char host[64]; /* the first one */
	int64_t dsn_received_s, dsn_until_s;
	uint64_t dsn_max_bytes;
	struct {
		char addr[64], orcpt[64], text[64], host[64];
		uint16_t code;
		uint8_t action;
		int64_t last_try_s;
	} dsn[4];
};

struct t_smtpc {
	struct puppet p;
	struct t_task *task;
	unsigned tasks;
	bool hold;     /* answer nothing for now */
	bool fine;     /* whatever the names say */
	bool nonsense; /* outcomes that do not exist */
	bool dsn;      /* next hops offer DSN */
	bool connected;
};

struct t_qm {
	char dir[64], base[96], ibdb[128], defedb[128], socks[4][128];
	struct sm_proc proc;
	struct qm_conf conf;
	struct sm_arena arena, frame;
	struct qm q;
	struct t_smtps ss, ss2;
	struct t_smtpc sc, sc2;
	struct puppet smar;
	/* list@alias.test, listN@: so many members m00000@m.test and on; in chunks of so many */
	unsigned members, chunk;
	bool owner, verp, perm;           /* it has one; each member a sender; it is refused */
	char after[64], route_sender[64]; /* of the last question for it */
	uint8_t level;
	bool smar_hold;
	uint8_t deliver;   /* of mail that is committed */
	struct sm_id sess; /* ... */
	bool no_on_demand; /* hold*.test and queue*.test do not wait */
	unsigned questions;
	struct sm_msg_route_get asked_way; /* the last for ways.test; its strings are gone */
	struct puppet ctl;
	char ctl_text[65536];
	bool ctl_done;
	uint8_t ctl_status;
};
extern struct t_qm w;

int t_qm_setup(void **state); /* directories, a configuration for short times; nothing runs */
/* The same, and mail for hold*.test and queue*.test waits; there is no schedule. */
int t_qm_setup_waiting(void **state);
int t_qm_teardown(void **state); /* closes what runs, removes the directories */
void t_qm_start(void);           /* the queue, until it is running */
void t_qm_stop(void);            /* orderly: closes it; start again */
void t_qm_all(void);             /* start, and smtps, smtpc, smar */
void t_qm_end(void);             /* an orderly end of all */
void t_qm_again(void);           /* the same, then as t_qm_all */
void t_qm_no_smtpc(void);        /* as t_qm_all, but what is ready stays there until one comes */

/* fn in a child that dies without an orderly end; then its state. Its stderr goes to `log`, if that
 * is not NULL. */
int t_in_a_child(void (*fn)(void), const char *log);
/* The same, of a child that finds nothing wrong; what it listened on is out of the way. */
void t_crash_after(void (*fn)(void));

/* Runs the loop until so; false after T_PATIENCE_MS, which is a failure. */
bool t_wait(bool (*until)(void));
/* Runs the loop for so long: only where something must not happen. */
void t_turns(int ms);
/* Runs the loop until qmgr itself ends it; false after `ms`, 0: T_PATIENCE_MS. */
bool t_ends(int ms);

void t_smtps_up(struct t_smtps *s, uint8_t proc);
void t_smtpc_up(struct t_smtpc *c, unsigned max_tasks);
void t_smar_up(void);
void t_down(struct puppet *p);
void t_send(struct puppet *p, uint16_t type, const void *m, bool call);
void t_ask_ctl(const char *verb, const char *arg); /* words with spaces between */
void t_send_ctl(const char *words);                /* the verb first; not waited for */
void t_wait_ctl(void);                             /* until it has its answer, or is gone */

/* A mail whose content exists, with recipients as one string "a@x b@y"; sent, not waited for. */
struct sm_id t_commit(const char *sender, const char *rcpts);
struct sm_id t_commit_at(const char *sender, const char *rcpts, int64_t received_s, uint8_t notify);
struct sm_id t_commit_raw(struct t_smtps *s, struct sm_id id, const char *sender, const char *rcpts,
                          int64_t received_s, uint8_t notify);
struct sm_id t_content(void); /* only that */
/* A mail that is at this place of a segment; sent, not waited for. */
void t_commit_in(struct sm_id id, const struct cdb_place *at, const char *rcpts, uint8_t notify);
struct sm_id t_segment(void); /* only its file, and that is empty */
struct sm_id t_next_id(void); /* for a mail of the smtps puppet */
bool t_content_there(struct sm_id id);
size_t t_contents(void);

/* Answer a task that is held, by the names of its recipients (see t_qm_common.c). */
void t_answer(struct t_smtpc *c, struct t_task *t);
bool t_all_over(void); /* no transaction anywhere, no content, no entry for one */
void t_pump(void);     /* the puppets read and write: done in each turn */

/* Waits until so; what the conditions below, and those of the tests, compare with is t_want. */
extern unsigned t_want;
void t_wait_n(bool (*until)(void), unsigned n);
bool t_verdicts(void);    /* answers to the smtps puppet */
bool t_tasks(void);       /* at the first smtpc puppet */
bool t_asked(void);       /* questions to the smar puppet */
bool t_indexed(void);     /* mails in DEFEDB, none on its way back */
bool t_deferred(void);    /* the same, and none is active */
bool t_all_written(void); /* nothing waits for a log to be durable */
void t_wait_over(void);

struct sm_id t_taken(const char *sender, const char *rcpts);   /* t_commit, until it is taken */
struct sm_id t_waiting(const char *sender, const char *rcpts); /* until it is in DEFEDB */
void t_slow_retries(void); /* nothing is tried again in the time of a test */

#endif
