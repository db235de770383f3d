/* What the worker's threads share: redo lists, stops, waits. No server, no database. */
#include "worker/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "shared/base/clock.h"

#define SLOTS 3

static struct worker w;
static struct slot slots[SLOTS];
static struct work_queue queues[2];

static int setup(void **state)
{
	(void)state;
	pthread_condattr_t attr;
	memset(&w, 0, sizeof w);
	memset(slots, 0, sizeof slots);
	memset(queues, 0, sizeof queues);
	pthread_mutex_init(&w.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* as main.c does */
	pthread_cond_init(&w.changed, &attr);
	pthread_condattr_destroy(&attr);
	w.slots = slots;
	w.n_slots = SLOTS;
	w.queues = queues;
	w.n_queues = 2;
	for (size_t i = 0; i < SLOTS; i++) {
		slots[i].worker = &w;
		slots[i].queue = &queues[0];
		pthread_mutex_init(&slots[i].lock, NULL);
		pthread_mutex_init(&slots[i].cancelling, NULL);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < SLOTS; i++) {
		pthread_mutex_destroy(&slots[i].lock);
		pthread_mutex_destroy(&slots[i].cancelling);
	}
	pthread_cond_destroy(&w.changed);
	pthread_mutex_destroy(&w.lock);
	return 0;
}

static void runs(size_t i, const char *job_id, int64_t run)
{
	slots[i].running = true;
	slots[i].lease.run = run;
	snprintf(slots[i].lease.job_id, sizeof slots[i].lease.job_id, "%s", job_id);
	atomic_store(&slots[i].stop, STOP_NONE);
}

static enum stop_reason stop_of(size_t i)
{
	return atomic_load(&slots[i].stop);
}

/* --- the redo list --- */

static void test_worker_redo_entries_are_taken_in_their_order(void **state)
{
	(void)state;
	struct work_entry out;
	for (int i = 0; i < 3; i++)
		snprintf(queues[0].redo[queues[0].n_redo++].job_id, sizeof out.job_id, "job-%d", i);
	snprintf(queues[1].redo[queues[1].n_redo++].job_id, sizeof out.job_id, "other");
	for (int i = 0; i < 3; i++) {
		char wanted[16];
		snprintf(wanted, sizeof wanted, "job-%d", i);
		assert_true(worker_take_redo(&w, &queues[0], &out));
		assert_string_equal(out.job_id, wanted);
	}
	assert_false(worker_take_redo(&w, &queues[0], &out));
	assert_int_equal(queues[0].n_redo, 0);
	assert_int_equal(queues[1].n_redo, 1); /* another queue's is left alone */
}

/* --- queues whose jobs wait for a place --- */

static void test_worker_leaves_a_limited_queue_alone_as_soon_as_one_of_it_waits(void **state)
{
	(void)state;
	const struct work_place place = {.kind = WORK_PLACE_QUEUE, .name = "a", .most = 3};
	assert_true(worker_may_claim(&w, &queues[0], true));
	worker_note_full(&w, &queues[0], &place, 0);
	assert_true(worker_may_claim(&w, &queues[0], false));
	worker_note_full(&w, &queues[0], &place, 1);
	assert_false(worker_may_claim(&w, &queues[0], false));
	assert_true(worker_may_claim(&w, &queues[1], false));
	worker_note_waiting(&w, &place, 1, true);
	assert_false(worker_may_claim(&w, &queues[0], false));
	worker_note_waiting(&w, &place, 0, false); /* who runs there takes the next one */
	assert_false(worker_may_claim(&w, &queues[0], false));
	worker_note_waiting(&w, &place, 0, true);
	assert_true(worker_may_claim(&w, &queues[0], false));
}

static void test_worker_leaves_queues_alone_when_a_thousand_wait_for_a_source(void **state)
{
	(void)state;
	const struct work_place ledger = {.kind = WORK_PLACE_DB, .name = "ledger", .most = 3};
	const struct work_place other = {.kind = WORK_PLACE_DB, .name = "other", .most = 3};
	worker_note_full(&w, &queues[0], &ledger, WORKER_PARKED_MAX - 1);
	assert_true(worker_may_claim(&w, &queues[0], false));
	worker_note_full(&w, &queues[0], &ledger, WORKER_PARKED_MAX);
	worker_note_waiting(&w, &other, 0, true); /* not what it waits for */
	assert_false(worker_may_claim(&w, &queues[0], false));
	worker_note_waiting(&w, &ledger, WORKER_PARKED_MAX - 1, false);
	assert_true(worker_may_claim(&w, &queues[0], false));
}

static void test_worker_what_others_left_comes_before_what_is_new(void **state)
{
	(void)state;
	struct work_entry out;
	queues[0].n_redo = 1;
	assert_false(worker_may_claim(&w, &queues[0], false));
	assert_true(worker_take_redo(&w, &queues[0], &out));
	assert_true(worker_may_claim(&w, &queues[0], false));
}

static void test_worker_full_redo_list_is_taken_to_its_end(void **state)
{
	(void)state;
	struct work_entry out;
	const size_t most = sizeof queues[0].redo / sizeof *queues[0].redo;
	for (size_t i = 0; i < most; i++)
		snprintf(queues[0].redo[i].entry, sizeof out.entry, "%zu-0", i);
	queues[0].n_redo = most;
	for (size_t i = 0; i < most; i++) {
		char wanted[WORK_ENTRY_MAX];
		snprintf(wanted, sizeof wanted, "%zu-0", i);
		assert_true(worker_take_redo(&w, &queues[0], &out));
		assert_string_equal(out.entry, wanted);
	}
	assert_false(worker_take_redo(&w, &queues[0], &out));
}

/* --- stops --- */

static void test_worker_stop_reaches_the_run_that_is_meant(void **state)
{
	(void)state;
	runs(0, "a", 7);
	slot_stop(&slots[0], 7, STOP_TIMEOUT);
	assert_int_equal(stop_of(0), STOP_TIMEOUT);
	assert_true(w.wakes & WAKE_CANCELLER);
}

static void test_worker_stop_of_another_run_is_ignored(void **state)
{
	(void)state;
	runs(0, "a", 7);
	slot_stop(&slots[0], 6, STOP_LOST); /* over already */
	slot_stop(&slots[0], 8, STOP_LOST);
	assert_int_equal(stop_of(0), STOP_NONE);
	slots[0].running = false;
	slot_stop(&slots[0], 7, STOP_LOST);
	assert_int_equal(stop_of(0), STOP_NONE);
	assert_int_equal(w.wakes, 0);
}

static void test_worker_lost_wins_over_any_other_stop(void **state)
{
	(void)state;
	static const enum stop_reason others[] = {STOP_TIMEOUT, STOP_DRAIN};
	for (size_t i = 0; i < 2; i++) {
		runs(0, "a", 7);
		slot_stop(&slots[0], 7, others[i]);
		slot_stop(&slots[0], 7, STOP_LOST);
		assert_int_equal(stop_of(0), STOP_LOST);
		slot_stop(&slots[0], 7, others[i]);
		assert_int_equal(stop_of(0), STOP_LOST);
	}
}

static void test_worker_first_of_the_other_stops_stays(void **state)
{
	(void)state;
	runs(0, "a", 7);
	slot_stop(&slots[0], 7, STOP_DRAIN);
	slot_stop(&slots[0], 7, STOP_TIMEOUT);
	assert_int_equal(stop_of(0), STOP_DRAIN);
}

static void test_worker_stop_by_job_wants_id_and_run(void **state)
{
	(void)state;
	runs(0, "a", 7);
	runs(1, "b", 7);
	runs(2, "a", 8);
	worker_stop_runs(&w, "a", 7, STOP_LOST);
	assert_int_equal(stop_of(0), STOP_LOST);
	assert_int_equal(stop_of(1), STOP_NONE);
	assert_int_equal(stop_of(2), STOP_NONE);
}

static void test_worker_cancel_heard_before_the_run_is_known_stops_it(void **state)
{
	(void)state;
	const struct work_entry entry = {.entry = "1-1", .job_id = "early"};
	worker_stop_runs(&w, "early", 7, STOP_LOST);
	slot_runs(&slots[0], &entry, 8, 0);
	assert_int_equal(atomic_load(&slots[0].stop), STOP_NONE);
	slot_runs(&slots[0], &entry, 7, 0);
	assert_int_equal(atomic_load(&slots[0].stop), STOP_LOST);
	for (int64_t run = 100; run < 100 + WORKER_CANCELLED; run++)
		worker_stop_runs(&w, "another", run, STOP_LOST);
	slot_runs(&slots[0], &entry, 7, 0); /* long ago */
	assert_int_equal(atomic_load(&slots[0].stop), STOP_NONE);
}

static void test_worker_stop_of_all_reaches_what_runs(void **state)
{
	(void)state;
	runs(0, "a", 7);
	runs(2, "c", 9);
	worker_stop_runs(&w, NULL, 0, STOP_DRAIN);
	assert_int_equal(stop_of(0), STOP_DRAIN);
	assert_int_equal(stop_of(1), STOP_NONE); /* idle */
	assert_int_equal(stop_of(2), STOP_DRAIN);
}

/* --- the canceller --- */

/* A source that counts how often it was asked to stop. */
static struct {
	struct source base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int cancels;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void count_cancel(struct source *s)
{
	(void)s;
	pthread_mutex_lock(&fake.lock);
	fake.cancels++;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

/* Runs a job in slot 0, stops it, and returns how long it took until its source was asked to stop, ms. */
static int64_t stop_a_run(int64_t run)
{
	const struct work_entry entry = {.entry = "1-1", .job_id = "a"}, none = {.entry = ""};
	slot_runs(&slots[0], &entry, run, clock_mono_ms());
	pthread_mutex_lock(&slots[0].lock);
	slots[0].source = &fake.base;
	pthread_mutex_unlock(&slots[0].lock);
	pthread_mutex_lock(&fake.lock);
	int before = fake.cancels;
	pthread_mutex_unlock(&fake.lock);
	int64_t began = clock_mono_ms();
	slot_stop(&slots[0], run, STOP_LOST);
	pthread_mutex_lock(&fake.lock);
	while (fake.cancels == before)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
	int64_t took = clock_mono_ms() - began;
	pthread_mutex_lock(&slots[0].cancelling);
	slot_runs(&slots[0], &none, 0, 0);
	pthread_mutex_unlock(&slots[0].cancelling);
	return took;
}

/* One cancel after another: none waits until the one before would be asked for again (100 ms). */
static void test_worker_stop_of_a_slots_next_run_comes_at_once(void **state)
{
	(void)state;
	static const struct source_ops ops = {.cancel = count_cancel};
	static const struct config config = {.worker.lease_ms = 15000};
	pthread_t canceller;
	int quick = 0;
	w.config = &config;
	fake.base.ops = &ops;
	assert_int_equal(pthread_create(&canceller, NULL, canceller_main, &w), 0);
	for (int64_t run = 1; run <= 20; run++)
		quick += stop_a_run(run) < 50;
	atomic_store(&w.stopping, true);
	worker_wake(&w, WAKE_CANCELLER);
	pthread_join(canceller, NULL);
	assert_in_range(quick, 15, 20);
}

/* --- waits --- */

/* A wait of at most 10 s that must end at once. */
static void assert_no_wait(unsigned bits, const atomic_bool *until)
{
	int64_t began = clock_mono_ms();
	worker_wait(&w, bits, 10000, until);
	assert_in_range(clock_mono_ms() - began, 0, 5000);
}

static void test_worker_wait_takes_the_wakes_that_are_its_own(void **state)
{
	(void)state;
	worker_wake(&w, WAKE_KEEPER | WAKE_JANITOR);
	assert_no_wait(WAKE_KEEPER, &w.stopping);
	assert_int_equal(w.wakes, WAKE_JANITOR);
	assert_no_wait(WAKE_JANITOR, &w.stopping);
	assert_int_equal(w.wakes, 0);
}

static void test_worker_wait_ends_when_its_time_is_over(void **state)
{
	(void)state;
	w.wakes = WAKE_JANITOR; /* somebody else's */
	int64_t began = clock_mono_ms();
	worker_wait(&w, WAKE_KEEPER, 120, &w.stopping);
	assert_in_range(clock_mono_ms() - began, 119, 5000);
	assert_int_equal(w.wakes, WAKE_JANITOR);
	began = clock_mono_ms();
	worker_wait(&w, 0, 999, &w.stopping); /* nanoseconds that overflow into a second */
	assert_in_range(clock_mono_ms() - began, 998, 9000);
	worker_wait(&w, WAKE_KEEPER, 0, &w.stopping);
}

static void test_worker_wait_does_not_begin_when_it_is_over(void **state)
{
	(void)state;
	atomic_store(&w.stopping, true);
	assert_no_wait(WAKE_KEEPER, &w.stopping);
}

struct waker {
	unsigned bits;
	atomic_bool *flag; /* set first, or NULL */
};

static void *wake_later(void *ctx)
{
	const struct waker *waker = ctx;
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	if (waker->flag)
		atomic_store(waker->flag, true);
	worker_wake(&w, waker->bits);
	return NULL;
}

static void assert_woken(struct waker waker, unsigned bits)
{
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, wake_later, &waker), 0);
	assert_no_wait(bits, &w.stopping);
	pthread_join(t, NULL);
}

static void test_worker_wait_is_ended_by_another_thread(void **state)
{
	(void)state;
	assert_woken((struct waker){.bits = WAKE_CANCELLER}, WAKE_CANCELLER);
	assert_int_equal(w.wakes, 0);
	assert_woken((struct waker){.bits = 0, .flag = &w.stopping}, WAKE_KEEPER);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_worker_redo_entries_are_taken_in_their_order),
	        T(test_worker_full_redo_list_is_taken_to_its_end),
	        T(test_worker_leaves_a_limited_queue_alone_as_soon_as_one_of_it_waits),
	        T(test_worker_leaves_queues_alone_when_a_thousand_wait_for_a_source),
	        T(test_worker_what_others_left_comes_before_what_is_new),
	        T(test_worker_stop_reaches_the_run_that_is_meant),
	        T(test_worker_stop_of_another_run_is_ignored),
	        T(test_worker_lost_wins_over_any_other_stop),
	        T(test_worker_first_of_the_other_stops_stays),
	        T(test_worker_stop_by_job_wants_id_and_run),
	        T(test_worker_cancel_heard_before_the_run_is_known_stops_it),
	        T(test_worker_stop_of_all_reaches_what_runs),
	        T(test_worker_stop_of_a_slots_next_run_comes_at_once),
	        T(test_worker_wait_takes_the_wakes_that_are_its_own),
	        T(test_worker_wait_ends_when_its_time_is_over),
	        T(test_worker_wait_does_not_begin_when_it_is_over),
	        T(test_worker_wait_is_ended_by_another_thread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
