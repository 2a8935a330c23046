/*
 * c-ares driven by the loop: its descriptors are watched level-triggered, its next timeout is one
 * timer.
 *
 * The socket functions are ours for the library's sake: descriptors are close-on-exec and
 * non-blocking from the start, and an empty datagram, which version 1.18 took for the end of the
 * connection and failed all questions, is dropped.
 *
 * A mail to a thousand domains asks a thousand questions at once, and a socket's buffer, here or at
 * the name server, holds some two hundred datagrams; what does not fit is lost, and costs a
 * time-out. So BURST of them go at once. An answer lets one more go, and so does time, because the
 * slow may not hold up the others: questions without an answer are never limited, only how fast
 * they are sent.
 *
 * Invariant: c-ares is never entered from within one of its callbacks. Thread: the loop's.
 */
#include "smar/dns.h"

#include <ares.h>
#include <errno.h>
#include <strings.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libsm/hash.h"
#include "libsm/rand.h"
#include "smar/dns_msg.h"

enum { CLASS_IN = 1, AUTHENTIC_DATA = 0x20 /* of the fourth byte */ };
enum { TRIES = 2, ATTEMPT_LEAST_MS = 100, EDNS_BYTES = 1232 };
enum { BURST = 100, BURST_MS = 20 }; /* so many questions may go now, and again so much later */

struct watch {
	struct sm_fd f;
	struct sm_list link;
	int fd;
};

struct question {
	struct sm_hash_node node; /* by name */
	struct sm_list wait;      /* in waiting */
	const char *name;         /* the asker's, until its callback */
	uint16_t type;
	bool refused; /* by the server that answered last */
	void (*cb)(struct sm_str packet, struct ar_dns_trouble trouble, void *arg);
	void *arg;
};

static ares_channel channel;
static struct sm_list watches = SM_LIST_INIT(watches);
static struct sm_hash questions;
static struct sm_list waiting = SM_LIST_INIT(waiting); /* to be sent, the oldest first */
static struct sm_timer timer, refill;
static unsigned may_send = BURST;
static unsigned inside; /* c-ares is on the stack */
static bool edns;       /* questions may have an OPT record ... */
static bool edns_doubt; /* ... unless a server does not know it: the library found out */

static void set_timer(void);
static void send_waiting(void);

static void process(ares_socket_t rd, ares_socket_t wr)
{
	sm_assert(inside == 0);
	inside++;
	ares_process_fd(channel, rd, wr);
	inside--;
	send_waiting();
	set_timer();
}

