/* Words for flags and states of messages. Pure; any thread. */
#include "libsm/msg_words.h"

const struct sm_word sm_verdict_words[] = {
    {"local", SM_VERDICT_LOCAL, "the recipient's domain is ours"},
    {"relay", SM_VERDICT_RELAY, "a map says relay"},
    {"close", SM_VERDICT_CLOSE, "the session ends after the reply"},
    {"ok", SM_VERDICT_OK, "a map says ok"},
    {"quick", SM_VERDICT_QUICK, "with quick:"},
    {"discard", SM_VERDICT_DISCARD, "it is accepted, and vanishes"},
    {"greylisted", SM_VERDICT_GREYLISTED, "the refusal is greylisting"},
    {"verify", SM_VERDICT_VERIFY, "the next hop is asked whether it knows the recipient"},
    {"unresolved", SM_VERDICT_UNRESOLVED, "cltresolve: refuses, not meant for who may relay"},
    {"on_demand", SM_VERDICT_ON_DEMAND, "a domain of on_demand: its mail may be brought by all"},
    {0},
};

const struct sm_word sm_resolve_words[] = {
    {"none", SM_RESOLVE_NONE, "no Internet address, or nobody asked"},
    {"ok", SM_RESOLVE_OK, "the name leads back to the address"},
    {"no", SM_RESOLVE_NO, "there is no name, or it leads elsewhere"},
    {"tempptr", SM_RESOLVE_TEMP_PTR, "no answer to the reverse lookup"},
    {"tempa", SM_RESOLVE_TEMP_A, "no answer to the forward lookup"},
    {0},
};

const struct sm_word sm_agent_words[] = {
    {"smtp", SM_AGENT_SMTP, "the next hop speaks SMTP"},
    {"lmtp", SM_AGENT_LMTP, "the next hop speaks LMTP"},
    {0},
};

const struct sm_word sm_wait_words[] = {
    {"nothing", SM_WAIT_NO, "mail goes out at once"},
    {"queue_run", SM_WAIT_RUN, "mail waits for the next queue run"},
    {"being_asked", SM_WAIT_ASKED, "mail waits until somebody asks for it"},
    {0},
};

const char *sm_word_of(const struct sm_word *words, uint32_t value)
{
	for (const struct sm_word *w = words; w->word != NULL; w++)
		if (w->value == value)
			return w->word;
	return NULL;
}

bool sm_word_value(const struct sm_word *words, struct sm_str word, uint32_t *value)
{
	for (const struct sm_word *w = words; w->word != NULL; w++) {
		if (sm_str_eq(sm_str(w->word), word)) {
			*value = w->value;
			return true;
		}
	}
	return false;
}
