/* Intrusive doubly linked list: the link lives in the member, the list is a head that points to
 * itself when empty. */
#ifndef SM_LIST_H
#define SM_LIST_H

#include "libsm/base.h"

struct sm_list {
	struct sm_list *next, *prev;
};

#define SM_LIST_INIT(l)    \
	{                  \
		&(l), &(l) \
	}
static inline void sm_list_init(struct sm_list *l)
{
	l->next = l->prev = l;
}
static inline bool sm_list_empty(const struct sm_list *l)
{
	return l->next == l;
}
static inline void sm_list_insert_(struct sm_list *e, struct sm_list *prev, struct sm_list *next)
{
	e->next = next;
	e->prev = prev;
	prev->next = e;
	next->prev = e;
}
/* At the end. */
static inline void sm_list_push(struct sm_list *l, struct sm_list *e)
{
	sm_list_insert_(e, l->prev, l);
}
/* At the front. */
static inline void sm_list_unshift(struct sm_list *l, struct sm_list *e)
{
	sm_list_insert_(e, l, l->next);
}
/* Take out; afterwards the link is a list of itself, so that a second removal is harmless. */
static inline void sm_list_remove(struct sm_list *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->next = e->prev = e;
}
static inline bool sm_list_linked(const struct sm_list *e)
{
	return e->next != e;
}
static inline struct sm_list *sm_list_shift(struct sm_list *l)
{
	struct sm_list *e = l->next;
	if (e == l)
		return NULL;
	sm_list_remove(e);
	return e;
}
/* Move all of `from` to the end of `to`. */
static inline void sm_list_splice(struct sm_list *to, struct sm_list *from)
{
	if (sm_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	sm_list_init(from);
}

#define SM_LIST_ENTRY(e, type, memb) SM_CONTAINER_OF(e, type, memb)
#define SM_LIST_FIRST(l, type, memb) \
	(sm_list_empty(l) ? NULL : SM_LIST_ENTRY((l)->next, type, memb))
#define SM_LIST_FOR(var, l, type, memb)                                           \
	for (type *var = SM_LIST_ENTRY((l)->next, type, memb); &var->memb != (l); \
	     var = SM_LIST_ENTRY(var->memb.next, type, memb))
/* `var` may be removed in the body, its neighbours not. */
#define SM_LIST_FOR_SAFE(var, l, type, memb)                               \
	for (type *var = SM_LIST_ENTRY((l)->next, type, memb),             \
	          *var##_next = SM_LIST_ENTRY(var->memb.next, type, memb); \
	     &var->memb != (l);                                            \
	     var = var##_next, var##_next = SM_LIST_ENTRY(var->memb.next, type, memb))

#endif
