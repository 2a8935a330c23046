/*
 * A request on smar's control socket, which each member of a group may send: a byte that says what
 * its verb takes, then the body of the message, or, if it is none, a word in each line. Besides
 * crashes: what is taken is within its bounds, and each word went to one place.
 */
#include "libsm/addr.h"
#include "libsm/err.h"
#include "smar/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void look(const struct ar_ctl_takes *takes, const struct ar_ctl_words *w)
{
	sm_assert(w->count >= takes->least && w->count <= takes->most);
	for (size_t i = 0; i < w->count; i++)
		sm_assert(w->word[i].n <= AR_CTL_WORD_BYTES);
	sm_assert((takes->options & AR_CTL_CLIENT) || w->client.len == 0);
	sm_assert((takes->options & AR_CTL_FROM) || w->from.n == 0);
	sm_assert((takes->options & AR_CTL_CHECK) || w->check == 0);
	sm_assert((takes->options & AR_CTL_AS) || w->as == AR_AS_ANY);
	sm_assert((takes->options & AR_CTL_TAG) || w->tag.n == 0);
	sm_assert(w->tag.n <= AR_CTL_TAG_BYTES);
	sm_assert(w->tag.n == 0 || w->tag.p[w->tag.n - 1] == ':');
	sm_assert((takes->options & AR_CTL_MAIL) || (w->rcpts == 1 && w->bytes == 0 && !w->again));
	sm_assert(w->rcpts > 0);
	if (w->client_name.p != NULL)
		sm_assert((takes->options & AR_CTL_CLIENT_NAME) &&
		          sm_domain_valid(w->client_name, true));
}

static void lines(struct sm_str in, struct sm_arena *a, struct sm_msg_ctl_request *m)
{
	m->verb = SM_STR("x");
	m->args = sm_arena_must(a, 64 * sizeof(*m->args));
	m->args_count = 0;
	while (in.n > 0 && m->args_count < 64)
		m->args[m->args_count++].text = sm_str_split(in, '\n', &in);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct ar_ctl_takes takes = {.verb = "x"};
	struct sm_arena frame, words;
	struct sm_msg_ctl_request m;
	struct ar_ctl_words w;
	int rc;

	if (n == 0)
		return 0;
	takes.options = p[0] & 0x3F;
	if (takes.options & AR_CTL_FROM)
		takes.options |= AR_CTL_MAIL;
	takes.least = p[0] >> 7;
	takes.most = takes.least + (p[0] >> 6 & 1U);
	sm_arena_init(&frame, "frame", 4096, 4 * 1024 * 1024);
	sm_arena_init(&words, "words", 4096, 64 * 1024 * 1024);
	if (sm_msg_ctl_request_decode(sm_str_n(p + 1, n - 1), &frame, &m) != 0)
		lines(sm_str_n(p + 1, n - 1), &frame, &m);
	rc = ar_ctl_take_words(&takes, &m, &words, &w);
	if (rc == 0)
		look(&takes, &w);
	else
		sm_assert((rc == SM_E_SYNTAX || rc == SM_E_TOOBIG) && sm_diag()[0] != '\0');
	sm_arena_fini(&words);
	sm_arena_fini(&frame);
	return 0;
}
