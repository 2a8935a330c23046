/*
 * Maps of type passwd: users of the system, whoever keeps them (nsswitch.conf). The value of each
 * is "local:".
 *
 * The C library asks in a helper thread, because it may ask the network; what it said is remembered
 * for a while. A helper that is late is not waited for: its answer is thrown away when it comes.
 * All else in the loop's thread, but open.
 *
 * Modules of the C library that ask others (LDAP, SSSD) are libraries, which nobody can load any
 * more when rights have been dropped: open makes it load them (nss.h). So a change of nsswitch.conf
 * needs a restart of smar.
 */
#include "libsm/co.h"
#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/offload.h"
#include "libsm/sync.h"
#include "smar/map_int.h"
#include "smar/nss.h"

enum {
	NAME_MAX_BYTES = 64,
	THERE_MS = 60 * 1000,   /* how long it is remembered that a user is there */
	MISSING_MS = 10 * 1000, /* and that there is none */
	REMEMBERED_MAX = 20000,
	ASKING_MAX = 64, /* questions at a time */
	RUNNING_MAX = 3  /* of them asked of the C library; other helpers do other work meanwhile */
};

struct user {
	struct sm_hash_node node;
	struct sm_list link; /* oldest first */
	int64_t until_ms;
	bool there;
	uint8_t n;
	char name[NAME_MAX_BYTES];
};

struct passwd_map {
	unsigned refs; /* of the map, and of each question */
	size_t asking;
	struct sm_limit running;
	struct sm_hash users;
	struct sm_list by_age;
};

struct question {
	struct sm_offload_job job;
	struct passwd_map *map;
	struct sm_co *asker; /* NULL: it does not wait any more */
	bool done, there;
	int rc;
	char name[NAME_MAX_BYTES + 1];
};

static int open_passwd(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct passwd_map *m;
	int rc = ar_nss_init();

	(void)conf;
	(void)entries;
	if (rc != 0)
		return rc;
	m = sm_calloc(1, sizeof(*m));
	m->refs = 1;
	sm_limit_init(&m->running, RUNNING_MAX);
	sm_hash_init(&m->users);
	sm_list_init(&m->by_age);
	*handle = m;
	return 0;
}

/* ---- what is remembered ---- */

static bool user_eq(const struct sm_hash_node *n, const void *key)
{
	const struct user *u = SM_CONTAINER_OF(n, struct user, node);

	return sm_str_eq(sm_str_n(u->name, u->n), *(const struct sm_str *)key);
}

static void forget(struct passwd_map *m, struct user *u)
{
	sm_hash_remove(&m->users, &u->node);
	sm_list_remove(&u->link);
	sm_free(u);
}

static const struct user *find(struct passwd_map *m, struct sm_str name)
{
	struct sm_hash_node *n = sm_hash_find(&m->users, sm_hash_str(name), user_eq, &name);
	struct user *u;

	if (n == NULL)
		return NULL;
	u = SM_CONTAINER_OF(n, struct user, node);
	if (sm_loop_now_ms() < u->until_ms)
		return u;
	forget(m, u);
	return NULL;
}

static void remember(struct passwd_map *m, struct sm_str name, bool there)
{
	struct sm_hash_node *n = sm_hash_find(&m->users, sm_hash_str(name), user_eq, &name);
	struct user *u;

	if (n != NULL)
		forget(m, SM_CONTAINER_OF(n, struct user, node));
	if (m->users.count >= REMEMBERED_MAX)
		forget(m, SM_LIST_FIRST(&m->by_age, struct user, link));
	u = sm_calloc(1, sizeof(*u));
	u->until_ms = sm_loop_now_ms() + (there ? THERE_MS : MISSING_MS);
	u->there = there;
	u->n = (uint8_t)name.n;
	memcpy(u->name, name.p, name.n);
	sm_hash_insert(&m->users, &u->node, sm_hash_str(name));
	sm_list_push(&m->by_age, &u->link);
}

static void unref(struct passwd_map *m)
{
	if (--m->refs > 0)
		return;
	while (!sm_list_empty(&m->by_age))
		forget(m, SM_LIST_FIRST(&m->by_age, struct user, link));
	sm_hash_fini(&m->users);
	sm_free(m);
}

static void close_passwd(void *handle)
{
	unref(handle);
}

/* ---- asking ---- */

static int run(void *arg)
{
	struct question *q = arg;

	return ar_nss_user(q->name, &q->there);
}

static void asked(struct passwd_map *m)
{
	m->asking--;
	unref(m);
}

static void done(int rc, void *arg)
{
	struct question *q = arg;
	struct passwd_map *m = q->map;

	sm_limit_give(&m->running);
	if (rc == 0)
		remember(m, sm_str(q->name), q->there);
	if (q->asker != NULL) {
		q->done = true;
		q->rc = rc;
		sm_co_wake(q->asker);
	} else {
		sm_free(q);
	}
	asked(m);
}

static int ask(struct passwd_map *m, struct sm_str name, int64_t deadline_ms, bool *there)
{
	struct question *q;
	int rc = 0;

	if (m->asking >= ASKING_MAX)
		return sm_fail(SM_E_BUSY, "too many users are being looked up");
	m->refs++;
	m->asking++;
	rc = sm_limit_take(&m->running, "turn at the user database", deadline_ms);
	if (rc != 0) {
		asked(m);
		return sm_fail(rc, "user " SM_STR_FMT ": the user database is slow",
		               SM_STR_ARG(name));
	}
	q = sm_calloc(1, sizeof(*q));
	q->map = m;
	q->asker = sm_co_self();
	memcpy(q->name, name.p, name.n);
	sm_offload_async(&q->job, run, done, q);
	while (!q->done && rc == 0)
		rc = sm_co_park("user database", deadline_ms);
	if (!q->done) {
		q->asker = NULL;
		return sm_fail(rc, "user " SM_STR_FMT ": the user database is slow",
		               SM_STR_ARG(name));
	}
	rc = q->rc != 0 ? sm_fail(q->rc, "%s", q->job.diag) : 0;
	*there = q->there;
	sm_free(q);
	return rc;
}

/* Names of users as programs that make them allow. Others are not asked for: most keys of a lookup
 * order are none ("user+*", "user@domain"). */
static bool may_be_user(struct sm_str key)
{
	if (key.n == 0 || key.n > NAME_MAX_BYTES || key.p[0] == '-')
		return false;
	for (size_t i = 0; i < key.n; i++)
		if (!sm_isalnum(key.p[i]) && key.p[i] != '_' && key.p[i] != '-' && key.p[i] != '.')
			return false;
	return true;
}

static int get(void *handle, const struct ar_ctx *ctx, struct sm_str key, struct sm_str *value)
{
	struct passwd_map *m = handle;
	const struct user *u;
	bool there = false;
	int rc = 0;

	if (!may_be_user(key))
		return SM_E_NOTFOUND;
	u = find(m, key);
	if (u != NULL)
		there = u->there;
	else if (!ctx->may_wait)
		return SM_E_AGAIN;
	else
		rc = ask(m, key, ctx->deadline_ms, &there);
	if (rc != 0)
		return rc;
	*value = SM_STR("local:");
	return there ? 0 : SM_E_NOTFOUND;
}

const struct ar_map_driver ar_map_passwd = {
    .type = AR_MAP_PASSWD,
    .name = "passwd",
    .open = open_passwd,
    .get = get,
    .close = close_passwd,
};
