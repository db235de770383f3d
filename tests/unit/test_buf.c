#include "shared/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_buf_holds_what_was_added_and_ends_in_nul(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1000);
	assert_string_equal(buf_str(&b), "");
	assert_null(b.data);
	assert_true(
	        buf_addstr(&b, "ab") && buf_addc(&b, 'c') && buf_add(&b, "d\0e", 3) && buf_addf(&b, "%d-%s", 42, "x"));
	assert_int_equal(b.len, 10);
	assert_memory_equal(b.data, "abcd\0e42-x", 11);
	assert_true(buf_ok(&b));
	buf_fini(&b);
	assert_true(!b.data && b.len == 0 && b.max == 1000);
	buf_fini(&b);
}

static void test_buf_writes_integers_big_endian(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 100);
	assert_true(buf_add_be16(&b, 0x0102) && buf_add_be32(&b, 0xfffefdfc));
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.data, "\x01\x02\xff\xfe\xfd\xfc", 6);
	buf_fini(&b);
}

static void test_buf_grows_to_its_ceiling_and_no_further(void **state)
{
	(void)state;
	static const size_t ceilings[] = {0, 1, 10, 63, 64, 65, 100, 4097};
	for (size_t i = 0; i < sizeof ceilings / sizeof *ceilings; i++) {
		struct buf b;
		buf_init(&b, ceilings[i]);
		while (b.len < ceilings[i]) {
			assert_true(buf_addc(&b, 'x'));
			assert_true(b.cap <= b.max && b.len <= b.cap && b.data[b.len] == '\0');
		}
		assert_true(buf_add(&b, "", 0));
		assert_true(b.cap <= b.max);
		assert_false(buf_addc(&b, 'x'));
		assert_int_equal(b.len, ceilings[i]);
		buf_fini(&b);
	}
}

static void test_buf_failed_add_adds_nothing_and_stays(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 8);
	assert_true(buf_addstr(&b, "12345"));
	assert_false(buf_addstr(&b, "6789"));
	assert_string_equal(buf_str(&b), "12345");
	assert_false(buf_ok(&b));
	assert_false(buf_addc(&b, '6'));
	assert_false(buf_addf(&b, "%d", 6));
	assert_null(buf_room(&b, 0));
	assert_string_equal(buf_str(&b), "12345");
	buf_reset(&b);
	assert_true(buf_ok(&b) && b.len == 0);
	assert_string_equal(buf_str(&b), "");
	assert_false(buf_addf(&b, "%s", "123456789"));
	buf_reset(&b);
	assert_true(buf_addf(&b, "%s", "12345678"));
	assert_false(buf_room(&b, SIZE_MAX) != NULL);
	buf_fini(&b);
}

static void test_buf_room_is_filled_by_the_caller(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 5000);
	for (int i = 0; i < 10; i++) {
		char *at = buf_room(&b, 500);
		assert_non_null(at);
		memset(at, 'a' + i, 500);
		b.len += 500;
	}
	assert_int_equal(b.data[0], 'a');
	assert_int_equal(b.data[4999], 'j');
	assert_null(buf_room(&b, 1));
	buf_fini(&b);
}

static void test_buf_take_hands_over_the_content(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 10);
	assert_true(buf_addstr(&b, "abc"));
	char *text = buf_take(&b);
	assert_string_equal(text, "abc");
	free(text);
	assert_true(!b.data && b.len == 0 && b.max == 10);
	text = buf_take(&b); /* an empty one is an empty text */
	assert_string_equal(text, "");
	free(text);
	assert_false(buf_addstr(&b, "longer than ten"));
	assert_null(buf_take(&b));
	assert_true(buf_ok(&b) && !b.data);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_buf_holds_what_was_added_and_ends_in_nul),
	        cmocka_unit_test(test_buf_writes_integers_big_endian),
	        cmocka_unit_test(test_buf_grows_to_its_ceiling_and_no_further),
	        cmocka_unit_test(test_buf_failed_add_adds_nothing_and_stays),
	        cmocka_unit_test(test_buf_room_is_filled_by_the_caller),
	        cmocka_unit_test(test_buf_take_hands_over_the_content),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
