#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shared/db/types.h"

#include "shared/db/ch_types.h"

struct want {
	const char *type;
	enum kind kind;
	int precision, scale;
	enum ch_fix fix;
};

static void check(const struct want *w)
{
	struct column c = {.precision = 99, .scale = 99, .length = 99};
	struct err e = ERR_INIT;
	enum ch_fix fix;
	bool known;
	if (ch_type_read(w->type, strlen(w->type), &c, &fix, &known, &e) != ERR_OK)
		fail_msg("%s: %s", w->type, e.text);
	if (c.kind != w->kind || c.precision != w->precision || c.scale != w->scale || c.length != 0 || fix != w->fix ||
	        !known)
		fail_msg("%s: kind %d (%d, %d) length %d fix %d known %d", w->type, (int)c.kind, c.precision, c.scale,
		        (int)c.length, (int)fix, known);
}

static void test_ch_types_are_the_kinds_that_hold_their_values(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"Int8", KIND_INT8, 0, 0, CH_AS_IS},
	        {"UInt64", KIND_UINT64, 0, 0, CH_AS_IS},
	        {"Int128", KIND_DECIMAL, 39, 0, CH_AS_IS},
	        {"UInt256", KIND_DECIMAL, 78, 0, CH_AS_IS},
	        {"Decimal(9, 2)", KIND_DECIMAL, 9, 2, CH_AS_IS},
	        {"Decimal(76,38)", KIND_DECIMAL, 76, 38, CH_AS_IS},
	        {"Decimal(5)", KIND_DECIMAL, 5, 0, CH_AS_IS},
	        {"Decimal", KIND_DECIMAL, 10, 0, CH_AS_IS},
	        {"Decimal64(4)", KIND_DECIMAL, 18, 4, CH_AS_IS},
	        {"Float32", KIND_FLOAT, 0, 0, CH_FLOAT},
	        {"Bool", KIND_BOOL, 0, 0, CH_BOOL},
	        {"DateTime", KIND_TIMESTAMP, 0, 0, CH_AS_IS},
	        {"DateTime('Asia/Kolkata')", KIND_TIMESTAMP, 0, 0, CH_AS_IS},
	        {"DateTime64(6, 'UTC')", KIND_TIMESTAMP, 6, 0, CH_AS_IS},
	        {"DateTime64(0)", KIND_TIMESTAMP, 0, 0, CH_AS_IS},
	        {"DateTime64(7)", KIND_TEXT, 0, 0, CH_AS_IS},
	        {"DateTime64(9, 'Europe/Berlin')", KIND_TEXT, 0, 0, CH_AS_IS},
	        {"IPv6", KIND_INET, 0, 0, CH_AS_IS},
	        {"JSON(max_dynamic_paths=8, a.b UInt32)", KIND_JSON, 0, 0, CH_AS_IS},
	        {"Object('json')", KIND_JSON, 0, 0, CH_AS_IS},
	        {"String", KIND_TEXT, 0, 0, CH_AS_IS},
	        {"FixedString(4)", KIND_TEXT, 0, 0, CH_FIXED},
	        {"Enum8('a)' = 1, 'b,' = 2)", KIND_TEXT, 0, 0, CH_AS_IS},
	        {"Array(Nullable(UInt8))", KIND_TEXT, 0, 0, CH_RAW},
	        {"IntervalDay", KIND_INT64, 0, 0, CH_AS_IS},
	        {"Time64(3)", KIND_TEXT, 0, 0, CH_AS_IS},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		check(&wants[i]);
}

static void test_ch_types_wrappers_are_taken_off(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"Nullable(Decimal(18, 4))", KIND_DECIMAL, 18, 4, CH_AS_IS},
	        {"LowCardinality(Nullable(FixedString(2)))", KIND_TEXT, 0, 0, CH_FIXED},
	        {"SimpleAggregateFunction(sum, UInt64)", KIND_UINT64, 0, 0, CH_AS_IS},
	        {"SimpleAggregateFunction(groupArrayArray(10, 'x,('), Array(String))", KIND_TEXT, 0, 0, CH_RAW},
	        {"SimpleAggregateFunction(max, Nullable(DateTime64(3)))", KIND_TIMESTAMP, 3, 0, CH_AS_IS},
	        {"Nullable(Nothing)", KIND_TEXT, 0, 0, CH_AS_IS},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		check(&wants[i]);
}

