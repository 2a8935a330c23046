/* Telling systemd how mcp does, by its datagram socket (NOTIFY_SOCKET, WATCHDOG_USEC); nothing
 * happens without them. */
#ifndef MC_NOTIFY_H
#define MC_NOTIFY_H

/* Reads and removes the variables. */
void mc_notify_init(void);
/* After the loop is there: WATCHDOG=1 at half of the time that the unit allows. */
void mc_notify_watchdog(void);
void mc_notify_ready(void);
void mc_notify_reloading(void);
void mc_notify_stopping(void);

#endif
