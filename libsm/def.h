/*
 * How a .def table of fields (msg.def, the queue's rec.def) becomes code. Usage, for a table T whose names begin with P_:
 *
 *     #define SM_DEF_FILE "dir/T.def"
 *     #define SM_DEF(name) P_##name
 *     #include "libsm/def_struct.h"    in the header: struct P_name for each part and message
 *     #include "libsm/def_proto.h"     in the header: prototypes of what follows
 *     #include "libsm/def_code.h"      in one .c file: P_name_encode, P_name_decode, P_name_dump, P_name_sample
 *
 * For each part and message `name`:
 *   void P_name_encode(struct sm_buf *b, const struct P_name *m);
 *   void P_name_read(struct sm_reader *r, struct sm_arena *a, struct P_name *m);   errors stick in r; arrays live in a, strings in the input
 *   int  P_name_decode(struct sm_str body, struct sm_arena *a, struct P_name *m);  exact: 0, SM_E_PROTO, SM_E_TOOBIG
 *   void P_name_dump(struct sm_buf *b, const struct P_name *m);                    one line "field=value ..."
 *   void P_name_sample(uint64_t seed, struct sm_arena *a, struct P_name *m);       random but legal, for round-trip tests
 * and once: uint64_t SM_DEF(table_hash)(void), a hash over all names, types, numbers and maxima.
 * A field ARRAY(x, part, max) becomes `uint32_t x_count; struct P_part *x;`.
 */
#ifndef SM_DEF_H
#define SM_DEF_H

#include "libsm/wire.h"

#endif
