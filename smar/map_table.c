/* A table of keys and values in an arena. Any thread, one at a time. */
#include "smar/map_table.h"

struct entry {
	struct sm_hash_node node;
	struct sm_str key, value;
	int line;
};

static bool key_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_eq(SM_CONTAINER_OF(n, const struct entry, node)->key,
	                 *(const struct sm_str *)key);
}

static const struct entry *find(const struct ar_table *t, struct sm_str key)
{
	struct sm_hash_node *n = sm_hash_find(&t->hash, sm_hash_str(key), key_eq, &key);

	return n != NULL ? SM_CONTAINER_OF(n, struct entry, node) : NULL;
}

void ar_table_init(struct ar_table *t)
{
	/* The sources are bounded: a file by its size, a configuration by its own. */
	sm_arena_init(&t->arena, "table", 4096, SIZE_MAX / 8);
	sm_hash_init(&t->hash);
}

void ar_table_fini(struct ar_table *t)
{
	sm_hash_fini(&t->hash);
	sm_arena_fini(&t->arena);
}

int ar_table_add(struct ar_table *t, struct sm_str key, struct sm_str value, int line)
{
	struct entry *e = SM_ARENA_NEW(&t->arena, struct entry);
	const struct entry *before;
	char *p;

	e->key = sm_arena_str(&t->arena, key);
	e->value = sm_arena_str(&t->arena, value);
	e->line = line;
	p = (char *)(uintptr_t)e->key.p;
	for (size_t i = 0; i < e->key.n; i++)
		p[i] = sm_lower(p[i]);
	before = find(t, e->key);
	if (before != NULL)
		return before->line;
	sm_hash_insert(&t->hash, &e->node, sm_hash_str(e->key));
	return 0;
}

bool ar_table_get(const struct ar_table *t, struct sm_str key, struct sm_str *value)
{
	const struct entry *e = find(t, key);

	if (e != NULL)
		*value = e->value;
	return e != NULL;
}
