#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/base/buf.h"
#include "shared/db/ch_tsv.h"

/* Adds text in pieces of `piece` bytes and writes what comes out as "[cell|cell]" lines; NULL is ~. */
static void read_all(const char *text, size_t len, size_t piece, size_t n, struct buf *out)
{
	struct ch_tsv t;
	struct cell cells[8];
	ch_tsv_init(&t, 1 << 20);
	for (size_t at = 0; at < len; at += piece) {
		size_t more = len - at < piece ? len - at : piece, line_len;
		char *exact = malloc(more); /* of its own size, for the address sanitizer */
		assert_non_null(exact);
		memcpy(exact, text + at, more);
		assert_true(ch_tsv_add(&t, exact, more));
		free(exact);
		for (char *line; (line = ch_tsv_line(&t, &line_len));) {
			size_t bytes, sum = 0;
			if (!ch_tsv_split(line, line_len, NULL, cells, n, &bytes)) {
				buf_addstr(out, "!");
				continue;
			}
			for (size_t i = 0; i < n; i++) {
				buf_addc(out, i ? '|' : '[');
				if (cells[i].len < 0)
					buf_addc(out, '~');
				else
					buf_add(out, cells[i].data, (size_t)cells[i].len);
				sum += cells[i].len > 0 ? (size_t)cells[i].len : 0;
			}
			buf_addc(out, ']');
			assert_int_equal(bytes, sum);
		}
	}
	size_t left;
	char *rest = ch_tsv_rest(&t, &left);
	if (rest)
		buf_addf(out, "...%.*s", (int)left, rest);
	ch_tsv_fini(&t);
}

static void expect(const char *text, size_t n, const char *want)
{
	for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		read_all(text, strlen(text), piece, n, &out);
		assert_string_equal(buf_str(&out), want);
		buf_fini(&out);
	}
}

static void test_ch_tsv_cuts_lines_and_cells_however_they_arrive(void **state)
{
	(void)state;
	expect("", 1, "");
	expect("a\n", 1, "[a]");
	expect("\n\n", 1, "[][]");
	expect("a\tb\n\t\nlong one\tx\n", 2, "[a|b][|][long one|x]");
	expect("1\t2\t3\n4\t5\t6", 3, "[1|2|3]...4\t5\t6");
}

static void test_ch_tsv_resolves_escapes(void **state)
{
	(void)state;
	expect("\\N\t\\\\N\n", 2, "[~|\\N]");
	expect("a\\tb\t\\n\\r\\b\\f\n", 2, "[a\tb|\n\r\b\f]");
	expect("it\\'s\tC:\\\\x\\\\\n", 2, "[it's|C:\\x\\]");
	expect("\\\\\t\\\\\\\\\n", 2, "[\\|\\\\]");
	expect("\\NN\n", 1, "!");
	expect("a\\x\n", 1, "!");
	expect("a\\\n", 1, "!");
}

static void test_ch_tsv_raw_columns_keep_their_escapes(void **state)
{
	(void)state;
	char line[] = "['a\\'b']\ta\\'b\t\\N\t\\N";
	const bool raw[] = {true, false, true, false};
	struct cell c[4];
	size_t bytes;
	assert_true(ch_tsv_split(line, strlen(line), raw, c, 4, &bytes));
	assert_int_equal(c[0].len, 8);
	assert_memory_equal(c[0].data, "['a\\'b']", 8);
	assert_int_equal(c[1].len, 3);
	assert_memory_equal(c[1].data, "a'b", 3);
	assert_true(c[2].len == -1 && c[3].len == -1);
	assert_int_equal(bytes, 11);
}

static void test_ch_tsv_a_line_of_another_number_of_cells_is_refused(void **state)
{
	(void)state;
	expect("a\na\tb\na\tb\tc\n", 2, "![a|b]!");
	expect("\n", 2, "!");
	char line[] = "x";
	struct cell c;
	size_t bytes;
	assert_false(ch_tsv_split(line, 1, NULL, &c, 0, &bytes));
	assert_int_equal(ch_tsv_count("", 0), 1);
	assert_int_equal(ch_tsv_count("a\tb\t", 4), 3);
}

static void test_ch_tsv_every_byte_comes_back(void **state)
{
	(void)state;
	char value[256], text[1024];
	size_t n = 0;
	for (int b = 0; b < 256; b++) {
		static const char plain[] = "\b\f\r\n\t\0'\\", letter[] = "bfrnt0'\\";
		const char *special = memchr(plain, b, sizeof plain - 1);
		value[b] = (char)b;
		if (special)
			text[n++] = '\\';
		text[n++] = special ? letter[special - plain] : (char)b;
	}
	text[n++] = '\n';
	for (size_t piece = 1; piece < n; piece += 7) {
		struct ch_tsv t;
		struct cell c;
		size_t len, bytes;
		ch_tsv_init(&t, 4096);
		for (size_t at = 0; at < n; at += piece) {
			assert_false(ch_tsv_has_line(&t));
			assert_true(ch_tsv_add(&t, text + at, n - at < piece ? n - at : piece));
		}
		char *line = ch_tsv_line(&t, &len);
		assert_true(ch_tsv_split(line, len, NULL, &c, 1, &bytes));
		assert_int_equal(c.len, 256);
		assert_int_equal(bytes, 256);
		assert_memory_equal(c.data, value, 256);
		ch_tsv_fini(&t);
	}
}

static void test_ch_tsv_memory_is_bounded_by_the_longest_line(void **state)
{
	(void)state;
	struct ch_tsv t;
	size_t len;
	ch_tsv_init(&t, 3 << 20);
	char *long_line = malloc(2 << 20);
	assert_non_null(long_line);
	memset(long_line, 'x', 2 << 20);
	long_line[(2 << 20) - 1] = '\n';
	for (int i = 0; i < 100; i++) {
		assert_true(ch_tsv_add(&t, long_line, 2 << 20));
		assert_non_null(ch_tsv_line(&t, &len));
		assert_int_equal(len, (2 << 20) - 1);
	}
	assert_true(t.cap <= 4 << 20);
	for (int i = 0; i < 100000; i++) {
		assert_true(ch_tsv_add(&t, "0123456789\n0123", 15));
		while (ch_tsv_line(&t, &len))
			assert_true(len == 10 || len == 14);
	}
	assert_true(t.cap <= 1 << 20);
	ch_tsv_reset(&t);
	assert_null(ch_tsv_rest(&t, &len));
	/* A line that never ends is refused before it fills the memory. */
	int added = 0;
	while (ch_tsv_add(&t, long_line, 1 << 20))
		added++;
	assert_int_equal(added, 3);
	free(long_line);
	ch_tsv_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ch_tsv_cuts_lines_and_cells_however_they_arrive),
	        cmocka_unit_test(test_ch_tsv_resolves_escapes),
	        cmocka_unit_test(test_ch_tsv_raw_columns_keep_their_escapes),
	        cmocka_unit_test(test_ch_tsv_a_line_of_another_number_of_cells_is_refused),
	        cmocka_unit_test(test_ch_tsv_every_byte_comes_back),
	        cmocka_unit_test(test_ch_tsv_memory_is_bounded_by_the_longest_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
