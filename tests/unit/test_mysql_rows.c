#include "shared/db/mysql_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX 8

/* Columns of these kinds, named a, b, c ...; ended by -1. */
static void make(struct columns *c, const int *kinds, unsigned char *forms)
{
	size_t n = 0;
	while (kinds[n] >= 0)
		n++;
	assert_true(n <= MAX);
	*c = (struct columns){0};
	assert_int_equal(columns_resize(c, n, NULL), ERR_OK);
	for (size_t i = 0; i < n; i++) {
		c->list[i].name[0] = (char)('a' + i);
		c->list[i].kind = (enum kind)kinds[i];
		c->list[i].length = 10;
		forms[i] = (unsigned char)mysql_rows_form(&c->list[i]);
	}
}
#define KINDS(...) ((const int[]){__VA_ARGS__, -1})

static struct cell cell(const char *text)
{
	return (struct cell){.data = text, .len = text ? (int)strlen(text) : -1};
}

/* The rows of one column of texts, as LOAD DATA reads them. */
static void check_cell(const char *data, int len, const char *wanted)
{
	struct columns c;
	unsigned char forms[MAX];
	struct buf b;
	make(&c, KINDS(KIND_TEXT), forms);
	buf_init(&b, 1 << 20);
	mysql_rows_add(&b, &c, forms, &(struct cell){.data = data, .len = len});
	assert_true(buf_ok(&b));
	assert_string_equal(buf_str(&b), wanted);
	buf_fini(&b);
	columns_fini(&c);
}

static void test_mysql_rows_escape_what_load_data_would_take_for_its_own(void **state)
{
	(void)state;
	check_cell("plain", 5, "plain\n");
	check_cell("", 0, "\n");
	check_cell(NULL, -1, "\\N\n");
	check_cell("\\N", 2, "\\\\N\n");
	check_cell("NULL", 4, "NULL\n");
	check_cell("a\tb\nc\rd\\e'f\"g\0h", 15, "a\\tb\\nc\\rd\\\\e\\'f\"g\\0h\n");
	check_cell("\xff\xfe\x80", 3, "\xff\xfe\x80\n");
}

static void test_mysql_rows_escape_long_cells_too(void **state)
{
	(void)state;
	enum { N = 100000 };
	char *long_text = malloc(N), *wanted = malloc(2 * N + 2);
	assert_non_null(long_text);
	assert_non_null(wanted);
	memset(long_text, '\'', N);
	for (size_t i = 0; i < N; i++)
		memcpy(wanted + 2 * i, "\\'", 2);
	memcpy(wanted + (size_t)2 * N, "\n", 2);
	check_cell(long_text, N, wanted);
	free(long_text);
	free(wanted);
}

static void check_values(
        const struct columns *c, const unsigned char *forms, const struct cell *cells, bool aliases, const char *wanted)
{
	struct buf rows, sql;
	buf_init(&rows, 1 << 20);
	buf_init(&sql, 1 << 20);
	mysql_rows_add(&rows, c, forms, cells);
	mysql_rows_add(&rows, c, forms, cells);
	const char *next = mysql_rows_values(&sql, buf_str(&rows), c, forms, aliases);
	assert_ptr_equal(next, rows.data + rows.len / 2);
	assert_string_equal(buf_str(&sql), wanted);
	assert_ptr_equal(mysql_rows_values(&sql, next, c, forms, aliases), rows.data + rows.len);
	buf_fini(&rows);
	buf_fini(&sql);
}

static void test_mysql_rows_become_literals_of_their_kinds(void **state)
{
	(void)state;
	struct columns c;
	unsigned char forms[MAX];
	make(&c, KINDS(KIND_INT32, KIND_TEXT, KIND_BYTES, KIND_BIT), forms);
	check_values(&c, forms, (const struct cell[]){cell("-7"), cell("it's\t\\"), cell("\xff'"), cell("101")}, false,
	        "'-7', 'it\\'s\\t\\\\', _binary'\xff\\'', b'101'");
	check_values(&c, forms, (const struct cell[]){cell(NULL), cell(NULL), cell(NULL), cell(NULL)}, true,
	        "NULL AS `a`, NULL AS `b`, NULL AS `c`, NULL AS `d`");
	check_values(&c, forms, (const struct cell[]){cell(""), cell("\\N"), cell(""), cell("0")}, false,
	        "'', '\\\\N', _binary'', b'0'");
	columns_fini(&c);
}

static void test_mysql_rows_values_without_a_counterpart_become_null(void **state)
{
	(void)state;
	struct columns c;
	unsigned char forms[MAX];
	make(&c, KINDS(KIND_DOUBLE, KIND_DATE, KIND_TEXT), forms);
	check_values(&c, forms, (const struct cell[]){cell("NaN"), cell("infinity"), cell("NaN")}, false,
	        "NULL, NULL, 'NaN'");
	check_values(&c, forms, (const struct cell[]){cell("1e308"), cell("0000-00-00"), cell("")}, false,
	        "'1e308', '0000-00-00', ''");
	columns_fini(&c);
}

