/* The event loop: gather, ask, answer. The one module that knows libfcgi.
 *
 * nginx's connections are kept and parked in epoll; no thread waits for one. Each turn takes every request that is ready
 * (at most LOOP_BATCH), lets the handlers ask, sends all their commands in one pipeline, lets them answer, and sends the
 * answers; requests that ask again share a further pipeline within the turn.
 *
 * libfcgi knows no such thing: it wants to accept, read and close itself. What makes it work, all of it
 * tried by loop_library_init on the library that is installed:
 *   - before FCGX_Accept_r the descriptor is put into ipcFd, with keepConnection set so that its implicit Finish leaves it
 *     open; the request is initialised with the listening socket -1, so that after a dead connection it fails (EBADF)
 *     rather than accepts another;
 *   - FCGX_Accept_r stores the flag of the request itself in keepConnection; we read it, set it, and after Finish take the
 *     descriptor back: parked again, or closed by us when the request did not want to keep it;
 *   - `detached` makes libfcgi close at once: else it waits up to 2 s for the peer;
 *   - its OS_Read is ours, which shows every byte to the guard (guard.h) before libfcgi may trip over it.
 * A request that does not arrive within 5 s is given up, and so is a write that takes longer: half a request cannot hold the
 * loop for ever. Bytes behind a request's end that came with it are lost, and the connection is closed after the answer.
 *
 * Thread rule: a loop is made by main, runs in its own thread, and is freed by main after that has ended; loop_phase may be
 * called by main at any time.
 */
#ifndef DB_FCGI_LOOP_H
#define DB_FCGI_LOOP_H

#include "fcgi/exchange.h"
#include "fcgi/socket.h"

#define LOOP_BATCH 32

enum loop_phase {
	LOOP_RUN,
	LOOP_DRAIN, /* take no new work from an inherited socket; serve until no connection is left */
	LOOP_STOP,  /* end after the turn */
};

struct loop;

/* Once, with signals blocked, before threads start. An error: this libfcgi behaves otherwise than the one tested. */
enum err_code MUST_CHECK loop_library_init(struct err *e);

/* Borrows app, counters (of this thread) and listener. ended_fd: an eventfd that is added to when the loop has ended. */
struct loop *loop_new(
        const struct app *app, struct counters *counters, const struct listener *listener, int ended_fd, struct err *e);
void loop_free(struct loop *l);

/* The thread: runs until its phase says so. arg is the struct loop; returns NULL. */
void *loop_main(void *arg);

void loop_phase(struct loop *l, enum loop_phase phase);

#endif
