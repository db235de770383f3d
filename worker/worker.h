/* The worker's threads and what they share.
 *
 *   main      starts and stops all, waits for signals
 *   slot      (one thread each) claims a job, runs it, settles it; the only threads that touch result rows
 *   keeper    beats for the leases, finds dead workers' jobs, promotes jobs that are due, watches time limits
 *   listener  hears of cancels and of reasons to wake up
 *   canceller asks databases to stop what a slot runs, again and again until the slot says it has stopped: by a short-lived
 *             thread for each slot
 *   janitor   drops purged results, deals with the losses of a results server's crash, closes connections that idle
 *
 * Locks, in the order in which they may be taken: slot.cancelling, slot.lock, worker.lock; those of gates and of health
 * are taken with none of them held. None is held during I/O but slot.cancelling, which is what it is for.
 */
#ifndef DB_WORKER_WORKER_H
#define DB_WORKER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "shared/config/config.h"
#include "shared/db/driver.h"
#include "shared/queue/work.h"
#include "shared/tasks/tasks.h"

/* Why a run is to stop. */
enum stop_reason {
	STOP_NONE,
	STOP_LOST,    /* the job was deleted, or another worker has taken it over: nothing of it may show */
	STOP_TIMEOUT, /* its time limit */
	STOP_DRAIN,   /* the worker goes: the job goes back to its queue */
	STOP_STALE,   /* Redis has been away for so long that its place may be another's: it goes back too */
};

/* The thread that stops what a slot runs. */
enum stopper {
	STOPPER_NONE,
	STOPPER_RUNS,
	STOPPER_ENDED, /* to be joined */
};

struct worker;
struct gate;
struct health;

struct work_queue {
	const char *name;
	int n_slots;
	int max_running;            /* jobs of the whole fleet at once; 0 = no limit */
	struct work_entry redo[64]; /* entries of dead workers, or let in, for a slot to take; guarded by worker.lock */
	size_t n_redo;
	/* So many of its jobs wait for a place already that no more are claimed; guarded by worker.lock, kind NULL = no. */
	struct work_place full;
};

struct slot {
	struct worker *worker;
	struct work_queue *queue;
	char consumer[WORK_CONSUMER_MAX];
	pthread_t thread;
	struct redis *redis; /* the slot's own */
	bool goes_first;     /* it may claim the next entry of its limited queue */
	bool recheck;        /* a connection broke: we may own an entry that we never heard of */
	size_t *candidates;  /* scratch of connect.c: room for every source */

	/* Of a run that has found no place: what its job is to wait for. Room for every source and the queue. */
	struct work_place *wanted;
	int64_t *n_waiting; /* how many wait for each */
	size_t n_wanted;

	/* The databases' connections that the slot holds for its run, and the gates that it is inside for them, or NULL. */
	struct source *source_held;
	struct sink *sink_held;
	struct gate *source_gate;
	struct gate *sink_gate;

	pthread_t stopper_thread;      /* the canceller's, as long as stopper is not STOPPER_NONE */
	_Atomic(enum stopper) stopper; /* RUNS becomes ENDED under lock, when no stop is wanted */
	atomic_bool stop_news;         /* a stop is wanted, or the canceller ends: no waiting for the next attempt */
	pthread_mutex_t cancelling;    /* held while somebody cancels; a run ends only when it is free */
	pthread_mutex_t lock;          /* guards what follows */
	bool running;
	struct work_lease lease; /* entry, job id, run and places of what runs */
	int64_t leased_ms;       /* when the lease was last confirmed (monotonic) */
	int64_t deadline_ms;     /* of the run, or of its wait at a gate (monotonic); 0 = none */
	struct gate *waits_at;   /* or NULL */
	struct source *source;   /* in use by the run, or NULL */
	struct sink *sink;
	int64_t blocked_client;         /* the connection's number while it waits for an entry, else 0 */
	_Atomic(enum stop_reason) stop; /* written under lock, read anywhere */
};

