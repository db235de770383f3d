/* Which of several databases is tried: no database, no clock. */
#include "worker/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define N 3

static const size_t all[N] = {0, 1, 2};
static struct health *h;

static int setup(void **state)
{
	(void)state;
	h = health_new(N);
	return h ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	health_free(h);
	return 0;
}

/* The places that are picked at a moment, as bits, by many throws; a trial is not taken twice. */
static unsigned picked(int64_t now, size_t n)
{
	unsigned bits = 0;
	for (uint32_t random = 0; random < 60; random++) {
		bool rest = false;
		size_t at = health_pick(h, all, n, random, now, &rest);
		if (at != HEALTH_NONE)
			bits |= 1u << at;
	}
	return bits;
}

static void test_health_all_are_picked_while_all_are_up(void **state)
{
	(void)state;
	size_t counts[N] = {0};
	for (uint32_t random = 0; random < 300; random++) {
		bool rest = true;
		counts[health_pick(h, all, N, random, 0, &rest)]++;
		assert_true(rest);
	}
	for (size_t i = 0; i < N; i++)
		assert_int_equal(counts[i], 100);
}

static void test_health_place_is_one_in_the_list_that_is_given(void **state)
{
	(void)state;
	static const size_t some[] = {2, 1};
	bool rest = true;
	health_down(h, 2, 0, "refused");
	for (uint32_t random = 0; random < 10; random++)
		assert_int_equal(health_pick(h, some, 2, random, 1, &rest), 1);
	assert_int_equal(health_pick(h, some, 0, 0, 1, &rest), HEALTH_NONE);
}

static void test_health_who_refuses_is_left_out_for_five_seconds(void **state)
{
	(void)state;
	assert_true(health_down(h, 1, 1000, "refused"));
	assert_int_equal(picked(1000, N), 5);
	assert_int_equal(picked(5999, N), 5);
	assert_int_equal(picked(6000, N), 7);
}

static void test_health_trial_is_taken_by_one(void **state)
{
	(void)state;
	bool rest = false;
	health_down(h, 0, 0, "refused");
	assert_int_equal(health_pick(h, all, 1, 0, 5000, &rest), 0);
	assert_int_equal(health_pick(h, all, 1, 0, 5000, &rest), HEALTH_NONE);
	assert_int_equal(health_pick(h, all, 1, 0, 14999, &rest), HEALTH_NONE);
	assert_int_equal(health_pick(h, all, 1, 0, 15000, &rest), 0);
}

/* 5, 10, 20, 40, 60, 60 s; a trial that fails, at once or after a while, makes it no longer. */
static void test_health_rests_double_up_to_a_minute(void **state)
{
	(void)state;
	static const int64_t rests[] = {5000, 10000, 20000, 40000, 60000, 60000};
	bool rest = false;
	int64_t now = 77;
	health_down(h, 0, now, "refused");
	for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
		assert_int_equal(health_pick(h, all, 1, 0, now + rests[i] - 1, &rest), HEALTH_NONE);
		now += rests[i];
		assert_int_equal(health_pick(h, all, 1, 0, now, &rest), 0);
		assert_false(health_down(h, 0, now + 3000, "refused"));
	}
}

static void test_health_same_refusal_heard_by_many_counts_once(void **state)
{
	(void)state;
	assert_true(health_down(h, 0, 0, "refused"));
	for (int i = 0; i < 10; i++)
		assert_false(health_down(h, 0, i, "refused"));
	assert_int_equal(picked(4999, 1), 0);
	assert_int_equal(picked(5000, 1), 1);
}

static void test_health_tells_the_last_reason_while_it_is_down(void **state)
{
	(void)state;
	char why[HEALTH_WHY_SIZE];
	health_down(h, 1, 0, "no route");
	health_down(h, 1, 1, "too many connections");
	health_why(h, 1, why);
	assert_string_equal(why, "too many connections");
	health_why(h, 0, why);
	assert_string_equal(why, "");
	health_up(h, 1);
	health_why(h, 1, why);
	assert_string_equal(why, "");
}

static void test_health_any_connection_ends_it(void **state)
{
	(void)state;
	assert_false(health_up(h, 0));
	for (int i = 0; i < 4; i++)
		health_down(h, 0, i * 100000, "refused");
	assert_true(health_up(h, 0));
	assert_false(health_up(h, 0));
	assert_int_equal(picked(300001, 1), 1);
	assert_true(health_down(h, 0, 400000, "refused")); /* and the next one begins anew */
	assert_int_equal(picked(405000, 1), 1);
}

static void test_health_of_one_that_is_down_is_tried_once_a_second_at_most(void **state)
{
	(void)state;
	bool rest = true;
	assert_false(health_is_down(h, 0, 0));
	health_down(h, 0, 100, "refused");
	assert_true(health_is_down(h, 0, 60099));
	assert_false(health_is_down(h, 0, 60100));
	assert_int_equal(health_pick(h, all, 1, 0, 1099, &rest), HEALTH_NONE);
	assert_false(rest);
	rest = true;
	assert_int_equal(health_pick(h, all, 1, 0, 1100, &rest), 0);
	rest = true;
	assert_int_equal(health_pick(h, all, 1, 0, 2099, &rest), HEALTH_NONE);
	health_up(h, 0);
	assert_false(health_is_down(h, 0, 2100));
	assert_int_equal(health_pick(h, all, 1, 0, 2100, &rest), 0);
}

static void test_health_when_all_are_down_the_one_that_has_waited_longest_is_tried_once(void **state)
{
	(void)state;
	bool rest = true;
	health_down(h, 2, 100, "refused");
	health_down(h, 0, 200, "refused");
	health_down(h, 1, 300, "refused");
	assert_int_equal(health_pick(h, all, N, 7, 1400, &rest), 2);
	assert_false(rest);
	assert_int_equal(health_pick(h, all, N, 7, 1401, &rest), HEALTH_NONE);
	health_down(h, 2, 1450, "refused");
	rest = true; /* the next run */
	assert_int_equal(health_pick(h, all, N, 7, 1500, &rest), 0);
	rest = true;
	assert_int_equal(health_pick(h, all, N, 7, 1600, &rest), 1);
	rest = true;
	assert_int_equal(health_pick(h, all, N, 7, 2450, &rest), 2);
	/* such a try is out of turn: it does not put off the trial */
	assert_int_equal(picked(5100, N), 4);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_health_all_are_picked_while_all_are_up),
	        T(test_health_place_is_one_in_the_list_that_is_given),
	        T(test_health_who_refuses_is_left_out_for_five_seconds),
	        T(test_health_trial_is_taken_by_one),
	        T(test_health_rests_double_up_to_a_minute),
	        T(test_health_same_refusal_heard_by_many_counts_once),
	        T(test_health_tells_the_last_reason_while_it_is_down),
	        T(test_health_any_connection_ends_it),
	        T(test_health_of_one_that_is_down_is_tried_once_a_second_at_most),
	        T(test_health_when_all_are_down_the_one_that_has_waited_longest_is_tried_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
