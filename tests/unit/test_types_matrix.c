/* Holds the README's table of types against the code. Runs in the root of the repository. With --print it prints the table
 * instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/base/buf.h"
#include "shared/db/ch_types.h"
#include "shared/db/mysql_ops.h"
#include "shared/db/pg_types.h"
#include "shared/db/types.h"

#define ROWS_MAX 128

typedef void (*each_fn)(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx);

static const struct {
	const char *name;
	enum db_engine engine;
	each_fn each;
} sources[] = {
        {"PostgreSQL", DB_POSTGRES, pg_types_each},
        {"MySQL, MariaDB", DB_MYSQL, mysql_types_each},
        {"ClickHouse", DB_CLICKHOUSE, ch_types_each},
};
#define SOURCES (sizeof sources / sizeof *sources)

/* Native types with the same columns in both results engines. */
struct line {
	struct buf natives, results[2];
};

struct block {
	enum db_engine engine;
	struct line lines[ROWS_MAX];
	size_t n, n_natives;
};

static void declare(enum db_engine source, enum db_engine results, const struct column *c, struct buf *out)
{
	if (source == DB_POSTGRES && results == DB_POSTGRES && !c->as_text) {
		buf_addstr(out, "the same");
		return;
	}
	buf_addc(out, '`');
	types_declare(results, c, out);
	buf_addc(out, '`');
}

static void add(void *ctx, const char *native, const struct column *c)
{
	struct block *b = ctx;
	assert_true(b->n < ROWS_MAX);
	struct line *new = &b->lines[b->n], *line = b->lines;
	buf_init(&new->natives, 4096);
	for (int i = 0; i < 2; i++) {
		buf_init(&new->results[i], 256);
		declare(b->engine, i ? DB_MYSQL : DB_POSTGRES, c, &new->results[i]);
	}
	while (line < new &&
	        (strcmp(buf_str(&line->results[0]), buf_str(&new->results[0])) != 0 ||
	                strcmp(buf_str(&line->results[1]), buf_str(&new->results[1])) != 0))
		line++;
	buf_addf(&line->natives, "%s`%s`", line->natives.len ? ", " : "", native);
	b->n_natives++;
	if (line == new) {
		b->n++;
		return;
	}
	buf_fini(&new->results[0]);
	buf_fini(&new->results[1]);
}

static size_t print(FILE *out)
{
	size_t natives = 0;
	fputs("| source | in PostgreSQL | in MySQL, MariaDB |\n| --- | --- | --- |\n", out);
	for (size_t s = 0; s < SOURCES; s++) {
		struct block *b = calloc(1, sizeof *b);
		if (!b)
			abort();
		b->engine = sources[s].engine;
		sources[s].each(add, b);
		fprintf(out, "| **%s** | | |\n", sources[s].name);
		for (size_t i = 0; i < b->n; i++) {
			struct line *l = &b->lines[i];
			fprintf(out, "| %s | %s | %s |\n", buf_str(&l->natives), buf_str(&l->results[0]),
			        buf_str(&l->results[1]));
			buf_fini(&l->natives);
			buf_fini(&l->results[0]);
			buf_fini(&l->results[1]);
		}
		natives += b->n_natives;
		free(b);
	}
	return natives;
}

static char *table(size_t *natives)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	assert_non_null(f);
	*natives = print(f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	struct buf b;
	buf_init(&b, 1 << 24);
	for (int c; (c = fgetc(f)) != EOF;)
		buf_addc(&b, (char)c);
	fclose(f);
	return buf_take(&b);
}

static void test_types_readme_has_the_table(void **state)
{
	(void)state;
	size_t natives;
	char *readme = slurp("README.md"), *expected = table(&natives);
	assert_non_null(readme);
	const char *marker = strstr(readme, "<!-- types -->\n");
	bool same = marker && strncmp(marker + strlen("<!-- types -->\n"), expected, strlen(expected)) == 0;
	free(readme);
	free(expected);
	if (!same)
		fail_msg("put what `make type-matrix` prints behind <!-- types --> in README.md");
	assert_true(natives > 50);
}

/* What the table says of some types that are easily got wrong. */
static void test_types_matrix_is_exact_where_the_target_has_the_type(void **state)
{
	(void)state;
	static const char *const parts[] = {
	        " `numeric(18,4)` | the same | `DECIMAL(18,4)` |\n",
	        " `timestamp(3) with time zone` | the same | `DATETIME(3)` |\n",
	        " `enums, composites, others` | `text` | `LONGTEXT` |\n",
	};
	size_t natives, found = 0;
	char *text = table(&natives);
	while (found < sizeof parts / sizeof *parts && strstr(text, parts[found]))
		found++;
	free(text);
	if (found < sizeof parts / sizeof *parts)
		fail_msg("the table has no %s", parts[found]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_types_readme_has_the_table),
	        cmocka_unit_test(test_types_matrix_is_exact_where_the_target_has_the_type),
	};
	if (argc > 1 && strcmp(argv[1], "--print") == 0) {
		print(stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
