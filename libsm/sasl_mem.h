/*
 * What Cyrus SASL stands on in a process of smx. In a build without it there is nothing here.
 */
#ifndef SM_SASL_MEM_H
#define SM_SASL_MEM_H

/*
 * Once, before the library's own initialization: its mutexes are real ones, so helper threads may
 * use it at the same time, each a connection of its own; its memory is wiped before it is freed,
 * because there are passwords in it.
 */
void sm_sasl_prepare(void);

#endif
