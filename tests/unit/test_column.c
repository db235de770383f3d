#include "shared/db/column.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PG_MAX 63

/* Fixes the names of `given` (ended by NULL); all must then be as in `wanted`. */
static void check_rules(const struct name_rules *rules, const char *const *given, const char *const *wanted)
{
	struct columns c = {0};
	size_t n = 0;
	while (given[n])
		n++;
	assert_int_equal(columns_resize(&c, n, NULL), ERR_OK);
	for (size_t i = 0; i < n; i++)
		column_set_name(&c.list[i], given[i]);
	assert_int_equal(columns_fix_names(&c, rules, NULL), ERR_OK);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(c.list[i].name, wanted[i]);
	columns_fini(&c);
}

static void check(size_t max, const char *const *given, const char *const *wanted)
{
	check_rules(&(struct name_rules){.max = max}, given, wanted);
}

static void check_folded(const char *const *given, const char *const *wanted)
{
	check_rules(&(struct name_rules){.max = 64, .fold = true}, given, wanted);
}

#define GIVEN(...) ((const char *const[]){__VA_ARGS__, NULL})
#define CHECK(given, wanted) check(PG_MAX, given, wanted)

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define X61 X60 "x"
#define X62 X60 "xx"
#define X63 X60 "xxx"

static void test_column_good_names_stay_as_they_are(void **state)
{
	(void)state;
	CHECK(GIVEN("id", "Id", "ID", "a \"b\"", "naïve", X63), GIVEN("id", "Id", "ID", "a \"b\"", "naïve", X63));
}

static void test_column_empty_names_are_numbered(void **state)
{
	(void)state;
	CHECK(GIVEN("", "a", ""), GIVEN("column_1", "a", "column_3"));
	CHECK(GIVEN("column_2", ""), GIVEN("column_2", "column_2_2"));
}

static void test_column_first_of_a_name_keeps_it(void **state)
{
	(void)state;
	CHECK(GIVEN("a", "a", "b", "a"), GIVEN("a", "a_2", "b", "a_3"));
	CHECK(GIVEN("?column?", "?column?"), GIVEN("?column?", "?column?_2"));
}

static void test_column_suffix_does_not_meet_another_name(void **state)
{
	(void)state;
	CHECK(GIVEN("a_2", "a", "a"), GIVEN("a_2", "a", "a_3"));
	CHECK(GIVEN("a", "a", "a_2"), GIVEN("a", "a_2", "a_2_2"));
	CHECK(GIVEN("a", "a_2", "a", "a_2"), GIVEN("a", "a_2", "a_3", "a_2_2"));
	CHECK(GIVEN("a", "a", "a_2", "a_2", "a_2_2"), GIVEN("a", "a_2", "a_2_2", "a_2_3", "a_2_2_2"));
}

static void test_column_long_names_are_cut(void **state)
{
	(void)state;
	CHECK(GIVEN(X63 "y"), GIVEN(X63));
	CHECK(GIVEN(X63 "y", X63 "z", X63), GIVEN(X63, X61 "_2", X61 "_3"));
	check(5, GIVEN("abcdef", "abcdeg", "", ""), GIVEN("abcde", "abc_2", "colum", "col_2"));
}

static void test_column_is_not_cut_within_a_character(void **state)
{
	(void)state;
	CHECK(GIVEN(X61 "é"), GIVEN(X61 "é"));
	CHECK(GIVEN(X62 "é"), GIVEN(X62));
	CHECK(GIVEN(X61 "€"), GIVEN(X61));
	CHECK(GIVEN(X60 "😀"), GIVEN(X60));
	/* nor by the place that a suffix takes: 60 + 3 bytes, of which 61 are left */
	CHECK(GIVEN(X60 "€", X60 "€"), GIVEN(X60 "€", X60 "_2"));
}

static void test_column_names_made_by_cutting_do_not_collide(void **state)
{
	(void)state;
	CHECK(GIVEN(X63, X61 "_2", X63), GIVEN(X63, X61 "_2", X61 "_3"));
	CHECK(GIVEN(X63, X63, X61 "_2"), GIVEN(X63, X61 "_2", X61 "_3"));
}

static void test_column_reserved_names_are_avoided_like_taken_ones(void **state)
{
	(void)state;
	static const char *const reserved[] = {"ctid", "xmin", "ctid_2", NULL};
	static const char *const wanted[] = {"ctid_3", "xmin_2", "CTID", "ctid_4", "xmin_2_2"};
	struct columns c = {0};
	assert_int_equal(columns_resize(&c, 5, NULL), ERR_OK);
	column_set_name(&c.list[0], "ctid");
	column_set_name(&c.list[1], "xmin");
	column_set_name(&c.list[2], "CTID");
	column_set_name(&c.list[3], "ctid");
	column_set_name(&c.list[4], "xmin_2");
	assert_int_equal(
	        columns_fix_names(&c, &(struct name_rules){.max = PG_MAX, .reserved = reserved}, NULL), ERR_OK);
	for (size_t i = 0; i < c.n; i++)
		assert_string_equal(c.list[i].name, wanted[i]);
	columns_fini(&c);
}

static void test_column_set_name_cuts_at_its_own_limit(void **state)
{
	(void)state;
	struct column c;
	char name[COLUMN_NAME_MAX + 10];
	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = '\0';
	memcpy(name + COLUMN_NAME_MAX - 1, "é", 2);
	column_set_name(&c, name);
	assert_int_equal(strlen(c.name), COLUMN_NAME_MAX - 1);
}

