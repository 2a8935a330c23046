/*
 * Fault points: named places where a test can make smx fail as a bad disk, a full file system or a
 * slow sync would. Compiled in only with --enable-testing; in release builds every macro here is a
 * constant and costs nothing.
 *
 * A fault is armed by the environment (SM_FAULTS) or while running by SIGRTMIN re-reading the file
 * SM_FAULTS_FILE names: point=action[@when][,point=action[@when]...] action: eio, enospc, erofs,
 * emfile (the call fails with that errno), short (write only half), kill (SIGKILL to itself),
 *         abort, step:SECONDS (of the point "clock" only: wall time is so far ahead, or behind when
 *         negative; the clock that waits go by is not touched), delay:MS (sleep in the thread that
 * does the I/O), fail (for points that are no system call) when:   N = the Nth pass only; N+ = from
 * the Nth on; N% = each pass with that chance; nothing = always. Names are listed in
 * doc/HACKING.md: "cdb.open" "cdb.write" "cdb.sync" "cdb.unlink" "log.write" "log.sync" ...
 */
#ifndef SM_FAULT_H
#define SM_FAULT_H

#include "libsm/str.h"

#ifdef SM_TESTING
/* Count a pass; sleeps or kills if armed so. Standard error gets one line (`fault.struck`, a log
 * record) the first time that an armed fault strikes. Gives 0, or the errno the caller is to fail
 * with (-1 for `short` and `fail`). */
int sm_fault(const char *point);
/* Read SM_FAULTS; called once by sm_proc_start. Text may be given directly by unit tests; NULL text
 * disarms all. Bad text: SM_E_SYNTAX. */
int sm_fault_arm(const char *text);
void sm_fault_init(void);
/* Read SM_FAULTS_FILE again (on SIGRTMIN): what it says replaces what is armed. It must exist at
 * the start, be written in place and not be renamed over, because it is held open. SM_E_SYNTAX
 * leaves armed what was. */
int sm_fault_reload(void);
/* How often the point was passed since it was armed. */
uint64_t sm_fault_passes(const char *point);
/* How far the wall clock is to be ahead: `clock=step:SECONDS`. Any thread. */
int64_t sm_fault_clock_ms(void);
#define SM_FAULT(point)     sm_fault(point)
#define SM_FAULT_CLOCK_MS() sm_fault_clock_ms()
/* A point of its own for each value: its name is the prefix and the value. */
int sm_fault_of(const char *prefix, struct sm_str value);
#define SM_FAULT_OF(prefix, value) sm_fault_of(prefix, value)
#else
#define SM_FAULT(point)            0
#define SM_FAULT_OF(prefix, value) 0
#define SM_FAULT_CLOCK_MS()        0
static inline void sm_fault_init(void)
{
}
#endif

#endif
