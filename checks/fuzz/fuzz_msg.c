/* Messages from another process: see fuzz_def.h. */
#include "checks/fuzz/fuzz_def.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	fuzz_def(sm_msg_info, p, n, NULL);
	return 0;
}
