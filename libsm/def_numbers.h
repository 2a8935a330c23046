/* The enumerators of a table's messages: see def.h. Goes between the braces of an enum. */
/* clang-format off */
#define PART(name)
#define MSG(name, number, from, to, what) SM_DEF_NUMBER(name) = number,
#define END(name)
#include "libsm/def_nofields.h"
#include SM_DEF_FILE
#include "libsm/def_undef.h"
