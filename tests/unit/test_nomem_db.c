/* Without memory: what the drivers make of types, names, values and rows. */
#include "tests/unit/nomem.h"

#include "shared/db/ch_bind.h"
#include "shared/db/ch_error.h"
#include "shared/db/ch_tsv.h"
#include "shared/db/ch_types.h"
#include "shared/db/column.h"
#include "shared/db/mysql_rows.h"
#include "shared/db/mysql_types.h"
#include "shared/db/pg_sink.h"
#include "shared/db/pg_source.h"
#include "shared/db/pg_types.h"
#include "shared/db/stmt_cache.h"
#include "shared/db/types.h"

/* --- columns --- */

static const char *const names[] = {
        "a", "A", "a", "", "a rather long name of a column", "ctid", "\xc3\x84", "\xc3\xa4"};
#define NAMES (sizeof names / sizeof *names)

static enum err_code fix_names(void *ctx, struct err *e)
{
	static const char *const reserved[] = {"ctid", NULL};
	const struct name_rules rules = {63, reserved, *(const bool *)ctx};
	struct columns c = {.engine = DB_POSTGRES}, copy = {.engine = DB_MYSQL};
	enum err_code rc = columns_resize(&c, NAMES, e);
	for (size_t i = 0; rc == ERR_OK && i < NAMES; i++)
		column_set_name(&c.list[i], names[i]);
	if (rc == ERR_OK)
		rc = columns_fix_names(&c, &rules, e);
	if (rc == ERR_OK)
		rc = columns_copy(&copy, &c, e);
	for (size_t i = 0; rc == ERR_OK && i < NAMES; i++)
		if (!copy.list[i].name[0] || strcmp(copy.list[i].name, c.list[i].name) != 0)
			nomem_wrong("a name");
	columns_fini(&c);
	columns_fini(&copy);
	return rc;
}

static void test_nomem_columns(void **state)
{
	(void)state;
	nomem_each("names", fix_names, &(bool){false});
	nomem_each("names whose case does not count", fix_names, &(bool){true});
}

/* --- statements --- */

struct fake {
	struct stmt kept;
	int number;
};

static void close_fake(struct stmt *s)
{
	if (((struct fake *)(void *)s)->number != 7)
		nomem_wrong("a statement that nobody got is closed");
}

/* uthash by itself ends the process. */
static enum err_code keep_statements(void *ctx, struct err *e)
{
	(void)ctx;
	const struct query queries[] = {{.task = "t", .sql = "SELECT 1"}, {.task = "u", .sql = "SELECT 1"}};
	struct stmt_cache c;
	enum err_code rc = ERR_OK;
	stmt_cache_init(&c, sizeof(struct fake), close_fake);
	for (size_t i = 0; rc == ERR_OK && i < 4; i++) {
		bool fresh;
		struct fake *f = (struct fake *)(void *)stmt_cache_get(&c, &queries[i % 2], &fresh);
		if (!f)
			rc = err_nomem(e);
		else if (fresh != (i < 2) || f->number != (fresh ? 0 : 7))
			nomem_wrong("another statement");
		else
			f->number = 7;
	}
	stmt_cache_clear(&c);
	return rc;
}

static void test_nomem_statements(void **state)
{
	(void)state;
	nomem_each("statements", keep_statements, NULL);
}

/* --- ClickHouse --- */

/* Adds a row's worth at a time and takes the lines. */
static enum err_code read_tsv(void *ctx, struct err *e)
{
	struct ch_tsv *t = ctx;
	char row[5000];
	memset(row, 'x', sizeof row);
	row[sizeof row - 1] = '\n';
	ch_tsv_reset(t);
	if (t->nomem)
		nomem_wrong("no memory after a reset");
	for (int i = 0; i < 40; i++) {
		size_t len = 0;
		if (!ch_tsv_add(t, row, sizeof row)) {
			if (!t->nomem)
				nomem_wrong("too long");
			return err_nomem(e);
		}
		if (i % 3 == 2 && (!ch_tsv_line(t, &len) || len != sizeof row - 1))
			nomem_wrong("a line");
	}
	return ERR_OK;
}

static enum err_code read_tsv_anew(void *ctx, struct err *e)
{
	struct ch_tsv t;
	(void)ctx;
	ch_tsv_init(&t, 1 << 20);
	enum err_code rc = read_tsv(&t, e);
	ch_tsv_fini(&t);
	return rc;
}

static enum err_code bind(void *ctx, struct err *e)
{
	static const char *const args[] = {"it's", NULL, "10"};
	struct ch_statement statement;
	struct buf *out = ctx, own;
	buf_init(&own, 1 << 20);
	if (!out)
		out = &own;
	buf_reset(out);
	enum err_code rc = ch_bind("SELECT * FROM t WHERE a = ? AND b IS ? AND c LIKE 'something long' LIMIT ?", args,
	        3, out, &statement, e);
	if (rc == ERR_OK && (!strstr(buf_str(out), "'it\\'s'") || !strstr(buf_str(out), "LIMIT 10")))
		nomem_wrong("the statement");
	buf_fini(&own);
	return rc;
}

static enum err_code read_types(void *ctx, struct err *e)
{
	struct column c = {.name = ""};
	enum ch_fix fix;
	bool known;
	(void)ctx;
	ch_error_set(e, 500, "Code: 60. DB::Exception: x", 26);
	struct cell cell = {"inf", 3};
	ch_type_fix(CH_FLOAT, &cell);
	return ch_type_read("Nullable(Decimal(9, 2))", 23, &c, &fix, &known, e);
}

