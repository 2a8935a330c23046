/*
 * Shared by the tests and the fuzz target of whole sessions, see t_puppets.h: links and calls of
 * rpc, and what of cdb only filters use, of which there are none. Invariant: a call is answered
 * once, from the loop, or cancelled. One loop.
 */
#include "smtps/t_puppets.h"

#include "libcdb/cdb.h"
#include "libsm/err.h"
#include "libsm/loop.h"

/* ---- links ---- */

struct sm_link *sm_link_open(const struct sm_link_conf *conf SM_UNUSED)
{
	return NULL;
}
void sm_link_free(struct sm_link **l SM_UNUSED)
{
}
struct sm_peer *sm_link_peer(struct sm_link *l SM_UNUSED)
{
	static char somebody;

	return (struct sm_peer *)(void *)&somebody;
}
int sm_link_wait(struct sm_link *l SM_UNUSED, int64_t deadline_ms SM_UNUSED)
{
	return 0;
}
const char *sm_link_trouble(struct sm_link *l SM_UNUSED)
{
	return "";
}
void sm_peer_close(struct sm_peer *p SM_UNUSED, const char *why SM_UNUSED)
{
}
const char *sm_peer_why(const struct sm_peer *p SM_UNUSED)
{
	return "";
}
void sm_peer_send(struct sm_peer *p SM_UNUSED, uint16_t type, const void *m SM_UNUSED)
{
	sm_assert(type == SM_MSG_sess_close);
}

/* ---- calls ---- */

uint64_t puppet_next_id = 1000;
static struct sm_list calls = SM_LIST_INIT(calls);

void sm_call(struct sm_call *c, struct sm_peer *p, uint16_t type, const void *m,
             int64_t deadline_ms, void (*cb)(int err, const struct sm_frame *f, void *arg),
             void *arg)
{
	struct ss_answer a = puppet_answer(type, m);

	*c = (struct sm_call){
	    .peer = p, .tag = type, .deadline_ms = deadline_ms, .cb = cb, .arg = arg};
	/* Kept where rpc would keep other things. */
	c->err = a.err != 0 ? a.err : a.code;
	c->node.hash = a.flags;
	sm_list_push(&calls, &c->link);
}

void sm_call_cancel(struct sm_call *c)
{
	sm_list_remove(&c->link);
}

uint32_t puppet_decides;

static uint16_t encode_decided(struct sm_buf *b)
{
	static struct sm_msg_rcpt_decided results[1000];
	struct sm_msg_ta_decided m = {.results = results};

	for (uint32_t i = 0; i < puppet_decides; i++) {
		if (i == 5)
			continue;
		results[m.results_count] = (struct sm_msg_rcpt_decided){
		    .index = (uint16_t)i, .code = 250, .text = SM_STR("2.0.0 delivered")};
		if (i % 2 != 0)
			results[m.results_count] = (struct sm_msg_rcpt_decided){
			    .index = (uint16_t)i, .code = 550, .text = SM_STR("5.1.1 no\nway")};
		m.results_count++;
	}
	sm_msg_ta_decided_encode(b, &m);
	return SM_MSG_ta_decided;
}

static uint16_t encode(struct sm_buf *b, const struct sm_call *c)
{
	uint16_t code = (uint16_t)c->err;
	struct sm_msg_id_block block = {.first = puppet_next_id, .count = 1000};
	struct sm_msg_conn_verdict conn = {.code = code,
	                                   .flags = (uint32_t)c->node.hash,
	                                   .text = puppet_text(code),
	                                   .client_name = SM_STR("c.test")};
	struct sm_msg_verdict verdict = {
	    .code = code, .flags = (uint32_t)c->node.hash, .text = puppet_text(code)};

	switch (c->tag) {
	case SM_MSG_id_block_get:
		puppet_next_id += block.count;
		sm_msg_id_block_encode(b, &block);
		return SM_MSG_id_block;
	case SM_MSG_conn_check:
		sm_msg_conn_verdict_encode(b, &conn);
		return SM_MSG_conn_verdict;
	case SM_MSG_ta_wait:
		return encode_decided(b);
	default:
		sm_msg_verdict_encode(b, &verdict);
		return SM_MSG_verdict;
	}
}

static bool answer_all(void *arg SM_UNUSED)
{
	struct sm_list *l;
	bool any = false;

	while ((l = sm_list_shift(&calls)) != NULL) {
		struct sm_call *c = SM_LIST_ENTRY(l, struct sm_call, link);
		struct sm_frame f = {.flags = SM_FRAME_REPLY};
		struct sm_buf b;

		any = true;
		if (c->err < 0) {
			c->cb(c->err, NULL, c->arg);
			continue;
		}
		sm_buf_init(&b, 65536);
		f.type = encode(&b, c);
		f.body = sm_buf_view(&b);
		c->cb(0, &f, c->arg);
		sm_buf_fini(&b);
	}
	return any;
}

void puppets_start(void)
{
	static struct sm_hook hook;

	sm_loop_before_sleep(&hook, answer_all, NULL);
}

size_t puppets_forget(void)
{
	size_t n = 0;

	while (sm_list_shift(&calls) != NULL)
		n++;
	return n;
}

/* ---- content that is to be otherwise ---- */

int cdb_reread(struct cdb_writer *w SM_UNUSED, struct cdb_reader **out)
{
	*out = NULL;
	return SM_E_BUG;
}
int cdb_rewrite(struct cdb_writer **w SM_UNUSED, struct cdb_writer **former)
{
	*former = NULL;
	return SM_E_BUG;
}
struct cdb_writer *cdb_scratch(struct cdb *s SM_UNUSED, struct sm_id id SM_UNUSED)
{
	return NULL;
}
ssize_t cdb_read(struct cdb_reader *r SM_UNUSED, const char **p SM_UNUSED)
{
	return SM_E_BUG;
}
void cdb_read_close(struct cdb_reader **r SM_UNUSED)
{
}
