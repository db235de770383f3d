/* The gate before a database: who gets which connection, who waits, and what ends that. */
#include "worker/gate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static int a, b, c; /* connections, as far as a gate is concerned */

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static bool at_once(void *ctx)
{
	(void)ctx;
	return true;
}

static bool flag_is_set(void *ctx)
{
	return atomic_load((atomic_bool *)ctx);
}

static void *enter(struct gate *g)
{
	void *conn = &a;
	assert_true(gate_enter(g, never, NULL, &conn));
	return conn;
}

static void test_gate_gives_what_was_used_last(void **state)
{
	(void)state;
	struct gate *g = gate_new(0, 3, 0);
	assert_null(enter(g));
	assert_null(enter(g));
	gate_leave(g, &a, 1);
	gate_leave(g, &b, 2);
	assert_ptr_equal(enter(g), &b);
	assert_ptr_equal(enter(g), &a);
	assert_null(enter(g));
	gate_leave(g, NULL, 3); /* it could not be made */
	assert_null(enter(g));
	for (int i = 0; i < 3; i++)
		gate_leave(g, NULL, 4);
	gate_free(g);
	gate_free(NULL);
}

static void test_gate_counts_idle_connections_as_open(void **state)
{
	(void)state;
	struct gate *g = gate_new(2, 4, 0);
	void *conn;
	enter(g);
	enter(g);
	gate_leave(g, &a, 1);
	assert_ptr_equal(enter(g), &a); /* not a third one */
	assert_false(gate_enter(g, at_once, NULL, &conn));
	assert_null(conn);
	gate_leave(g, NULL, 2);
	assert_null(enter(g));
	gate_leave(g, NULL, 2);
	gate_leave(g, NULL, 2);
	gate_free(g);
}

static void test_gate_without_limit_lets_all_in(void **state)
{
	(void)state;
	struct gate *g = gate_new(0, 100, 0);
	for (int i = 0; i < 100; i++)
		assert_null(enter(g));
	for (int i = 0; i < 100; i++)
		gate_leave(g, &a, i);
	assert_ptr_equal(gate_stale(g, 1000, true), &a);
	gate_leave(g, NULL, 0);
	gate_free(g);
}

static void test_gate_stale_is_who_has_idled_past_the_lifetime(void **state)
{
	(void)state;
	struct gate *g = gate_new(3, 3, 1000);
	for (int i = 0; i < 3; i++)
		enter(g);
	gate_leave(g, &a, 0);
	gate_leave(g, &b, 500);
	gate_leave(g, &c, 900);
	assert_null(gate_stale(g, 999, false));
	assert_ptr_equal(gate_stale(g, 1000, false), &a);
	assert_null(gate_stale(g, 1000, false));
	gate_leave(g, NULL, 1000);
	assert_ptr_equal(enter(g), &c); /* what is in use does not idle */
	assert_ptr_equal(gate_stale(g, 9000, false), &b);
	assert_null(gate_stale(g, 9000, false));
	gate_leave(g, NULL, 9000);
	gate_leave(g, &c, 9000);
	assert_null(gate_stale(g, 9999, false));
	assert_ptr_equal(gate_stale(g, 9999, true), &c);
	gate_leave(g, NULL, 9999);
	gate_free(g);
}

static void test_gate_stale_is_never_when_there_is_no_lifetime(void **state)
{
	(void)state;
	struct gate *g = gate_new(1, 1, 0);
	enter(g);
	gate_leave(g, &a, 0);
	assert_null(gate_stale(g, INT64_MAX, false));
	assert_ptr_equal(gate_stale(g, 0, true), &a);
	gate_leave(g, NULL, 0);
	gate_free(g);
}

/* Until the closed one has left, it is still open to the server. */
static void test_gate_stale_keeps_its_place_until_it_is_closed(void **state)
{
	(void)state;
	struct gate *g = gate_new(1, 2, 10);
	void *conn;
	enter(g);
	gate_leave(g, &a, 0);
	assert_ptr_equal(gate_stale(g, 10, false), &a);
	assert_false(gate_enter(g, at_once, NULL, &conn));
	gate_leave(g, NULL, 10);
	assert_null(enter(g));
	gate_leave(g, NULL, 10);
	gate_free(g);
}

/* --- waiting --- */

struct visitor {
	struct gate *gate;
	pthread_t thread;
	atomic_bool asked, over, in;
	int order; /* the how-manieth it was to get in */
	void *conn;
};

static atomic_int entered;

static bool visitor_over(void *ctx)
{
	struct visitor *v = ctx;
	atomic_store(&v->asked, true); /* so it is in the queue */
	return atomic_load(&v->over);
}

