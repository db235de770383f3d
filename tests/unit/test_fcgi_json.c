#include <json-c/json.h>

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
	const struct jin *v;
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
	assert_refused("[[[[1]]]]", "the JSON is nested deeper than 4 levels at byte 4");
	assert_refused("{\"a\" 1}", "malformed JSON at byte 5: unexpected character");
	assert_refused("{\"a\":1,}", "malformed JSON at byte 7: unexpected character");
	assert_refused("[1}", "malformed JSON at byte 2: unexpected character");
	assert_refused("[1 2]", "malformed JSON at byte 3: unexpected character");
	assert_refused("[tru]", "malformed JSON at byte 4: unexpected character");
	assert_refused("[/**/]", "malformed JSON at byte 1: unexpected character");
	assert_refused("[\"\\x\"]", "malformed JSON at byte 3: an unknown escape");
	assert_refused("[\"\\u12g4\"]", "malformed JSON at byte 6: an escaped character has four hexadecimal digits");
	assert_refused("[\"\\u12", "malformed JSON: it ends in the middle");
	assert_refused("tr", "malformed JSON: it ends in the middle");
	assert_refused_len("{}\0{}", 5, "malformed JSON at byte 2: unexpected character");
}

static void assert_number(const char *json, enum jin_kind kind, const char *digits)
{
	struct err e = ERR_INIT;
	const struct jin *v;
	size_t len;
	assert_int_equal(jin_read(reader, json, strlen(json), &v, &e), ERR_OK);
	assert_int_equal(jin_kind(v), kind);
	assert_string_equal(jin_text(v, &len), digits);
	assert_int_equal(len, strlen(digits));
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
	const struct jin *v;
	size_t len;
	const char json[] = "{\"a\":[true,null,\"x\\u0000y\\\"\"],\"b\":1,\"b\":\"\xc3\xa9\"}";
	assert_int_equal(jin_read(reader, json, sizeof json - 1, &v, &e), ERR_OK);
	const struct jin *a = jin_field(v, "a");
	assert_int_equal(jin_count(a), 3);
	const struct jin *item = jin_first(a);
	assert_int_equal(jin_kind(item), JIN_BOOL);
	assert_true(jin_true(item));
	item = jin_next(item);
	assert_int_equal(jin_kind(item), JIN_NULL);
	item = jin_next(item);
	assert_memory_equal(jin_text(item, &len), "x\0y\"", 4);
	assert_int_equal(len, 4);
	assert_string_equal(jin_text(jin_field(v, "b"), &len), "\xc3\xa9"); /* the last one counts */
	assert_int_equal(jin_kind(jin_field(v, "missing")), JIN_NULL);
	assert_int_equal(jin_count(jin_field(v, "b")), 0);
}

