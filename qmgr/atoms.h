/*
 * Interned strings: many mails share senders, domains, hosts and reasons, so each is kept once and
 * known by a number. Counted: a string without users is gone, and its number may be given to
 * another; the stamp of a number tells the one from the other.
 *
 * Number 0 is the empty string: no user of it is counted. Views of texts are good until the next
 * take or drop.
 */
#ifndef QM_ATOMS_H
#define QM_ATOMS_H

#include "libsm/str.h"

struct qm_atoms;

struct qm_atoms *qm_atoms_new(void) __attribute__((returns_nonnull));
void qm_atoms_free(struct qm_atoms **a);

/* One more user of `s`, which is at most 64 KiB long. */
uint32_t qm_atoms_take(struct qm_atoms *a, struct sm_str s);
/* The same, but 0 when it would be a new one and `most` are there already. */
uint32_t qm_atoms_take_bounded(struct qm_atoms *a, struct sm_str s, size_t most);
void qm_atoms_drop(struct qm_atoms *a, uint32_t atom);

/* 0 when nobody uses it. */
uint32_t qm_atoms_find(const struct qm_atoms *a, struct sm_str s);
struct sm_str qm_atoms_text(const struct qm_atoms *a, uint32_t atom);
/* Another one for each string that was given this number. */
uint32_t qm_atoms_stamp(const struct qm_atoms *a, uint32_t atom);
size_t qm_atoms_count(const struct qm_atoms *a);
size_t qm_atoms_bytes(const struct qm_atoms *a);

#endif