static void test_ch_types_unknown_ones_are_text(void **state)
{
	(void)state;
	static const char *const types[] = {"", "(", "Nullable()", "Nullable(", "x", "12", "string", "NewType(UInt8)",
	        "SimpleAggregateFunction(sum)"};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct column c = {.kind = KIND_BIT};
		enum ch_fix fix = CH_BOOL;
		bool known = true;
		assert_int_equal(ch_type_read(types[i], strlen(types[i]), &c, &fix, &known, NULL), ERR_OK);
		assert_true(!known && c.kind == KIND_TEXT && fix == CH_AS_IS);
	}
	/* Parameters that are not what we know: the text is safe, a guess is not. */
	check(&(struct want){"Decimal(x, 2)", KIND_TEXT, 0, 0, CH_AS_IS});
	check(&(struct want){"Int8(1)", KIND_TEXT, 0, 0, CH_AS_IS});
	check(&(struct want){"Decimal(99, 2)", KIND_TEXT, 0, 0, CH_AS_IS});
}

static void test_ch_types_binary_states_are_refused(void **state)
{
	(void)state;
	static const char *const types[] = {"AggregateFunction(sum, UInt64)", "Array(AggregateFunction(uniq, String))",
	        "Tuple(s AggregateFunction(uniq, String))", "Nullable(AggregateFunction(sum, UInt8))"};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct column c;
		enum ch_fix fix;
		bool known;
		struct err e = ERR_INIT;
		assert_int_equal(ch_type_read(types[i], strlen(types[i]), &c, &fix, &known, &e), ERR_PERMANENT);
		assert_non_null(strstr(e.text, types[i]));
	}
	check(&(struct want){"Enum8('AggregateFunction(' = 1)", KIND_TEXT, 0, 0, CH_AS_IS});
}

static const char *fixed(enum ch_fix fix, const char *text, int len)
{
	static char out[64];
	struct cell c = {text, len};
	ch_type_fix(fix, &c);
	assert_true(c.len < 64);
	if (c.len < 0)
		return NULL;
	if (c.len > 0)
		memcpy(out, c.data, (size_t)c.len);
	out[c.len] = '\0';
	return out;
}

static void test_ch_types_cells_get_the_form_of_their_kind(void **state)
{
	(void)state;
	assert_string_equal(fixed(CH_BOOL, "true", 4), "1");
	assert_string_equal(fixed(CH_BOOL, "false", 5), "0");
	assert_string_equal(fixed(CH_FLOAT, "nan", 3), "NaN");
	assert_string_equal(fixed(CH_FLOAT, "-nan", 4), "NaN");
	assert_string_equal(fixed(CH_FLOAT, "inf", 3), "Infinity");
	assert_string_equal(fixed(CH_FLOAT, "-inf", 4), "-Infinity");
	assert_string_equal(fixed(CH_FLOAT, "3.4028235e38", 12), TYPES_FLOAT_MAX);
	assert_string_equal(fixed(CH_FLOAT, "-3.4028235e38", 13), "-" TYPES_FLOAT_MAX);
	assert_string_equal(fixed(CH_FLOAT, "3.4028234e38", 12), "3.4028234e38");
	assert_string_equal(fixed(CH_DOUBLE, "-inf", 4), "-Infinity");
	assert_string_equal(fixed(CH_DOUBLE, "3.4028235e38", 12), "3.4028235e38");
	assert_string_equal(fixed(CH_FLOAT, "-1.5e-7", 7), "-1.5e-7");
	assert_string_equal(fixed(CH_FIXED, "ab\0\0", 4), "ab");
	assert_string_equal(fixed(CH_FIXED, "\0\0\0", 3), "");
	struct cell inner = {"a\0b", 3};
	ch_type_fix(CH_FIXED, &inner);
	assert_int_equal(inner.len, 3);
	assert_string_equal(fixed(CH_AS_IS, "nan", 3), "nan");
	for (int fix = CH_AS_IS; fix <= CH_RAW; fix++) {
		assert_null(fixed((enum ch_fix)fix, NULL, -1));
		assert_string_equal(fixed((enum ch_fix)fix, "", 0), "");
	}
}

static void count(void *ctx, const char *native, const struct column *c)
{
	struct column again = {.name = ""};
	enum ch_fix fix;
	bool known;
	assert_int_equal(ch_type_read(native, strlen(native), &again, &fix, &known, NULL), ERR_OK);
	assert_true(known && again.kind == c->kind && again.precision == c->precision && again.scale == c->scale);
	*(int *)ctx += 1;
}

static void test_ch_types_can_be_listed(void **state)
{
	(void)state;
	int n = 0;
	ch_types_each(count, &n);
	assert_true(n > 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ch_types_are_the_kinds_that_hold_their_values),
	        cmocka_unit_test(test_ch_types_wrappers_are_taken_off),
	        cmocka_unit_test(test_ch_types_unknown_ones_are_text),
	        cmocka_unit_test(test_ch_types_binary_states_are_refused),
	        cmocka_unit_test(test_ch_types_cells_get_the_form_of_their_kind),
	        cmocka_unit_test(test_ch_types_can_be_listed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
