/*
 * Listening sockets of all services. Invariant: one socket per address whatever the number of
 * reloads, closed when the last configuration that names it is gone. Two services cannot have the
 * same one.
 */
#include "mcp/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "libsm/net.h"

static struct sm_list listeners = SM_LIST_INIT(listeners);

bool mc_listen_none(void)
{
	return sm_list_empty(&listeners);
}

static void put(struct mc_listener *l)
{
	sm_assert(l->refs > 0);
	if (--l->refs > 0)
		return;
	sm_assert(!l->watched);
	sm_list_remove(&l->link);
	if (l->path[0] != '\0')
		(void)unlink(l->path);
	(void)close(l->fd);
	SM_FREE(l);
}

static int address(const struct sm_conf_listen *c, struct sm_sa *sa)
{
	struct sm_str ip = c->address;

	if (c->type == SM_LISTEN_UNIX)
		return sm_sa_unix(sa, c->path);
	if (ip.n == 0)
		ip = c->type == SM_LISTEN_INET ? SM_STR("0.0.0.0") : SM_STR("::");
	return sm_sa_ip(sa, ip, (uint16_t)c->port);
}

/* Owner and mode of a Unix socket, by a descriptor of the path itself: its directory may be another
 * user's. */
static int set_owner(const struct mc_service *s, const struct sm_conf_listen *c)
{
	char proc[64];
	uid_t uid = s->uid;
	gid_t gid = s->gid;
	const struct passwd *pw;
	const struct group *gr;
	struct stat st;
	int fd, rc = 0;

	if (c->user.n > 0) {
		if ((pw = getpwnam(c->user.p)) == NULL)
			return sm_fail(SM_E_NOTFOUND, "section %s: no such user: %s", s->name,
			               c->user.p);
		uid = pw->pw_uid;
	}
	if (c->group.n > 0) {
		if ((gr = getgrnam(c->group.p)) == NULL)
			return sm_fail(SM_E_NOTFOUND, "section %s: no such group: %s", s->name,
			               c->group.p);
		gid = gr->gr_gid;
	}
	fd = open(c->path.p, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		rc = sm_fail(SM_E_DENIED, "section %s: %s is no socket", s->name, c->path.p);
	} else {
		(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		/* While mcp owns it the mode needs no further right. */
		if (st.st_uid == geteuid() && chmod(proc, (mode_t)(0777 & ~c->umask)) != 0)
			rc = sm_fail_sys(errno, "section %s: mode of %s", s->name, c->path.p);
		else if ((uid != st.st_uid || gid != st.st_gid) &&
		         fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0)
			rc = sm_fail_sys(errno, "section %s: owner of %s", s->name, c->path.p);
	}
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

static int get(struct mc_service *s, const struct sm_conf_listen *c, struct mc_listener **out)
{
	char text[SM_SA_TEXT], key[sizeof((*out)->key)];
	struct mc_listener *l;
	struct sm_sa sa;
	int rc;

	if ((rc = address(c, &sa)) != 0)
		return rc;
	(void)snprintf(key, sizeof(key), "%s", sm_sa_text(&sa, text));
	SM_LIST_FOR (o, &listeners, struct mc_listener, link) {
		if (strcmp(o->key, key) == 0) {
			/* A larger or smaller queue takes effect at once. */
			(void)listen(o->fd, (int)c->backlog);
			o->refs++;
			*out = o;
			return 0;
		}
	}
	l = sm_calloc(1, sizeof(*l));
	l->watch.fd = -1;
	l->refs = 1;
	memcpy(l->key, key, sizeof(key));
	(void)snprintf(l->name, sizeof(l->name), SM_STR_FMT,
	               SM_STR_ARG(c->name.n > 0 ? c->name : sm_str(key)));
	if ((l->fd = sm_net_listen(&sa, (int)c->backlog, (unsigned)c->umask)) < 0) {
		rc = sm_fail_in(l->fd, "section %s", s->name);
		SM_FREE(l);
		return rc;
	}
	sm_list_push(&listeners, &l->link);
	if (c->type == SM_LISTEN_UNIX) {
		(void)snprintf(l->path, sizeof(l->path), SM_STR_FMT, SM_STR_ARG(c->path));
		if ((rc = set_owner(s, c)) != 0) {
			put(l);
			return rc;
		}
	}
	*out = l;
	return 0;
}

int mc_listen_open(struct mc_service *s)
{
	const struct sm_conf_listen *c = s->conf.listen_socket.v;
	size_t n = s->conf.start_action == SM_START_WAIT ? 0 : s->conf.listen_socket.count;
	int rc;

	s->listeners = n > 0 ? sm_calloc(n, sizeof(*s->listeners)) : NULL;
	s->listener_count = 0;
	for (size_t i = 0; i < n; i++) {
		if ((rc = get(s, &c[i], &s->listeners[i])) != 0) {
			mc_listen_close(s);
			return rc;
		}
		s->listener_count++;
	}
	return 0;
}

void mc_listen_close(struct mc_service *s)
{
	for (size_t i = 0; i < s->listener_count; i++)
		put(s->listeners[i]);
	s->listener_count = 0;
	SM_FREE(s->listeners);
}
