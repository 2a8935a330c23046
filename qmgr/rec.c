/* Encoders, decoders and dumps of the queue's records: the expansion of rec.def. */
#include "qmgr/rec.h"

#define SM_DEF_FILE         "qmgr/rec.def"
#define SM_DEF(name)        qm_rec_##name
#define SM_DEF_NUMBER(name) QM_REC_##name
#include "libsm/def_code.h"
