/*
 * DEFEDB's file system is full, in tests of the whole queue manager (t_qm.h): with fault points
 * only. Tests only.
 */
#ifndef QM_T_FULL_H
#define QM_T_FULL_H

#include "qmgr/t_qm.h"

/* No segment can be made any more, and the last one is empty but for a little. `needed`: those
 * before it will be for ever. */
void t_fill_up(bool needed);
void t_fill(void);      /* all are needed, and the last one is full as well */
void t_make_room(void); /* segments can be made again; until one is */
bool t_roomy(void);
void t_still_full(void); /* nothing has moved on its own: the disk is as full as it was */

bool t_kept(void);                  /* t_want mails, and nothing is at smtpc */
unsigned t_given(const char *addr); /* how often it was handed out, in all tasks */

#endif
