/* What mcp itself keeps of root's rights. */
#ifndef MC_RIGHTS_H
#define MC_RIGHTS_H

#include "libsm/err.h"

/* Keep only the capabilities that starting and watching programs needs. Does nothing when not root.
 */
int mc_rights_limit(void) SM_MUST_CHECK;

#endif
