/* The prototypes of what def_code.h defines: see def.h. */
/* clang-format off */
#define SM_DEF_PROTO_(name)                                                                      \
	void SM_DEF(name##_encode)(struct sm_buf *b, const struct SM_DEF(name) *m);            \
	void SM_DEF(name##_read)(struct sm_reader *r, struct sm_arena *a, struct SM_DEF(name) *m); \
	int SM_DEF(name##_decode)(struct sm_str body, struct sm_arena *a, struct SM_DEF(name) *m) SM_MUST_CHECK; \
	void SM_DEF(name##_dump)(struct sm_buf *b, const struct SM_DEF(name) *m);              \
	void SM_DEF(name##_sample)(uint64_t seed, struct sm_arena *a, struct SM_DEF(name) *m);
#define PART(name)                        SM_DEF_PROTO_(name)
#define MSG(name, number, from, to, what) SM_DEF_PROTO_(name)
#define END(name)
#include "libsm/def_nofields.h"
#include SM_DEF_FILE
#include "libsm/def_undef.h"
#undef SM_DEF_PROTO_

uint64_t SM_DEF(table_hash)(void);
const struct sm_def_info *SM_DEF(info)(uint16_t type);
const struct sm_def_info *SM_DEF(table)(size_t *count);
