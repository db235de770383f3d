/* cmocka for static analysis only: `make lint` includes it before each test (-include). The tools cannot see that
 * cmocka's assertions leave a test when they fail; these do so plainly, and everything behind them may be relied upon. */
#ifndef DB_LINT_CMOCKA_MODEL_H
#define DB_LINT_CMOCKA_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#undef assert_true
#undef assert_false
#undef assert_non_null
#undef assert_null
#undef assert_int_equal
#undef assert_int_not_equal
#undef assert_ptr_equal
#undef assert_in_range
#undef assert_string_equal
#undef assert_string_not_equal
#undef assert_memory_equal
#undef fail_msg
#undef skip

/* Text against NULL fails the test by a crash, which is as plain. */
static inline bool model_same_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static inline bool model_same_bytes(const void *a, const void *b, size_t size)
{
	return a && b && memcmp(a, b, size) == 0;
}

#define MODEL_HOLDS(condition) \
	do { \
		if (!(condition)) \
			_Exit(1); \
	} while (0)
#define assert_true(c) MODEL_HOLDS(c)
#define assert_false(c) MODEL_HOLDS(!(c))
#define assert_non_null(p) MODEL_HOLDS((p) != NULL)
#define assert_null(p) MODEL_HOLDS((p) == NULL)
#define assert_int_equal(a, b) MODEL_HOLDS((LargestIntegralType)(a) == (LargestIntegralType)(b))
#define assert_int_not_equal(a, b) MODEL_HOLDS((LargestIntegralType)(a) != (LargestIntegralType)(b))
#define assert_ptr_equal(a, b) MODEL_HOLDS((const void *)(a) == (const void *)(b))
#define assert_in_range(v, min, max) _assert_in_range((LargestIntegralType)(v), (min), (max), __FILE__, __LINE__)
#define assert_string_equal(a, b) MODEL_HOLDS(model_same_text(a, b))
#define assert_string_not_equal(a, b) MODEL_HOLDS(!model_same_text(a, b))
#define assert_memory_equal(a, b, size) MODEL_HOLDS(model_same_bytes(a, b, size))
#define fail_msg(...) \
	do { \
		print_error(__VA_ARGS__); \
		_Exit(1); \
	} while (0)
#define skip() _Exit(1)

#endif
