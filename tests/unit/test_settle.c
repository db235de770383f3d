#include "worker/settle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MINUTE 60000
#define STARTED INT64_C(1795516044000)

static const struct config config = {
        .worker = {.retry_base_ms = 1000, .retry_max_ms = 10 * MINUTE, .outage_timeout_ms = 60 * MINUTE}};
static const uint32_t randoms[] = {0, 1, UINT32_MAX / 2, UINT32_MAX - 1, UINT32_MAX};
#define N_RANDOMS (sizeof randoms / sizeof *randoms)

static struct work_result decide(const struct work_order *order, enum err_code rc, int64_t now_ms, uint32_t random)
{
	struct work_result result = {.outcome = WORK_RETURN, .delay_ms = -1};
	settle_decide(&config, order, rc, now_ms, random, &result);
	return result;
}

static void assert_outcome(const struct work_order *order, enum err_code rc, enum work_outcome wanted)
{
	struct work_result r = decide(order, rc, STARTED, 7);
	assert_int_equal(r.outcome, wanted);
	if (wanted == WORK_RETRY || wanted == WORK_WAIT)
		assert_in_range(r.delay_ms, 1, config.worker.retry_max_ms);
	else
		assert_int_equal(r.delay_ms, 0);
}

static void test_settle_every_code_with_retries_left(void **state)
{
	(void)state;
	const struct work_order order = {.job.retries = 2, .retried = 1, .started_ms = STARTED};
	assert_outcome(&order, ERR_OK, WORK_SUCCESS);
	assert_outcome(&order, ERR_INVALID, WORK_FAILURE);
	assert_outcome(&order, ERR_NOT_FOUND, WORK_FAILURE);
	assert_outcome(&order, ERR_CONFLICT, WORK_FAILURE);
	assert_outcome(&order, ERR_UNAVAILABLE, WORK_WAIT);
	assert_outcome(&order, ERR_TRANSIENT, WORK_RETRY);
	assert_outcome(&order, ERR_PERMANENT, WORK_FAILURE);
	assert_outcome(&order, ERR_CANCELLED, WORK_RETURN);
	assert_outcome(&order, ERR_LOST, WORK_FAILURE); /* finish.lua does not listen to it */
	assert_outcome(&order, ERR_NOMEM, WORK_RETRY);
	assert_outcome(&order, ERR_BUSY, WORK_PARK);
}

static void test_settle_every_code_with_no_retry_left(void **state)
{
	(void)state;
	const struct work_order spent[] = {
	        {.job.retries = 2, .retried = 2, .started_ms = STARTED},
	        {.job.retries = 2, .retried = 3, .started_ms = STARTED},
	        {.job.retries = 0, .retried = 0, .started_ms = STARTED},
	};
	for (size_t i = 0; i < sizeof spent / sizeof *spent; i++) {
		assert_outcome(&spent[i], ERR_OK, WORK_SUCCESS);
		assert_outcome(&spent[i], ERR_TRANSIENT, WORK_FAILURE);
		assert_outcome(&spent[i], ERR_NOMEM, WORK_FAILURE);
		assert_outcome(&spent[i], ERR_PERMANENT, WORK_FAILURE);
		assert_outcome(&spent[i], ERR_UNAVAILABLE, WORK_WAIT); /* an outage is not the job's fault */
		assert_outcome(&spent[i], ERR_CANCELLED, WORK_RETURN);
	}
}

static void test_settle_outage_is_waited_for_until_its_timeout(void **state)
{
	(void)state;
	const struct work_order order = {.started_ms = STARTED, .outage_since_ms = STARTED};
	int64_t end = STARTED + config.worker.outage_timeout_ms;
	assert_int_equal(decide(&order, ERR_UNAVAILABLE, end - 1, 0).outcome, WORK_WAIT);
	assert_int_equal(decide(&order, ERR_UNAVAILABLE, end, 0).outcome, WORK_FAILURE);
	assert_int_equal(decide(&order, ERR_UNAVAILABLE, end + 1, 0).outcome, WORK_FAILURE);
	assert_int_equal(decide(&order, ERR_UNAVAILABLE, end, 0).delay_ms, 0);
	/* a clock that went back is no reason to give up, nor for a delay that is none */
	struct work_result back = decide(&order, ERR_UNAVAILABLE, STARTED - 5 * MINUTE, 0);
	assert_int_equal(back.outcome, WORK_WAIT);
	assert_in_range(back.delay_ms, 500, 1000);
}

