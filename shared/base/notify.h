/* Telling systemd about the service's state (sd_notify(3)), when it asked to be told: NOTIFY_SOCKET is set.
 * Thread rule: one thread at a time; the environment is read at each call.
 */
#ifndef DB_BASE_NOTIFY_H
#define DB_BASE_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=...", several divided by '\n'. Without a listener nothing happens. */
void notify_service(const char *state);
/* RELOADING=1 with the time that systemd wants with it; READY=1 ends it. */
void notify_reloading(void);

#endif