static void on_timer(void *arg SM_UNUSED)
{
	process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/*
 * To tell the next timeout former libraries look at each question that is out, so they are not
 * asked for each question and each answer: they give a question at least as long as those before
 * it, so a timer that is set comes in time. One that comes too early costs a look.
 */
static bool timer_will_do(void)
{
#if ARES_VERSION < 0x012000
	return sm_timer_is_set(&timer);
#else
	return false;
#endif
}

static void set_timer(void)
{
	struct timeval tv;

	if (timer_will_do())
		return;
	if (ares_timeout(channel, NULL, &tv) == NULL)
		sm_timer_cancel(&timer);
	else
		sm_timer_set(&timer, sm_now_ms() + tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1,
		             on_timer, NULL);
}

/* ---- descriptors ---- */

static void on_event(struct sm_fd *f SM_UNUSED, unsigned events, void *arg)
{
	const struct watch *w = arg;
	int fd = w->fd;

	/* The watch may be gone when this returns. */
	process(events & SM_RD ? fd : ARES_SOCKET_BAD, events & SM_WR ? fd : ARES_SOCKET_BAD);
}

static struct watch *find_watch(int fd)
{
	SM_LIST_FOR (w, &watches, struct watch, link)
		if (w->fd == fd)
			return w;
	return NULL;
}

static void on_socket_state(void *data SM_UNUSED, ares_socket_t fd, int readable, int writable)
{
	unsigned directions = (readable ? SM_RD : 0U) | (writable ? SM_WR : 0U);
	struct watch *w = find_watch(fd);

	if (directions == 0) {
		if (w != NULL) {
			sm_fd_forget(&w->f);
			sm_list_remove(&w->link);
			sm_free(w);
		}
		return;
	}
	if (w != NULL) {
		(void)sm_fd_level(&w->f, directions);
		return;
	}
	w = sm_calloc(1, sizeof(*w));
	w->fd = fd;
	/* If it cannot be watched, its questions run into their timeouts. */
	if (sm_fd_open_level(&w->f, fd, directions, on_event, w) == 0)
		sm_list_push(&watches, &w->link);
	else
		sm_free(w);
}

static ares_socket_t open_socket(int family, int type, int protocol, void *arg SM_UNUSED)
{
	return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}

static int close_socket(ares_socket_t fd, void *arg SM_UNUSED)
{
	return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *sa, ares_socklen_t len,
                          void *arg SM_UNUSED)
{
	return connect(fd, sa, len);
}

static bool question_eq(const struct sm_hash_node *n, const void *key)
{
	const struct question *q = SM_CONTAINER_OF(n, struct question, node);
	const struct question *k = key;

	return q->type == k->type && strcasecmp(q->name, k->name) == 0;
}

/*
 * The library goes on to the next server when one fails or refuses, and forgets what it was told.
 * Nobody has proved yet that this is an answer; it only says why a question failed that fails
 * anyway.
 */
static void note_refusal(struct sm_str packet)
{
	char name[AR_DNS_NAME_MAX + 1];
	uint16_t type;
	bool refused;

	if (!ar_dns_failure(packet, name, &type, &refused))
		return;
	uint64_t hash = sm_hash_case(sm_str(name));
	const struct question asked = {.name = name, .type = type};

	/* Two may ask the same: those behind the first are in the same chain. */
	for (struct sm_hash_node *n = sm_hash_find(&questions, hash, question_eq, &asked);
	     n != NULL; n = n->next)
		if (n->hash == hash && question_eq(n, &asked))
			SM_CONTAINER_OF(n, struct question, node)->refused = refused;
}

static ares_ssize_t receive(ares_socket_t fd, void *p, size_t size, int flags,
                            struct sockaddr *from, ares_socklen_t *from_len, void *arg SM_UNUSED)
{
	ares_ssize_t n = recvfrom(fd, p, size, flags, from, from_len);

	/* With an address: a datagram. TCP is asked without, and there 0 is the end. */
	if (n == 0 && from != NULL) {
		errno = EAGAIN;
		return -1;
	}
	if (n > 0 && from != NULL) {
		note_refusal(sm_str_n(p, (size_t)n));
		edns_doubt = edns_doubt || ar_dns_is_formerr(sm_str_n(p, (size_t)n));
	}
	return n;
}

static ares_ssize_t send_all(ares_socket_t fd, const struct iovec *v, int count,
                             void *arg SM_UNUSED)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)count};

	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {open_socket, close_socket,
                                                              connect_socket, receive, send_all};

/* ---- start and end ---- */

static int set_servers(const struct ar_dns_conf *conf)
{
	struct ares_addr_port_node nodes[AR_DNS_SERVERS_MAX] = {0};

	if (conf->count == 0)
		return ARES_SUCCESS;
	for (size_t i = 0; i < conf->count; i++) {
		const struct sm_sa *sa = &conf->servers[i];

		nodes[i].next = i + 1 < conf->count ? &nodes[i + 1] : NULL;
		nodes[i].family = sa->u.sa.sa_family;
		nodes[i].udp_port = nodes[i].tcp_port = sm_sa_port(sa);
		if (nodes[i].family == AF_INET)
			nodes[i].addr.addr4 = sa->u.in4.sin_addr;
		else
			memcpy(&nodes[i].addr.addr6, &sa->u.in6.sin6_addr,
			       sizeof(nodes[i].addr.addr6));
	}
	return ares_set_servers_ports(channel, nodes);
}

/* How many servers /etc/resolv.conf names: the library tells only when it is set up. */
static int count_servers(int64_t *count)
{
	struct ares_addr_port_node *list = NULL;
	ares_channel probe;
	int rc = ares_init(&probe);

	*count = 0;
	if (rc != ARES_SUCCESS)
		return rc;
	rc = ares_get_servers_ports(probe, &list);
	for (const struct ares_addr_port_node *n = list; rc == ARES_SUCCESS && n != NULL;
	     n = n->next)
		++*count;
	ares_free_data(list);
	ares_destroy(probe);
	return rc;
}

