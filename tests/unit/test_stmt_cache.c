#include "shared/db/stmt_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fake {
	struct stmt kept;
	int number;
};

static int closed;

static void close_fake(struct stmt *s)
{
	(void)s;
	closed++;
}

static struct fake *get(struct stmt_cache *c, const char *task, const char *sql, bool *fresh)
{
	struct query q = {.task = task, .sql = sql};
	return (struct fake *)(void *)stmt_cache_get(c, &q, fresh);
}

static void test_stmt_cache_finds_a_statement_by_task_and_text(void **state)
{
	(void)state;
	struct stmt_cache c;
	bool fresh;
	closed = 0;
	stmt_cache_init(&c, sizeof(struct fake), close_fake);
	struct fake *a = get(&c, "t", "SELECT 1", &fresh);
	assert_non_null(a);
	assert_true(fresh);
	assert_int_equal(a->number, 0);
	a->number = 7;
	assert_ptr_equal(get(&c, "t", "SELECT 1", &fresh), a);
	assert_false(fresh);
	assert_int_equal(a->number, 7);
	struct fake *b = get(&c, "t", "SELECT 2", &fresh);
	assert_true(fresh && b != a);
	assert_true(get(&c, "u", "SELECT 1", &fresh) != a && fresh);
	assert_ptr_equal(get(&c, "t", "SELECT 2", &fresh), b);
	stmt_cache_clear(&c);
	assert_int_equal(closed, 3);
}

static void test_stmt_cache_forgets(void **state)
{
	(void)state;
	struct stmt_cache c;
	bool fresh;
	closed = 0;
	stmt_cache_init(&c, sizeof(struct fake), close_fake);
	struct fake *a = get(&c, "t", "SELECT 1", &fresh), *b = get(&c, "t", "SELECT 2", &fresh);
	stmt_cache_forget(&c, &a->kept);
	assert_int_equal(closed, 1);
	assert_ptr_equal(get(&c, "t", "SELECT 2", &fresh), b);
	assert_false(fresh);
	assert_non_null(get(&c, "t", "SELECT 1", &fresh));
	assert_true(fresh);
	stmt_cache_clear(&c);
	assert_int_equal(closed, 3);
	stmt_cache_clear(&c);
	assert_non_null(get(&c, "t", "SELECT 1", &fresh));
	assert_true(fresh);
	stmt_cache_clear(&c);
}

static void test_stmt_cache_is_full_at_its_limit(void **state)
{
	(void)state;
	struct stmt_cache c;
	bool fresh;
	char sql[24];
	stmt_cache_init(&c, sizeof(struct fake), close_fake);
	for (int i = 0; i < STMT_CACHE_MAX; i++) {
		assert_false(stmt_cache_is_full(&c));
		snprintf(sql, sizeof sql, "SELECT %d", i);
		assert_non_null(get(&c, "t", sql, &fresh));
	}
	assert_true(stmt_cache_is_full(&c));
	assert_non_null(get(&c, "t", "SELECT 255", &fresh));
	assert_false(fresh);
	stmt_cache_clear(&c);
	assert_false(stmt_cache_is_full(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_stmt_cache_finds_a_statement_by_task_and_text),
	        cmocka_unit_test(test_stmt_cache_forgets),
	        cmocka_unit_test(test_stmt_cache_is_full_at_its_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
