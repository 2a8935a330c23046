/* The structs of a table: see def.h. No include guard: it is included once for each table. */
/* clang-format off */
#define PART(name)                         struct SM_DEF(name) {
#define MSG(name, number, from, to, what)  struct SM_DEF(name) {
#define U8(f)                              uint8_t f;
#define U16(f)                             uint16_t f;
#define U32(f)                             uint32_t f;
#define U64(f)                             uint64_t f;
#define I64(f)                             int64_t f;
#define ID(f)                              struct sm_id f;
#define SA(f)                              struct sm_sa f;
#define STR(f, max)                        struct sm_str f;
#define ARRAY(f, part, max)                uint32_t f##_count; struct SM_DEF(part) *f;
#define SINCE(version)
#define END(name)                          };
#include SM_DEF_FILE
#include "libsm/def_undef.h"