static void test_nomem_clickhouse(void **state)
{
	(void)state;
	struct ch_tsv t;
	struct buf out;
	struct ch_statement statement;
	struct err e = ERR_INIT;
	ch_tsv_init(&t, 1 << 20);
	nomem_each("a stream", read_tsv_anew, NULL);
	nomem_each("a stream in memory that is there", read_tsv, &t);
	assert_false(ch_tsv_add(&t, "x", (1 << 20) + 1));
	assert_false(t.nomem);
	ch_tsv_fini(&t);
	nomem_each("arguments", bind, NULL);
	buf_init(&out, 1 << 20);
	nomem_each("arguments in memory that is there", bind, &out);
	buf_fini(&out);
	buf_init(&out, 10);
	assert_int_equal(ch_bind("SELECT 'longer than that'", NULL, 0, &out, &statement, &e), ERR_PERMANENT);
	buf_fini(&out);
	nomem_each("types", read_types, NULL);
}

/* --- what is written for a results database --- */

static struct column list[] = {{.name = "a", .kind = KIND_TEXT},
        {.name = "b", .kind = KIND_DECIMAL, .precision = 10, .scale = 2, .type = 1700, .typmod = (10 << 16 | 2) + 4},
        {.name = "c", .kind = KIND_BIT, .length = 8}, {.name = "d", .kind = KIND_BYTES}};
static const struct columns columns = {DB_POSTGRES, list, 4};
static const struct cell cells[] = {{"text'\n", 6}, {"1.50", 4}, {NULL, -1}, {"\0\1", 2}};

static enum err_code write_mysql(void *ctx, struct err *e)
{
	unsigned char forms[4];
	struct buf rows, sql;
	(void)ctx;
	for (size_t i = 0; i < 4; i++)
		forms[i] = (unsigned char)mysql_rows_form(&list[i]);
	buf_init(&rows, 1 << 20);
	buf_init(&sql, 1 << 20);
	mysql_rows_columns(&sql, &columns);
	mysql_rows_load(&sql, &columns);
	for (int i = 0; i < 20; i++)
		mysql_rows_add(&rows, &columns, forms, cells);
	for (const char *at = buf_ok(&rows) ? buf_str(&rows) : ""; *at;)
		at = mysql_rows_values(&sql, at, &columns, forms, true);
	mysql_rows_literal(&sql, "it's");
	bool ok = buf_ok(&rows) && buf_ok(&sql);
	if (!ok && !rows.nomem && !sql.nomem)
		nomem_wrong("the buffers are full");
	buf_fini(&rows);
	buf_fini(&sql);
	return ok ? ERR_OK : err_nomem(e);
}

static enum err_code declare(void *ctx, struct err *e)
{
	struct buf b;
	(void)ctx;
	buf_init(&b, 4096);
	for (size_t i = 0; i < 4; i++) {
		types_declare(DB_POSTGRES, &list[i], &b);
		types_declare(DB_MYSQL, &list[i], &b);
		pg_type_declare(&list[i], &b);
	}
	bool ok = buf_ok(&b);
	buf_fini(&b);
	return ok ? ERR_OK : err_nomem(e);
}

struct twenty_rows {
	struct feed feed;
	int left;
};

static enum err_code next_row(struct feed *feed, struct row *row, bool *done, struct err *e)
{
	struct twenty_rows *t = (struct twenty_rows *)(void *)feed;
	(void)e;
	*done = t->left-- == 0;
	*row = (struct row){.cells = cells, .bytes = 12};
	return ERR_OK;
}

static enum err_code write_pg(void *ctx, struct err *e)
{
	struct pg_sink s = {.mode = SINK_BUFFERING, .columns = &columns, .wire = *(enum wire *)ctx};
	struct twenty_rows rows = {{next_row}, 20};
	buf_init(&s.buf, 2 * PG_SINK_CHUNK);
	enum err_code rc = pg_sink_begin_rows(&s, e);
	if (rc == ERR_OK)
		rc = pg_sink_fill(&s.base, &rows.feed, e);
	if (rc == ERR_OK && s.rows != 20)
		nomem_wrong("rows are missing");
	free(s.forms);
	buf_fini(&s.buf);
	return rc;
}

static enum err_code take_columns(void *ctx, struct err *e)
{
	struct pg_source s = {.wire = WIRE_TEXT};
	(void)ctx;
	enum err_code rc = pg_source_take_columns(&s, &columns, e);
	free(s.cells);
	free(s.forms);
	return rc;
}

static void test_nomem_rows(void **state)
{
	(void)state;
	nomem_each("rows for MySQL", write_mysql, NULL);
	nomem_each("declarations", declare, NULL);
	nomem_each("rows for PostgreSQL", write_pg, &(enum wire){WIRE_TEXT});
	nomem_each("binary rows for PostgreSQL", write_pg, &(enum wire){WIRE_PG_BINARY});
	nomem_each("columns of PostgreSQL", take_columns, NULL);
}

static enum err_code write_numbers(void *ctx, struct err *e)
{
	char room[MYSQL_TEXT_ROOM];
	(void)ctx;
	(void)e;
	if (mysql_text_double(0.1, room) != 3 || mysql_text_float(1e30f, room) == 0 || mysql_text_i64(-7, room) != 2)
		nomem_wrong("a number");
	return ERR_OK;
}

static void test_nomem_numbers(void **state)
{
	(void)state;
	nomem_each("numbers", write_numbers, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nomem_columns),
	        cmocka_unit_test(test_nomem_statements),
	        cmocka_unit_test(test_nomem_clickhouse),
	        cmocka_unit_test(test_nomem_rows),
	        cmocka_unit_test(test_nomem_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
