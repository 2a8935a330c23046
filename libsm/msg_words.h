/* Words for flags and states of messages, as control sockets and tools say them. */
#ifndef SM_MSG_WORDS_H
#define SM_MSG_WORDS_H

#include "libsm/conf.h"
#include "libsm/msg.h"

/* Each ends with a NULL word. */
extern const struct sm_word sm_verdict_words[]; /* SM_VERDICT_*, bits */
extern const struct sm_word sm_resolve_words[]; /* enum sm_resolve */
extern const struct sm_word sm_agent_words[];   /* enum sm_agent */
extern const struct sm_word sm_wait_words[];    /* enum sm_wait */

/* NULL: there is none. */
const char *sm_word_of(const struct sm_word *words, uint32_t value);
bool sm_word_value(const struct sm_word *words, struct sm_str word, uint32_t *value);

#endif
