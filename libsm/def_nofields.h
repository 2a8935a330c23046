/* For passes that look only at PART, MSG and END. */
/* clang-format off */
#define U8(f)
#define U16(f)
#define U32(f)
#define U64(f)
#define I64(f)
#define ID(f)
#define SA(f)
#define STR(f, max)
#define ARRAY(f, part, max)
#define SINCE(version)