static void check_text(void (*write)(struct buf *, const char *), const char *text, const char *wanted)
{
	struct buf b;
	buf_init(&b, 1024);
	write(&b, text);
	assert_string_equal(buf_str(&b), wanted);
	buf_fini(&b);
}

static void test_mysql_rows_names_and_literals_are_quoted(void **state)
{
	(void)state;
	check_text(mysql_rows_name, "plain", "`plain`");
	check_text(mysql_rows_name, "a`b``", "`a``b`````");
	check_text(mysql_rows_literal, "x'; DROP TABLE y; -- \\", "'x\\'; DROP TABLE y; -- \\\\'");
}

static void test_mysql_rows_load_names_every_column_and_converts_bits(void **state)
{
	(void)state;
	struct columns c;
	unsigned char forms[MAX];
	struct buf b;
	make(&c, KINDS(KIND_INT32, KIND_BIT, KIND_TEXT, KIND_BIT), forms);
	buf_init(&b, 1024);
	mysql_rows_load(&b, &c);
	assert_string_equal(buf_str(&b),
	        " CHARACTER SET binary (`a`, @v1, `c`, @v3) SET `b` = CAST(CONV(@v1, 2, 10) AS UNSIGNED),"
	        " `d` = CAST(CONV(@v3, 2, 10) AS UNSIGNED)");
	buf_fini(&b);
	columns_fini(&c);
}

static void test_mysql_rows_columns_that_would_be_too_long_for_a_row_become_text(void **state)
{
	(void)state;
	struct columns c;
	unsigned char forms[MAX];
	struct buf b;
	make(&c, KINDS(KIND_VARCHAR, KIND_VARCHAR, KIND_CHAR, KIND_VARBINARY, KIND_VARBINARY, KIND_BINARY), forms);
	const int64_t lengths[] = {4000, 5000, 200, 15000, 15001, 100};
	for (size_t i = 0; i < c.n; i++)
		c.list[i].length = lengths[i];
	buf_init(&b, 1024);
	mysql_rows_columns(&b, &c);
	assert_string_equal(buf_str(&b),
	        "(`a` VARCHAR(4000), `b` TEXT, `c` CHAR(200), `d` VARBINARY(15000), `e` BLOB, `f` BINARY(100))");
	buf_fini(&b);
	columns_fini(&c);
}

static void test_mysql_rows_aliases_keep_names_that_begin_visibly(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		bool keeps;
	} cases[] = {{"a", true}, {"Ünï", true}, {"1 x", true}, {" a", false}, {"\ta", false}, {"\x7f", false}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct columns c = {0};
		assert_int_equal(columns_resize(&c, 2, NULL), ERR_OK);
		column_set_name(&c.list[0], "first");
		column_set_name(&c.list[1], cases[i].name);
		assert_int_equal(mysql_rows_keeps_names(&c), cases[i].keeps);
		columns_fini(&c);
	}
}

static void test_mysql_rows_hash_tells_texts_and_their_border(void **state)
{
	(void)state;
	static const char *const texts[][2] = {{"a", "b"}, {"ab", ""}, {"", "ab"}, {"b", "a"}, {"a", "B"}};
	char hashes[5][MYSQL_ROWS_HASH];
	for (size_t i = 0; i < 5; i++) {
		mysql_rows_hash(texts[i][0], texts[i][1], hashes[i]);
		assert_int_equal(strlen(hashes[i]), 16);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(hashes[i], hashes[j]);
	}
}

static void test_mysql_rows_a_full_buffer_shows(void **state)
{
	(void)state;
	struct columns c;
	unsigned char forms[MAX];
	struct buf b;
	make(&c, KINDS(KIND_TEXT), forms);
	buf_init(&b, 10);
	const struct cell long_cell = cell("more than ten bytes");
	mysql_rows_add(&b, &c, forms, &long_cell);
	assert_false(buf_ok(&b));
	buf_fini(&b);
	columns_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_mysql_rows_escape_what_load_data_would_take_for_its_own),
	        cmocka_unit_test(test_mysql_rows_escape_long_cells_too),
	        cmocka_unit_test(test_mysql_rows_become_literals_of_their_kinds),
	        cmocka_unit_test(test_mysql_rows_values_without_a_counterpart_become_null),
	        cmocka_unit_test(test_mysql_rows_names_and_literals_are_quoted),
	        cmocka_unit_test(test_mysql_rows_load_names_every_column_and_converts_bits),
	        cmocka_unit_test(test_mysql_rows_columns_that_would_be_too_long_for_a_row_become_text),
	        cmocka_unit_test(test_mysql_rows_aliases_keep_names_that_begin_visibly),
	        cmocka_unit_test(test_mysql_rows_hash_tells_texts_and_their_border),
	        cmocka_unit_test(test_mysql_rows_a_full_buffer_shows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
