#include "fcgi/json_out.h"
#include "fcgi/prom.h"
#include "fcgi/uuid.h"
#include "shared/base/utf8.h"
#include "tests/unit/test_fcgi_fixture.h"

static struct jin_reader *reader;

static int setup(void **state)
{
	(void)state;
	reader = jin_reader_new(4);
	return reader ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	jin_reader_free(reader);
	return 0;
}

static void assert_refused_len(const char *text, size_t len, const char *why)
{
	struct err e = ERR_INIT;
	struct jin *v;
	assert_int_equal(jin_read(reader, text, len, &v, &e), ERR_INVALID);
	assert_null(v);
	assert_string_equal(e.text, why);
}

static void assert_refused(const char *text, const char *why)
{
	assert_refused_len(text, strlen(text), why);
}

static void test_json_in_refuses(void **state)
{
	(void)state;
	assert_refused("", "malformed JSON: it ends in the middle");
	assert_refused("{\"a\":", "malformed JSON: it ends in the middle");
	assert_refused("{\"a\":\"b", "malformed JSON: it ends in the middle");
	assert_refused("{}x", "malformed JSON at byte 2: unexpected character");
	assert_refused("{} {}", "malformed JSON at byte 3: unexpected character");
	assert_refused("[1,]", "malformed JSON at byte 3: unexpected character");
	assert_refused("{'a':1}", "malformed JSON at byte 1: unexpected character");
	assert_refused("[NaN]", "malformed JSON at byte 1: unexpected character");
	assert_refused("[Infinity]", "malformed JSON at byte 1: unexpected character");
	assert_refused("[-Infinity]", "malformed JSON at byte 1: a number is written wrongly");
	assert_refused("[01]", "malformed JSON at byte 1: a number is written wrongly");
	assert_refused("[1.]", "malformed JSON at byte 1: a number is written wrongly");
	assert_refused("[1e]", "malformed JSON at byte 1: a number is written wrongly");
	assert_refused("[-]", "malformed JSON at byte 1: a number is written wrongly");
	assert_refused(
	        "[18446744073709551616]", "the integer at byte 1 of the JSON is beyond 64 bits; send it as a string");
	assert_refused(
	        "[ -9223372036854775809]", "the integer at byte 2 of the JSON is beyond 64 bits; send it as a string");
	assert_refused("[\"a\nb\"]", "malformed JSON at byte 3: a control character in a string must be escaped");
	assert_refused("[\"\xff\"]", "malformed JSON at byte 2: not UTF-8");
	assert_refused("[\"\xc0\x80\"]", "malformed JSON at byte 2: not UTF-8");
	assert_refused("[\"\xed\xa0\x80\"]", "malformed JSON at byte 2: not UTF-8");
	assert_refused("[\"\\\xff\"]", "malformed JSON at byte 3: not UTF-8");
	assert_refused("[[[[[1]]]]]", "the JSON is nested deeper than 4 levels at byte 4");
	assert_refused_len("{}\0{}", 5, "malformed JSON at byte 2: unexpected character");
}

static void assert_number(const char *json, enum jin_kind kind, const char *digits)
{
	struct err e = ERR_INIT;
	struct jin *v;
	size_t len;
	assert_int_equal(jin_read(reader, json, strlen(json), &v, &e), ERR_OK);
	assert_int_equal(jin_kind(v), kind);
	assert_string_equal(jin_text(v, &len), digits);
	assert_int_equal(len, strlen(digits));
	jin_free(v);
}

static void test_json_in_keeps_numbers(void **state)
{
	(void)state;
	assert_number("0", JIN_INTEGER, "0");
	assert_number("9223372036854775807", JIN_INTEGER, "9223372036854775807");
	assert_number("-9223372036854775808", JIN_INTEGER, "-9223372036854775808");
	assert_number("9223372036854775808", JIN_INTEGER, "9223372036854775808");
	assert_number("9999999999999999999", JIN_INTEGER, "9999999999999999999");
	assert_number("18446744073709551615", JIN_INTEGER, "18446744073709551615");
	assert_number("1.10", JIN_DECIMAL, "1.10");
	assert_number("-1E+05", JIN_DECIMAL, "-1E+05");
	assert_number("0.1000000000000000055511151231257827", JIN_DECIMAL, "0.1000000000000000055511151231257827");
	assert_number("1e999", JIN_DECIMAL, "1e999");
}

