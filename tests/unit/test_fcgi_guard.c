#include "fcgi/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/base/buf.h"

static struct buf sent;

static void begin(void)
{
	buf_fini(&sent);
	buf_init(&sent, 8u << 20);
}

static void add(int version, int type, unsigned id, const char *content, size_t len, unsigned char padding)
{
	buf_addc(&sent, (char)version);
	buf_addc(&sent, (char)type);
	buf_add_be16(&sent, (uint16_t)id);
	buf_add_be16(&sent, (uint16_t)len);
	buf_addc(&sent, (char)padding);
	buf_addc(&sent, 0);
	buf_add(&sent, content, len);
	for (int i = 0; i < padding; i++)
		buf_addc(&sent, 'p');
}

#define ADD(type, content) add(1, type, 7, content, sizeof(content) - 1, 0)
#define BEGIN_REQUEST "\0\1\1\0\0\0\0\0"

/* Whole, and again byte by byte: the same comes out. Each time the bytes are in a block of their own size, for asan. */
static enum guard_state look(size_t *taken)
{
	struct guard whole, single;
	unsigned char *copy = malloc(sent.len + 1);
	assert_non_null(copy);
	memcpy(copy, sent.data, sent.len);
	guard_reset(&whole);
	*taken = guard_feed(&whole, copy, sent.len);
	guard_reset(&single);
	size_t n = 0;
	for (size_t i = 0; i < sent.len; i++)
		n += guard_feed(&single, copy + i, 1);
	free(copy);
	assert_int_equal(single.state, whole.state);
	assert_string_equal(single.why, whole.why);
	if (whole.state != GUARD_REFUSED)
		assert_int_equal(n, *taken);
	return whole.state;
}

static void assert_refused(const char *why)
{
	size_t taken;
	struct guard g;
	assert_int_equal(look(&taken), GUARD_REFUSED);
	assert_int_equal(taken, 0);
	guard_reset(&g);
	guard_feed(&g, (const unsigned char *)sent.data, sent.len);
	assert_string_equal(g.why, why);
	assert_int_equal(guard_feed(&g, (const unsigned char *)"x", 1), 0);
}

static void assert_state(enum guard_state state, size_t taken)
{
	size_t n;
	assert_int_equal(look(&n), state);
	assert_int_equal(n, taken);
}

static void test_guard_takes_what_nginx_sends(void **state)
{
	(void)state;
	begin();
	ADD(1, BEGIN_REQUEST);
	ADD(4,
	        "\1\1Ab\x80\0\0\3\x80\0\0\2"
	        "abc"
	        "de");
	assert_state(GUARD_PARAMS, sent.len);
	ADD(4, "");
	assert_state(GUARD_STDIN, sent.len);
	add(1, 5, 7, "body", 4, 4);
	assert_state(GUARD_STDIN, sent.len);
	ADD(5, "");
	assert_state(GUARD_DONE, sent.len);
	size_t len = sent.len;
	ADD(1, BEGIN_REQUEST); /* the next one */
	assert_state(GUARD_DONE, len);
}

static void test_guard_takes_parameters_however_they_are_cut_into_records(void **state)
{
	(void)state;
	static const char pairs[] = "\4\x80\0\0\5"
	                            "name"
	                            "value"
	                            "\0\0"
	                            "\1\0x";
	for (size_t cut = 1; cut < sizeof pairs - 2; cut++) {
		begin();
		ADD(1, BEGIN_REQUEST);
		add(1, 4, 7, pairs, cut, 3);
		add(1, 4, 7, pairs + cut, sizeof pairs - 1 - cut, 255);
		ADD(4, "");
		ADD(5, "");
		assert_state(GUARD_DONE, sent.len);
	}
}

static void test_guard_refuses_lengths_that_overflow(void **state)
{
	(void)state;
	static const char *const lengths[] = {"\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xfe\1",
	        "\1\xff\xff\xff\xfe", "\xc0\0\0\0\xc0\0\0\0", "\x80\x10\0\1\x80\0\0\0"};
	static const size_t sizes[] = {8, 5, 5, 8, 8};
	for (size_t i = 0; i < 5; i++) {
		begin();
		ADD(1, BEGIN_REQUEST);
		add(1, 4, 7, lengths[i], sizes[i], 0);
		assert_refused("the length of a parameter");
	}
}

