#include "shared/db/stmt_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/db/column.h"

/* --- an allocation that fails, where no sanitizer stands in malloc's place --- */

static long refuse_at; /* the allocation, counted down, that is refused; 0: none */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
void *__libc_malloc(size_t size); /* glibc's own, behind its public names */
void *__libc_calloc(size_t n, size_t size);

static bool is_refused(void)
{
	return refuse_at > 0 && --refuse_at == 0;
}

void *malloc(size_t size)
{
	return is_refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return is_refused() ? NULL : __libc_calloc(n, size);
}
#endif

/* --- the cache --- */

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

/* uthash by itself ends the process. */
static void test_stmt_cache_and_column_names_survive_the_failure_of_every_allocation(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	static const struct name_rules rules = {.max = 63};
	struct stmt_cache c;
	bool fresh;
	int refusals = 0;
	stmt_cache_init(&c, sizeof(struct fake), close_fake);
	for (long n = 1; n < 100; n++) {
		refuse_at = n;
		struct fake *f = get(&c, "t", "SELECT 1", &fresh);
		refusals += !f;
		refuse_at = 0;
		stmt_cache_clear(&c);
	}
	assert_int_equal(refusals, 4); /* the key, the statement, uthash's table and its buckets */
	struct err e = ERR_INIT;
	struct columns columns = {0};
	assert_int_equal(columns_resize(&columns, 1, &e), ERR_OK);
	refusals = 0;
	for (long n = 1; n < 100; n++) {
		refuse_at = n;
		enum err_code rc = columns_fix_names(&columns, &rules, &e);
		refuse_at = 0;
		assert_true(rc == ERR_OK || rc == ERR_NOMEM);
		refusals += rc == ERR_NOMEM;
	}
	assert_int_equal(refusals, 4);
	columns_fini(&columns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_stmt_cache_finds_a_statement_by_task_and_text),
	        cmocka_unit_test(test_stmt_cache_forgets),
	        cmocka_unit_test(test_stmt_cache_is_full_at_its_limit),
	        cmocka_unit_test(test_stmt_cache_and_column_names_survive_the_failure_of_every_allocation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