static void *visit(void *ctx)
{
	struct visitor *v = ctx;
	bool in = gate_enter(v->gate, visitor_over, v, &v->conn);
	v->order = atomic_fetch_add(&entered, 1) + 1;
	atomic_store(&v->in, in);
	if (in)
		gate_leave(v->gate, v->conn, 0);
	return NULL;
}

static void begin_visit(struct visitor *v, struct gate *g)
{
	v->gate = g;
	assert_int_equal(pthread_create(&v->thread, NULL, visit, v), 0);
	while (!atomic_load(&v->asked))
		sched_yield();
}

static void test_gate_waiters_are_let_in_in_turn(void **state)
{
	(void)state;
	enum { N = 8 };
	struct gate *g = gate_new(1, N + 1, 0);
	struct visitor visitors[N] = {0};
	atomic_store(&entered, 0);
	enter(g);
	for (int i = 0; i < N; i++)
		begin_visit(&visitors[i], g);
	gate_leave(g, &a, 0);
	for (int i = 0; i < N; i++) {
		pthread_join(visitors[i].thread, NULL);
		assert_true(visitors[i].in);
		assert_int_equal(visitors[i].order, i + 1);
		assert_ptr_equal(visitors[i].conn, &a);
	}
	assert_ptr_equal(gate_stale(g, 0, true), &a);
	gate_leave(g, NULL, 0);
	gate_free(g);
}

static void test_gate_wait_ends_when_it_is_over_and_the_next_one_moves_up(void **state)
{
	(void)state;
	struct gate *g = gate_new(1, 3, 0);
	struct visitor first = {0}, second = {0};
	enter(g);
	begin_visit(&first, g);
	begin_visit(&second, g);
	gate_kick(g); /* for nothing */
	atomic_store(&first.over, true);
	gate_kick(g);
	pthread_join(first.thread, NULL);
	assert_false(first.in);
	assert_null(first.conn);
	gate_leave(g, &b, 0);
	pthread_join(second.thread, NULL);
	assert_true(second.in);
	assert_ptr_equal(second.conn, &b);
	assert_ptr_equal(gate_stale(g, 0, true), &b);
	gate_leave(g, NULL, 0);
	gate_free(g);
}

/* --- many at once --- */

static atomic_int inside, most_inside, made;

static void *hammer(void *ctx)
{
	struct gate *g = ctx;
	for (int i = 0; i < 2000; i++) {
		void *conn;
		if (!gate_enter(g, never, NULL, &conn))
			return NULL;
		int n = atomic_fetch_add(&inside, 1) + 1;
		int most = atomic_load(&most_inside);
		while (n > most && !atomic_compare_exchange_weak(&most_inside, &most, n))
			;
		if (!conn) {
			atomic_fetch_add(&made, 1);
			conn = &a;
		}
		atomic_fetch_sub(&inside, 1);
		gate_leave(g, i % 7 ? conn : NULL, i);
	}
	return NULL;
}

static void test_gate_never_lets_more_in_than_its_limit(void **state)
{
	(void)state;
	enum { N = 6 };
	struct gate *g = gate_new(2, N, 1);
	pthread_t threads[N];
	for (int i = 0; i < N; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, g), 0);
	for (int i = 0; i < N; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(atomic_load(&most_inside), 1, 2);
	while (gate_stale(g, 0, true))
		gate_leave(g, NULL, 0);
	gate_free(g);
}

static void test_gate_over_is_not_asked_of_who_need_not_wait(void **state)
{
	(void)state;
	struct gate *g = gate_new(1, 1, 0);
	atomic_bool set = true;
	void *conn;
	assert_true(gate_enter(g, flag_is_set, &set, &conn));
	gate_leave(g, NULL, 0);
	gate_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_gate_gives_what_was_used_last),
	        cmocka_unit_test(test_gate_counts_idle_connections_as_open),
	        cmocka_unit_test(test_gate_without_limit_lets_all_in),
	        cmocka_unit_test(test_gate_stale_is_who_has_idled_past_the_lifetime),
	        cmocka_unit_test(test_gate_stale_is_never_when_there_is_no_lifetime),
	        cmocka_unit_test(test_gate_stale_keeps_its_place_until_it_is_closed),
	        cmocka_unit_test(test_gate_waiters_are_let_in_in_turn),
	        cmocka_unit_test(test_gate_wait_ends_when_it_is_over_and_the_next_one_moves_up),
	        cmocka_unit_test(test_gate_never_lets_more_in_than_its_limit),
	        cmocka_unit_test(test_gate_over_is_not_asked_of_who_need_not_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