static void test_json_in_values(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct jin *v;
	size_t len;
	const char json[] = "{\"a\":[true,null,\"x\\u0000y\\\"\"],\"b\":1,\"b\":\"\xc3\xa9\"}";
	assert_int_equal(jin_read(reader, json, sizeof json - 1, &v, &e), ERR_OK);
	const struct jin *a = jin_field(v, "a");
	assert_int_equal(jin_count(a), 3);
	assert_int_equal(jin_kind(jin_item(a, 0)), JIN_BOOL);
	assert_true(jin_true(jin_item(a, 0)));
	assert_int_equal(jin_kind(jin_item(a, 1)), JIN_NULL);
	assert_memory_equal(jin_text(jin_item(a, 2), &len), "x\0y\"", 4);
	assert_int_equal(len, 4);
	assert_null(jin_item(a, 3));
	assert_string_equal(jin_text(jin_field(v, "b"), &len), "\xc3\xa9"); /* the last one counts */
	assert_int_equal(jin_kind(jin_field(v, "missing")), JIN_NULL);
	assert_int_equal(jin_count(jin_field(v, "b")), 0);
	jin_free(v);
}

static void test_json_out(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1000);
	jout_open(&b, '{');
	jout_field(&b, "a", "q\" b\\ \n\r\t\x01\x7f \xc3\xa9 :");
	jout_field_i64(&b, "min", INT64_MIN);
	jout_name(&b, "list");
	jout_open(&b, '[');
	jout_i64(&b, 0);
	jout_bool(&b, true);
	jout_null(&b);
	jout_open(&b, '[');
	jout_close(&b, ']');
	jout_text(&b, "");
	jout_close(&b, ']');
	jout_field_time(&b, "t", 0);
	jout_field_time_or_null(&b, "u", 0);
	jout_name_text(&b, "x\"");
	jout_raw(&b, "1.50");
	jout_close(&b, '}');
	assert_string_equal(buf_str(&b),
	        "{\"a\":\"q\\\" b\\\\ \\n\\r\\t\\u0001\\u007f \xc3\xa9 :\",\"min\":-9223372036854775808,"
	        "\"list\":[0,true,null,[],\"\"],\"t\":\"0001-01-01T00:00:00Z\",\"u\":null,\"x\\\"\":1.50}");
	buf_reset(&b);
	jout_text(&b, "a\xff\xc3z\xe2\x82");
	assert_string_equal(buf_str(&b), "\"a\\ufffd\\ufffdz\\ufffd\\ufffd\"");
	buf_fini(&b);
}

static void test_utf8(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {{"a", 1}, {"\x80", 0}, {"\xc1\xbf", 0}, {"\xc2\x80", 2}, {"\xe0\x9f\xbf", 0}, {"\xe0\xa0\x80", 3},
	        {"\xed\x9f\xbf", 3}, {"\xed\xa0\x80", 0}, {"\xf0\x8f\xbf\xbf", 0}, {"\xf0\x9f\x98\x80", 4},
	        {"\xf4\x8f\xbf\xbf", 4}, {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xe2\x82", 0}, {"", 0}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(utf8_char(cases[i].text, strlen(cases[i].text)), cases[i].len);
}

static void test_uuid(void **state)
{
	(void)state;
	char a[UUID_SIZE], b[UUID_SIZE];
	for (int i = 0; i < 500; i++) { /* beyond one supply of random bytes */
		assert_true(uuid_make(a));
		assert_true(uuid_make(b));
		assert_string_not_equal(a, b);
		assert_int_equal(strlen(a), 36);
		assert_int_equal(a[14], '4');
		assert_non_null(strchr("89ab", a[19]));
		assert_int_equal(strspn(a, "0123456789abcdef-"), 36);
	}
}

static void test_prom_label_is_escaped_and_utf8(void **state)
{
	(void)state;
	static const char value[] = "a\"b\\c\nd\xc3\xa4\xff\xc3";
	struct prom_label label = {"queue", value, sizeof value - 1};
	struct buf b;
	buf_init(&b, 200);
	prom_i64(&b, "x", &label, 1, 1);
	assert_string_equal(buf_str(&b), "x{queue=\"a\\\"b\\\\c\\nd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\"} 1\n");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_prom_label_is_escaped_and_utf8),
	        cmocka_unit_test(test_json_in_refuses),
	        cmocka_unit_test(test_json_in_keeps_numbers),
	        cmocka_unit_test(test_json_in_values),
	        cmocka_unit_test(test_json_out),
	        cmocka_unit_test(test_utf8),
	        cmocka_unit_test(test_uuid),
	};
	return cmocka_run_group_tests_name("fcgi_json", tests, setup, teardown);
}
