/*
 * Why a mail waits, in a form that can be counted: replies that differ in queue ids, addresses and
 * times only are one reason. Pure.
 */
#ifndef QM_REASON_H
#define QM_REASON_H

#include "libsm/str.h"

#define QM_REASON_MAX 100

/*
 * "CODE ENHANCED text" of a reply: the code without 0, the enhanced status when the text begins
 * with one, the words of the text with one space between them; in the text each word that holds a
 * digit is '#'. Cut to QM_REASON_MAX bytes. Nothing is escaped: the bytes are the server's. Strings
 * in `out`.
 */
struct sm_str qm_reason(uint16_t code, struct sm_str text, char out[QM_REASON_MAX]);
/* What is left of a reason when there are too many: code and enhanced status, "other" for one that
 * has none. */
struct sm_str qm_reason_short(struct sm_str reason);
/* The code in front; 0: none. */
uint16_t qm_reason_code(struct sm_str reason);

#endif