int ar_dns_init(const struct ar_dns_conf *conf)
{
	int64_t servers = (int64_t)conf->count, attempt_ms;
	struct ares_options o = {
	    .flags = ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH | ARES_FLAG_EDNS,
	    .tries = TRIES,
	    .ednspsz = EDNS_BYTES,
	    .sock_state_cb = on_socket_state,
	};
	int rc;

	sm_assert(conf->count <= AR_DNS_SERVERS_MAX && channel == NULL);
	edns = true;
	edns_doubt = false;
	rc = ares_library_init(ARES_LIB_INIT_ALL);
	if (rc == ARES_SUCCESS && servers == 0)
		rc = count_servers(&servers);
	/* Each server gets a first attempt and one of twice the length. */
	attempt_ms = conf->timeout_ms / (3 * SM_MAX(servers, INT64_C(1)));
	o.timeout = (int)SM_MAX(attempt_ms, (int64_t)ATTEMPT_LEAST_MS);
	if (rc == ARES_SUCCESS)
		rc = ares_init_options(&channel, &o,
		                       ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		                           ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB);
	if (rc == ARES_SUCCESS) {
		ares_set_socket_functions(channel, &socket_functions, NULL);
		rc = set_servers(conf);
	}
	if (rc != ARES_SUCCESS) {
		ar_dns_fini();
		return sm_fail(SM_E_SYS, "c-ares: %s", ares_strerror(rc));
	}
	return 0;
}

static void on_answer(void *arg, int status, int timeouts SM_UNUSED, unsigned char *packet,
                      int size)
{
	struct question *q = arg;
	struct ar_dns_trouble trouble = {ares_strerror(status), q->refused};

	sm_list_remove(&q->wait);
	sm_hash_remove(&questions, &q->node);
	may_send += may_send < BURST;
	if (packet != NULL && size > 0)
		q->cb(sm_str_n(packet, (size_t)size), (struct ar_dns_trouble){NULL, false}, q->arg);
	else
		q->cb(SM_STR(""), trouble, q->arg);
	sm_free(q);
}

void ar_dns_fini(void)
{
	sm_assert(inside == 0);
	if (channel != NULL)
		ares_destroy(channel);
	channel = NULL;
	while (!sm_list_empty(&waiting))
		on_answer(SM_LIST_FIRST(&waiting, struct question, wait), ARES_EDESTRUCTION, 0,
		          NULL, 0);
	may_send = BURST;
	sm_timer_cancel(&timer);
	sm_timer_cancel(&refill);
	sm_hash_fini(&questions);
	ares_library_cleanup();
}

/* ---- questions ---- */

/* A server that does not know EDNS was asked once more without it, and from then on the library
 * wants no question to have it. */
static void look_for_edns(void)
{
	struct ares_options o;
	int mask;

	if (!edns_doubt || ares_save_options(channel, &o, &mask) != ARES_SUCCESS)
		return;
	edns = (o.flags & ARES_FLAG_EDNS) != 0;
	edns_doubt = false;
	ares_destroy_options(&o);
}

/*
 * With the bit that asks for the AD bit of the answer (RFC 6840 5.7), which the library leaves
 * out; so the packet is made and sent in two steps. The number is one that nobody can guess.
 */
static void send_question(struct question *q)
{
	unsigned char *packet = NULL;
	unsigned short id;
	int rc, size = 0;

	look_for_edns();
	sm_rand_secret(&id, sizeof(id));
	rc = ares_create_query(q->name, CLASS_IN, q->type, id, 1, &packet, &size,
	                       edns ? EDNS_BYTES : 0);
	if (rc != ARES_SUCCESS) {
		on_answer(q, rc, 0, NULL, 0);
		return;
	}
	packet[3] |= AUTHENTIC_DATA;
	ares_send(channel, packet, size, on_answer, q);
	ares_free_string(packet);
}

static void on_refill(void *arg SM_UNUSED)
{
	may_send = BURST;
	send_waiting();
	set_timer();
}

static void send_waiting(void)
{
	while (may_send > 0 && !sm_list_empty(&waiting)) {
		struct question *q = SM_LIST_FIRST(&waiting, struct question, wait);

		sm_list_remove(&q->wait);
		may_send--;
		inside++;
		send_question(q);
		inside--;
	}
	if (may_send < BURST && !sm_timer_is_set(&refill))
		sm_timer_set(&refill, sm_now_ms() + BURST_MS, on_refill, NULL);
}

void ar_dns_ask(const char *name, uint16_t type,
                void (*cb)(struct sm_str packet, struct ar_dns_trouble trouble, void *arg),
                void *arg)
{
	struct question *q = sm_malloc(sizeof(*q));

	sm_assert(inside == 0);
	*q = (struct question){.name = name, .type = type, .cb = cb, .arg = arg};
	sm_hash_insert(&questions, &q->node, sm_hash_case(sm_str(name)));
	sm_list_push(&waiting, &q->wait);
	send_waiting();
	set_timer();
}