static void test_column_names_that_fold_differ_in_more_than_case(void **state)
{
	(void)state;
	CHECK(GIVEN("a", "A"), GIVEN("a", "A"));
	check_folded(GIVEN("a", "A", "a", "b"), GIVEN("a", "A_2", "a_3", "b"));
	check_folded(GIVEN("Größe", "GRÖSSE", "GRÖßE"), GIVEN("Größe", "GRÖSSE", "GRÖßE_2"));
	check_folded(
	        GIVEN("ÿ", "Ÿ", "Σ", "ς", "K", "k", "é", "e"), GIVEN("ÿ", "Ÿ_2", "Σ", "ς_2", "K", "k_2", "é", "e"));
	check_folded(GIVEN("x_2", "x", "X"), GIVEN("x_2", "x", "X_3"));
}

static void test_column_names_that_fold_end_in_no_space_and_have_no_large_characters(void **state)
{
	(void)state;
	check_folded(GIVEN("a ", " ", "a\t \n", "  b", "c\t\r"), GIVEN("a", "column_2", "a_2", "  b", "c"));
	check_folded(GIVEN("x\xf0\x9f\x98\x80y", "\xff\xc3", "x_y"), GIVEN("x_y", "\xff\xc3", "x_y_2"));
	check_folded(GIVEN(X60 "    y"), GIVEN(X60)); /* a space where it is cut */
	CHECK(GIVEN("a ", " "), GIVEN("a ", " "));
}

static void test_column_any_names_end_unique_and_short_enough(void **state)
{
	(void)state;
	static const char *const parts[] = {"a", "_2", "_", "é", "2", "😀", "column_1", X60};
	unsigned seed = 1;
	for (int round = 0; round < 300; round++) {
		struct columns c = {0};
		size_t max = round % 2 ? PG_MAX : 8;
		assert_int_equal(columns_resize(&c, 40, NULL), ERR_OK);
		for (size_t i = 0; i < c.n; i++) {
			char name[COLUMN_NAME_MAX + 1] = "";
			for (int k = 0; k < 3; k++) {
				seed = seed * 1103515245u + 12345u;
				if (seed >> 16 & 1)
					strcat(name, parts[seed >> 17 & 7]);
			}
			column_set_name(&c.list[i], name);
		}
		assert_int_equal(columns_fix_names(&c, &(struct name_rules){.max = max}, NULL), ERR_OK);
		for (size_t i = 0; i < c.n; i++) {
			const char *name = c.list[i].name;
			size_t len = strlen(name);
			assert_in_range(len, 1, max);
			assert_false(((unsigned char)name[len - 1] & 0xc0) == 0xc0); /* ends in half a character */
			for (size_t k = 0; k < i; k++)
				assert_string_not_equal(c.list[k].name, name);
		}
		columns_fini(&c);
	}
}

static void test_column_hundreds_of_one_name_are_told_apart(void **state)
{
	(void)state;
	struct columns c = {0};
	assert_int_equal(columns_resize(&c, 400, NULL), ERR_OK);
	for (size_t i = 0; i < c.n; i++)
		column_set_name(&c.list[i], "?column?");
	assert_int_equal(columns_fix_names(&c, &(struct name_rules){.max = PG_MAX}, NULL), ERR_OK);
	assert_string_equal(c.list[0].name, "?column?");
	assert_string_equal(c.list[399].name, "?column?_400");
	columns_fini(&c);
}

static void test_column_copy_is_a_copy(void **state)
{
	(void)state;
	struct columns a = {.engine = DB_POSTGRES}, b = {0};
	assert_int_equal(columns_resize(&a, 2, NULL), ERR_OK);
	a.list[1] = (struct column){.type = 1700, .typmod = 7, .as_text = true};
	column_set_name(&a.list[1], "x");
	assert_int_equal(columns_copy(&b, &a, NULL), ERR_OK);
	columns_fini(&a);
	assert_true(a.n == 0 && !a.list);
	assert_int_equal(b.n, 2);
	assert_string_equal(b.list[0].name, "");
	assert_string_equal(b.list[1].name, "x");
	assert_true(b.list[1].type == 1700 && b.list[1].typmod == 7 && b.list[1].as_text);
	assert_int_equal(columns_copy(&b, &a, NULL), ERR_OK); /* of none */
	assert_int_equal(b.n, 0);
	columns_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_column_good_names_stay_as_they_are),
	        cmocka_unit_test(test_column_empty_names_are_numbered),
	        cmocka_unit_test(test_column_first_of_a_name_keeps_it),
	        cmocka_unit_test(test_column_suffix_does_not_meet_another_name),
	        cmocka_unit_test(test_column_long_names_are_cut),
	        cmocka_unit_test(test_column_is_not_cut_within_a_character),
	        cmocka_unit_test(test_column_names_made_by_cutting_do_not_collide),
	        cmocka_unit_test(test_column_reserved_names_are_avoided_like_taken_ones),
	        cmocka_unit_test(test_column_set_name_cuts_at_its_own_limit),
	        cmocka_unit_test(test_column_names_that_fold_differ_in_more_than_case),
	        cmocka_unit_test(test_column_names_that_fold_end_in_no_space_and_have_no_large_characters),
	        cmocka_unit_test(test_column_any_names_end_unique_and_short_enough),
	        cmocka_unit_test(test_column_hundreds_of_one_name_are_told_apart),
	        cmocka_unit_test(test_column_copy_is_a_copy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
