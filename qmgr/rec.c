/*
 * Encoders, decoders and dumps of the queue's records: the expansion of rec.def. And the list of
 * the table's versions: what an older qmgr wrote is read by a newer one, never the reverse.
 */
#include "qmgr/rec.h"

#define SM_DEF_FILE         "qmgr/rec.def"
#define SM_DEF(name)        qm_rec_##name
#define SM_DEF_NUMBER(name) QM_REC_##name
#include "libsm/def_code.h"

/* A row is taken out when its records are not read any more; its number is not used again. */
static const struct qm_rec_version versions[] = {
    {1, 0xc4c5356c19c138a6}, /* with a record `version`, which nobody wrote */
    {2, 0x65d25dd56ddfffe4}, /* without `over` */
    {3, 0xbd813822b6c29326}, /* without `expand` */
    {4, 0x4995c26b092a96d5}, /* without `utf8`, and body was never BINARYMIME */
    {5, 0xa4c44366679b4f6e}, /* without how sessions were protected */
    {6, 0xe9141c3505ccf760}, /* without who brought it, and the way it was told */
    {7, 0x116f6fb083f28a04},
};

const struct qm_rec_version *qm_rec_versions(size_t *count)
{
	*count = SM_ARRAY_SIZE(versions);
	return versions;
}

const struct qm_rec_version *qm_rec_own(void)
{
	return &versions[SM_ARRAY_SIZE(versions) - 1];
}

bool qm_rec_reads(struct qm_rec_version v)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(versions); i++)
		if (versions[i].number == v.number && versions[i].hash == v.hash)
			return true;
	return false;
}