enum wake {
	WAKE_KEEPER = 1,
	WAKE_JANITOR = 2,
	WAKE_CANCELLER = 4,
};

#define WORKER_CANCELLED 64

struct worker {
	const struct config *config;
	struct task_holder *tasks;
	char host[64];
	char name[128];     /* as shown to people */
	char instance[160]; /* unique: <name>-<pid>-<random> */
	int64_t began_ms;
	struct work_queue *queues;
	size_t n_queues;
	struct slot *slots;
	size_t n_slots;
	struct health *health;      /* of the sources */
	struct gate **source_gates; /* by the index of the configuration: the connections of all slots */
	struct gate **sink_gates;

	pthread_mutex_t lock; /* guards what follows, and the queues' redo lists */
	pthread_cond_t changed;
	unsigned wakes;                      /* enum wake bits: who is to look */
	int64_t cancelled[WORKER_CANCELLED]; /* the newest cancelled runs, as the listener has heard of them */
	size_t n_cancelled;                  /* ever */
	size_t live_slots;
	atomic_bool handed;   /* jobs have been let in: the keeper is to fetch them */
	atomic_bool scanned;  /* the keeper has looked once for what others have left: it comes before what is new */
	atomic_uint moves;    /* how often the keeper has found Redis at another address than before */
	atomic_bool unheard;  /* the listener may have missed a cancel: the keeper is to ask which leases still hold */
	atomic_bool draining; /* no new claims */
	atomic_bool stopping; /* all threads but the slots end */
	atomic_bool hurrying; /* do not wait for anybody any more */
};

/* Waits until one of `bits` is set (and clears them), ms are over, or `until` becomes true; any thread. */
void worker_wait(struct worker *w, unsigned bits, int64_t ms, const atomic_bool *until);
void worker_wake(struct worker *w, unsigned bits);

/* With the name of the results database: the error of a job that was SUCCESS. */
#define RESULT_LOST "the result was lost in a crash of the results database '%s'"

/* The slot runs the entry's job from now on, or nothing (run 0). A cancel that was heard before stops it at once. */
void slot_runs(struct slot *s, const struct work_entry *entry, int64_t run, int64_t leased_ms);
/* Asks the run of that number to stop; does nothing when the slot runs something else. Any thread. */
void slot_stop(struct slot *s, int64_t run, enum stop_reason reason);
/* Is the slot's run to stop? Then its error. timeout_ms: the time limit, for the text. The slot's thread. */
enum err_code slot_stopped(const struct slot *s, int64_t timeout_ms, struct err *e);
/* All slots that run the job (run 0: whatever run of any job). */
void worker_stop_runs(struct worker *w, const char *job_id, int64_t run, enum stop_reason reason);

/* Takes an entry off the queue's redo list. */
bool worker_take_redo(struct worker *w, struct work_queue *q, struct work_entry *out);
/* May the queue's next entry be claimed? Not while others come first, or too many wait for a place; wait: stay for a while
 * until that has changed. */
bool worker_may_claim(struct worker *w, struct work_queue *q, bool wait);
/* So many wait for such a place, some of the queue's jobs among them: should that be too many, the queue's next entries are
 * left alone until worker_note_waiting hears of fewer (and, behind a queue's own limit, of a free place: who runs there
 * takes what comes next himself). The place's name must outlive the worker. */
#define WORKER_PARKED_MAX 1000
void worker_note_full(struct worker *w, struct work_queue *q, const struct work_place *place, int64_t waiting);
void worker_note_waiting(struct worker *w, const struct work_place *place, int64_t waiting, bool room);

/* Thread functions; ctx is the struct slot or the struct worker. */
void *slot_main(void *ctx);
void *keeper_main(void *ctx);
void *listener_main(void *ctx);
void *canceller_main(void *ctx);
void *janitor_main(void *ctx);

/* Ends the blocking reads of slots that wait (all, or as many as most of one queue). r: the caller's connection. */
void worker_unblock(struct worker *w, struct redis *r, const struct work_queue *q, size_t most);

#endif