static void test_json_in_decodes_strings(void **state)
{
	(void)state;
	static const struct {
		const char *json, *text;
	} cases[] = {{"\"\"", ""}, {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
	        {"\"\\u00e9\\u20AC\\uD83D\\uDE00\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
	        {"\"\\uD836\\uDE01\"", "\xf0\x9d\xa8\x81"}, /* U+1DA01, whose end looks like a surrogate */
	        {"\"\\ud83dx\"", "\xef\xbf\xbdx"},
	        {"\"\\ud83d\\u0041\"",
	                "\xef\xbf\xbd"
	                "A"},
	        {"\"\\ude00\"", "\xef\xbf\xbd"}, {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct err e = ERR_INIT;
		const struct jin *v;
		size_t len;
		assert_int_equal(jin_read(reader, cases[i].json, strlen(cases[i].json), &v, &e), ERR_OK);
		assert_string_equal(jin_text(v, &len), cases[i].text);
		assert_int_equal(len, strlen(cases[i].text));
	}
}

static void test_json_in_gives_back_what_a_large_document_took(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	const struct jin *v;
	const size_t n = 20000;
	char *text = malloc(2 * n + 2);
	assert_non_null(text);
	memset(text, ',', 2 * n + 1);
	for (size_t i = 0; i < n; i++)
		text[1 + 2 * i] = '7';
	text[0] = '[';
	text[2 * n] = ']';
	text[2 * n + 1] = '\0';
	for (int again = 0; again < 2; again++) {
		assert_int_equal(jin_read(reader, text, 2 * n + 1, &v, &e), ERR_OK);
		assert_int_equal(jin_count(v), n);
		size_t len, sevens = 0;
		const struct jin *item = jin_first(v);
		for (size_t i = 0; i < n; i++, item = jin_next(item))
			sevens += strcmp(jin_text(item, &len), "7") == 0;
		assert_int_equal(sevens, n);
		jin_done(reader);
	}
	free(text);
}

/* --- beside json-c --- */

static void assert_same(const struct jin *ours, struct json_object *theirs)
{
	size_t len;
	const char *text = jin_text(ours, &len);
	switch (json_object_get_type(theirs)) {
	case json_type_null:
		assert_int_equal(jin_kind(ours), JIN_NULL);
		return;
	case json_type_boolean:
		assert_int_equal(jin_kind(ours), JIN_BOOL);
		assert_int_equal(jin_true(ours), json_object_get_boolean(theirs));
		return;
	case json_type_int:
	case json_type_double:
		assert_int_equal(
		        jin_kind(ours), json_object_is_type(theirs, json_type_int) ? JIN_INTEGER : JIN_DECIMAL);
		assert_string_equal(text, json_object_get_string(theirs));
		return;
	case json_type_string:
		assert_int_equal(jin_kind(ours), JIN_TEXT);
		assert_int_equal(len, json_object_get_string_len(theirs));
		assert_memory_equal(text, json_object_get_string(theirs), len);
		return;
	case json_type_array: {
		size_t n = json_object_array_length(theirs);
		assert_int_equal(jin_kind(ours), JIN_ARRAY);
		assert_int_equal(jin_count(ours), n);
		const struct jin *item = jin_first(ours);
		for (size_t i = 0; i < n; i++, item = jin_next(item))
			assert_same(item, json_object_array_get_idx(theirs, i));
		return;
	}
	case json_type_object:
		assert_int_equal(jin_kind(ours), JIN_OBJECT);
		json_object_object_foreach(theirs, name, value)
		{
			assert_same(jin_field(ours, name), value);
		}
	}
}

/* A small generator, the same on each machine. */
static uint32_t draw(uint32_t below)
{
	static uint32_t x = 20261124;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x % below;
}

static void add_document(struct buf *b, int depth)
{
	static const char *const scalars[] = {"null", "true", "false", "0", "-0", "17", "-9223372036854775808",
	        "18446744073709551615", "1.50", "-2e-7", "\"\"", "\"a\"", "\"\xc3\xa9\\u00e9\\n\"",
	        "\"\\ud83d\\ude00 \\ud83d\"", "\"x\\u0000y\""};
	static const char *const names[] = {"\"a\"", "\"b\"", "\"job_id\"", "\"\\u0061\"", "\"\""};
	uint32_t kind = depth > 0 ? draw(4) : 3;
	if (kind > 1) {
		buf_addstr(b, scalars[draw(sizeof scalars / sizeof *scalars)]);
		return;
	}
	buf_addstr(b, kind == 0 ? "[" : "{ ");
	for (uint32_t i = 0, n = draw(5); i < n; i++) {
		buf_addstr(b, i > 0 ? "," : "");
		if (kind == 1) {
			buf_addstr(b, names[draw(sizeof names / sizeof *names)]);
			buf_addstr(b, draw(2) ? ":" : " : ");
		}
		add_document(b, depth - 1);
	}
	buf_addstr(b, kind == 0 ? " ]" : "}");
}

/* What we take json-c takes, and as the same; of what has been made for it we take all. */
static void test_json_in_reads_what_json_c_reads(void **state)
{
	(void)state;
	struct json_tokener *tokener = json_tokener_new_ex(4);
	struct buf b;
	buf_init(&b, 1 << 16);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	int taken = 0;
	for (int i = 0; i < 20000; i++) {
		struct err e = ERR_INIT;
		const struct jin *v;
		buf_reset(&b);
		add_document(&b, 3);
		bool whole = i % 2 == 0;
		if (!whole)
			b.data[draw((uint32_t)b.len)] = "{}[],:\"\\ 0e-.tn\x01\xc3"[draw(17)];
		enum err_code rc = jin_read(reader, buf_str(&b), b.len, &v, &e);
		assert_true(rc == ERR_OK || !whole);
		if (rc != ERR_OK)
			continue;
		taken++;
		json_tokener_reset(tokener);
		struct json_object *theirs = json_tokener_parse_ex(tokener, buf_str(&b), (int)b.len + 1);
		assert_int_equal(json_tokener_get_error(tokener), json_tokener_success);
		assert_same(v, theirs);
		json_object_put(theirs);
	}
	assert_in_range(taken, 10001, 19999); /* some of the broken ones are documents too */
	buf_fini(&b);
	json_tokener_free(tokener);
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
	        cmocka_unit_test(test_json_in_decodes_strings),
	        cmocka_unit_test(test_json_in_gives_back_what_a_large_document_took),
	        cmocka_unit_test(test_json_in_reads_what_json_c_reads),
	        cmocka_unit_test(test_json_out),
	        cmocka_unit_test(test_utf8),
	        cmocka_unit_test(test_uuid),
	};
	return cmocka_run_group_tests_name("fcgi_json", tests, setup, teardown);
}