static void test_settle_outage_of_no_patience_fails_when_it_is_known_to_last(void **state)
{
	(void)state;
	struct config hasty = config;
	hasty.worker.outage_timeout_ms = 0;
	struct work_order order = {.started_ms = STARTED};
	struct work_result r = {0};
	settle_decide(&hasty, &order, ERR_UNAVAILABLE, STARTED, 0, &r);
	assert_int_equal(r.outcome, WORK_FAILURE);
}

static void test_settle_waits_grow_with_the_outage_up_to_thirty_seconds(void **state)
{
	(void)state;
	struct work_order order = {.started_ms = STARTED, .outage_since_ms = STARTED};
	static const struct {
		int64_t outage, most;
	} cases[] = {{0, 1000}, {4000, 1000}, {8000, 2000}, {40000, 10000}, {120000, 30000}, {3000000, 30000}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t k = 0; k < N_RANDOMS; k++) {
			struct work_result r = decide(&order, ERR_UNAVAILABLE, STARTED + cases[i].outage, randoms[k]);
			assert_in_range(r.delay_ms, cases[i].most / 2, cases[i].most);
		}
}

static void test_settle_backoff_doubles_between_its_bounds(void **state)
{
	(void)state;
	int64_t full = config.worker.retry_base_ms;
	for (int64_t retried = 0; retried < 80; retried++) {
		const struct work_order order = {.job.retries = 100, .retried = retried};
		for (size_t k = 0; k < N_RANDOMS; k++) {
			struct work_result r = decide(&order, ERR_TRANSIENT, STARTED, randoms[k]);
			assert_int_equal(r.outcome, WORK_RETRY);
			assert_in_range(r.delay_ms, full / 2, full);
		}
		full = full * 2 < config.worker.retry_max_ms ? full * 2 : config.worker.retry_max_ms;
	}
}

static void test_settle_jitter_spans_the_upper_half(void **state)
{
	(void)state;
	const struct work_order order = {.job.retries = 100, .retried = 3}; /* 8 s */
	assert_int_equal(decide(&order, ERR_TRANSIENT, STARTED, 0).delay_ms, 4000);
	assert_int_equal(decide(&order, ERR_TRANSIENT, STARTED, 1u << 31).delay_ms, 6000);
	assert_in_range(decide(&order, ERR_TRANSIENT, STARTED, UINT32_MAX).delay_ms, 7999, 8000);
}

static void test_settle_extreme_settings_neither_overflow_nor_hang(void **state)
{
	(void)state;
	const struct work_order order = {.job.retries = INT64_MAX, .retried = INT64_MAX - 1};
	struct config c = config;
	struct work_result r = {0};
	c.worker.retry_base_ms = 1;
	c.worker.retry_max_ms = INT64_C(7) * 24 * 60 * MINUTE; /* the most that the configuration takes */
	settle_decide(&c, &order, ERR_TRANSIENT, STARTED, UINT32_MAX, &r);
	assert_in_range(r.delay_ms, c.worker.retry_max_ms / 2, c.worker.retry_max_ms);
	c.worker.retry_base_ms = c.worker.retry_max_ms = 1;
	settle_decide(&c, &order, ERR_TRANSIENT, STARTED, UINT32_MAX, &r);
	assert_in_range(r.delay_ms, 0, 1);
}

static void test_settle_touches_only_outcome_and_delay(void **state)
{
	(void)state;
	const struct work_order order = {.job.retries = 1};
	struct work_result r = {.error = "e", .table = "t", .rows = 5, .state_ttl_ms = 6};
	settle_decide(&config, &order, ERR_TRANSIENT, STARTED, 0, &r);
	assert_string_equal(r.error, "e");
	assert_string_equal(r.table, "t");
	assert_true(r.rows == 5 && r.state_ttl_ms == 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_settle_every_code_with_retries_left),
	        cmocka_unit_test(test_settle_every_code_with_no_retry_left),
	        cmocka_unit_test(test_settle_outage_is_waited_for_until_its_timeout),
	        cmocka_unit_test(test_settle_outage_of_no_patience_fails_when_it_is_known_to_last),
	        cmocka_unit_test(test_settle_waits_grow_with_the_outage_up_to_thirty_seconds),
	        cmocka_unit_test(test_settle_backoff_doubles_between_its_bounds),
	        cmocka_unit_test(test_settle_jitter_spans_the_upper_half),
	        cmocka_unit_test(test_settle_extreme_settings_neither_overflow_nor_hang),
	        cmocka_unit_test(test_settle_touches_only_outcome_and_delay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
