/*
 * The messages between processes: the code that msg.def expands to (def_code.h is its template).
 * Pure functions.
 */
#include "libsm/msg.h"

#define SM_DEF_FILE         "libsm/msg.def"
#define SM_DEF(name)        sm_msg_##name
#define SM_DEF_NUMBER(name) SM_MSG_##name
#include "libsm/def_code.h"
