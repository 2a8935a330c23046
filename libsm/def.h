/*
 * How a .def table of fields (msg.def, the queue's rec.def) becomes code. Usage, for a table T
 * whose names begin with P_:
 *
 *     #define SM_DEF_FILE "dir/T.def"
 *     #define SM_DEF(name) P_##name
 *     #define SM_DEF_NUMBER(name) P_NUMBER_##name
 *     #include "libsm/def_struct.h"     in the header: struct P_name for each part and message
 *     #include "libsm/def_proto.h"      in the header: prototypes of what follows
 *     enum P_type {
 *     #include "libsm/def_numbers.h"    P_NUMBER_name = number, for each message
 *     };
 *     #include "libsm/def_code.h"       in one .c file, with the same three names defined
 *
 * A header that is done undefines the three names. For each part and message `name` there is then:
 *
 *     void P_name_encode(struct sm_buf *b, const struct P_name *m);
 *         A field above its maximum: sticky SM_E_TOOBIG in b.
 *     void P_name_read(struct sm_reader *r, struct sm_arena *a, struct P_name *m);
 *         Errors stick in r; arrays live in a, strings in the input.
 *     int P_name_decode(struct sm_str body, struct sm_arena *a, struct P_name *m);
 *         Exact: 0, SM_E_PROTO, SM_E_TOOBIG.
 *     void P_name_dump(struct sm_buf *b, const struct P_name *m);
 *         One line "field=value ...".
 *     void P_name_sample(uint64_t seed, struct sm_arena *a, struct P_name *m);
 *         Random but legal, for round-trip tests.
 *
 * and once for the table:
 *
 *     uint64_t P_table_hash(void);
 *         Over all names, types, numbers and maxima.
 *     const struct sm_def_info *P_info(uint16_t type);
 *         The row of a message, NULL for a number that is none.
 *     const struct sm_def_info *P_table(size_t *count);
 *         All rows.
 *
 * Two messages with one number, or two fields of one name, do not compile. A part stands before
 * what uses it. A field ARRAY(x, part, max) becomes `uint32_t x_count; struct P_part *x;`.
 *
 * In a table whose messages outlive the program that wrote them, a message may get further fields
 * behind SINCE(version): a body that ends there was written before they were, and they are zeros.
 * So only at the end of a message, which is last in whatever it is a part of; not in a PART.
 */
#ifndef SM_DEF_H
#define SM_DEF_H

#include "libsm/wire.h"

/* A message of a table, for those who have only its number: the frame layer, dumps, tests and
 * fuzzers. */
struct sm_def_info {
	uint16_t type;
	const char *name, *from, *to, *what;
	size_t size; /* of its struct */
	void (*encode)(struct sm_buf *b, const void *m);
	int (*decode)(struct sm_str body, struct sm_arena *a, void *m);
	void (*dump)(struct sm_buf *b, const void *m);
	void (*sample)(uint64_t seed, struct sm_arena *a, void *m);
};

/* What the generated code needs beside the coder: values for dumps and samples. */
void sm_def_dump_str(struct sm_buf *b, struct sm_str s);
void sm_def_dump_id(struct sm_buf *b, struct sm_id id);
void sm_def_dump_sa(struct sm_buf *b, const struct sm_sa *sa);
uint64_t sm_def_sample_u64(uint64_t *seed); /* small and huge ones alike; advances the seed */
struct sm_str sm_def_sample_str(uint64_t *seed, struct sm_arena *a, size_t max);
struct sm_id sm_def_sample_id(uint64_t *seed);
struct sm_sa sm_def_sample_sa(uint64_t *seed);
uint32_t sm_def_sample_count(uint64_t *seed, uint32_t max);
uint64_t sm_def_hash(const char *text, size_t n);

#endif