static void test_guard_refuses_more_parameters_than_it_allows(void **state)
{
	(void)state;
	char many[4096] = ""; /* pairs of nothing */
	begin();
	ADD(1, BEGIN_REQUEST);
	for (size_t i = 0; i < GUARD_PARAMS_MAX / sizeof many; i++)
		add(1, 4, 7, many, sizeof many, 0);
	assert_state(GUARD_PARAMS, sent.len);
	add(1, 4, 7, many, 2, 0);
	assert_refused("too many parameters");
}

static void test_guard_refuses_half_a_parameter(void **state)
{
	(void)state;
	static const char *const halves[] = {"\1", "\1\1A", "\x80\0\0", "\1\1Ab\2"};
	for (size_t i = 0; i < 4; i++) {
		begin();
		ADD(1, BEGIN_REQUEST);
		add(1, 4, 7, halves[i], i == 2 ? 3 : strlen(halves[i]), 0);
		ADD(4, "");
		assert_refused("the parameters end in the middle of one");
	}
}

static void test_guard_refuses_other_versions_and_roles(void **state)
{
	(void)state;
	for (int version = 0; version < 256; version += version == 0 ? 2 : 1) {
		begin();
		add(version, 1, 7, BEGIN_REQUEST, 8, 0);
		assert_refused("another version of FastCGI, or none");
	}
	static const char roles[][9] = {"\0\0\1\0\0\0\0\0", "\0\2\1\0\0\0\0\0", "\0\3\1\0\0\0\0\0", "\1\1\1\0\0\0\0\0"};
	for (size_t i = 0; i < 4; i++) {
		begin();
		add(1, 1, 7, roles[i], 8, 0);
		assert_refused("another role than that of a responder");
	}
}

/* Each type of record in each place where it does not belong, of the request, of none and of another one. */
static void test_guard_refuses_records_out_of_their_place(void **state)
{
	(void)state;
	static const int expected[] = {1, 4, 5};
	for (int place = 0; place < 3; place++)
		for (int type = 0; type < 256; type++)
			for (unsigned id = 0; id < 14; id += 7) {
				if (type == expected[place] && id == 7)
					continue;
				begin();
				if (place > 0)
					ADD(1, BEGIN_REQUEST);
				if (place > 1)
					ADD(4, "");
				add(1, type, id, BEGIN_REQUEST, 8, 0);
				assert_refused("a record that is not expected here");
			}
	begin();
	ADD(1, BEGIN_REQUEST);
	ADD(4, "");
	add(1, 5, 8, "", 0, 0);
	assert_refused("a record that is not expected here");
	begin();
	add(1, 1, 7, BEGIN_REQUEST, 7, 0);
	assert_refused("a record that is not expected here");
}

static void test_guard_refuses_padding_behind_an_empty_record(void **state)
{
	(void)state;
	begin();
	ADD(1, BEGIN_REQUEST);
	add(1, 4, 7, "", 0, 8);
	assert_refused("padding behind an empty record");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_guard_takes_what_nginx_sends),
	        cmocka_unit_test(test_guard_takes_parameters_however_they_are_cut_into_records),
	        cmocka_unit_test(test_guard_refuses_lengths_that_overflow),
	        cmocka_unit_test(test_guard_refuses_more_parameters_than_it_allows),
	        cmocka_unit_test(test_guard_refuses_half_a_parameter),
	        cmocka_unit_test(test_guard_refuses_other_versions_and_roles),
	        cmocka_unit_test(test_guard_refuses_records_out_of_their_place),
	        cmocka_unit_test(test_guard_refuses_padding_behind_an_empty_record),
	};
	int rc = cmocka_run_group_tests_name("fcgi_guard", tests, NULL, NULL);
	buf_fini(&sent);
	return rc;
}
