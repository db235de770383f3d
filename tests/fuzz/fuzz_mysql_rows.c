/* Rows and values of MySQL. Input: a byte that chooses. Rows: a byte of columns, two of forms and NULLs, and the cells'
 * bytes; they come back out of LOAD DATA's form and out of literals, each of which is one token of a statement. Values: as
 * the binary protocol has them; the numbers come back from their texts. Names: they are quoted as one token. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shared/db/mysql_rows.h"
#include "shared/db/mysql_types.h"
#include "shared/db/types.h"
#include "shared/sql/placeholders.h"
#include "tests/fuzz/fuzz.h"

#define COLUMNS_MAX 8

/* --- rows --- */

/* What LOAD DATA makes of the escapes; returns the new length. */
static size_t unescape(char *text, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (c == '\\' && i + 1 < len) {
			c = text[++i];
			c = c == '0' ? '\0' : c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
		}
		text[n++] = c;
	}
	return n;
}

struct tokens {
	const char *first;
	size_t len, n;
};

static void count(void *ctx, enum sql_token kind, const char *at, size_t len)
{
	struct tokens *t = ctx;
	(void)kind;
	if (t->n++ == 0)
		*t = (struct tokens){at, len, t->n};
}

/* The text is one token to the reader of statements (shared/sql), which is another's work. */
static void check_token(const char *sql, size_t len)
{
	struct tokens t = {NULL, 0, 0};
	struct placeholders out;
	struct err e = ERR_INIT;
	enum err_code rc = placeholders_walk(DB_MYSQL, sql, len, count, &t, &out, &e);
	FUZZ_CHECK(rc == ERR_OK && t.n == 1 && t.first == sql && t.len == len && out.count == 0, "%s: %.*s", e.text,
	        (int)len, sql);
}

static void check_row(const struct columns *columns, const unsigned char *forms, const struct cell *cells)
{
	struct buf rows, sql;
	buf_init(&rows, 1 << 22);
	buf_init(&sql, 1 << 22);
	mysql_rows_add(&rows, columns, forms, cells);
	mysql_rows_add(&rows, columns, forms, cells);
	char *at = rows.data;
	size_t half = rows.len / 2;
	FUZZ_CHECK(buf_ok(&rows) && memchr(at, '\n', rows.len) == at + half - 1, "a line feed inside of a row");
	const char *behind = mysql_rows_values(&sql, at, columns, forms, false);
	FUZZ_CHECK(behind == at + half, "the next row at %zd, not %zu", behind - at, half);
	behind = mysql_rows_values(&sql, behind, columns, forms, true);
	FUZZ_CHECK(behind == at + rows.len && buf_ok(&sql), "the end at %zd", behind - at);
	const char *literal = sql.data;
	for (size_t i = 0; i < columns->n; i++) {
		size_t len = strcspn(at, i + 1 < columns->n ? "\t" : "\n");
		bool null = len == 2 && memcmp(at, "\\N", 2) == 0;
		literal += i ? 2 : 0;
		if (!null) {
			literal += forms[i] == MYSQL_CELL_BYTES ? 7 : forms[i] == MYSQL_CELL_BIT ? 1 : 0;
			check_token(literal, len + 2);
			char *text = fuzz_copy(at, len);
			size_t n = unescape(text, len);
			FUZZ_CHECK(cells[i].data && cells[i].len == (int)n && memcmp(text, cells[i].data, n) == 0,
			        "cell %zu: %.*s", i, (int)len, at);
			free(text);
		}
		literal += null ? 4 : len + 2;
		bool lacks = forms[i] == MYSQL_CELL_PARTIAL && cells[i].len >= 0 &&
		        !types_has_value(DB_MYSQL, &columns->list[i], cells[i].data, (size_t)cells[i].len);
		FUZZ_CHECK(null == (cells[i].len < 0 || lacks), "cell %zu", i);
		at += len + 1;
	}
	buf_fini(&rows);
	buf_fini(&sql);
}

static void check_rows(struct fuzz_in *in)
{
	static const enum kind kinds[] = {
	        KIND_TEXT, KIND_BYTES, KIND_BIT, KIND_DATE, KIND_DOUBLE, KIND_UNIXTIME, KIND_VARCHAR, KIND_DECIMAL};
	struct columns columns = {.engine = DB_POSTGRES};
	struct err e = ERR_INIT;
	struct cell cells[COLUMNS_MAX] = {{NULL, -1}};
	unsigned char forms[COLUMNS_MAX] = {0};
	char *texts[COLUMNS_MAX];
	size_t n = 1 + fuzz_byte(in) % COLUMNS_MAX;
	unsigned nulls = fuzz_byte(in);
	if (columns_resize(&columns, n, &e) != ERR_OK)
		abort();
	for (size_t i = 0; i < n; i++) {
		struct column *c = &columns.list[i];
		c->kind = kinds[fuzz_byte(in) % 8];
		c->length = c->kind == KIND_BIT ? 8 : fuzz_byte(in);
		c->precision = 10;
		column_set_name(c, "a`b");
		forms[i] = (unsigned char)mysql_rows_form(c);
		size_t left = in->left / (n - i);
		struct fuzz_in mine = {in->at, left};
		in->at += left;
		in->left -= left;
		char *text = fuzz_rest(&mine, &left);
		texts[i] = fuzz_copy(text, left);
		free(text);
		cells[i] = nulls >> i & 1 ? (struct cell){NULL, -1} : (struct cell){texts[i], (int)left};
	}
	check_row(&columns, forms, cells);
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	columns_fini(&columns);
}

/* --- names --- */

static void check_names(struct fuzz_in *in)
{
	static const char *const reserved[] = {"ctid", NULL};
	static const struct name_rules all[] = {{63, reserved, false}, {64, NULL, true}};
	struct columns columns = {.engine = DB_MYSQL};
	struct err e = ERR_INIT;
	const struct name_rules *rules = &all[fuzz_byte(in) & 1];
	if (columns_resize(&columns, 1 + fuzz_byte(in) % 12, &e) != ERR_OK)
		abort();
	for (size_t i = 0; i < columns.n; i++) {
		char *name = fuzz_text(in);
		column_set_name(&columns.list[i], name);
		columns.list[i].kind = KIND_TEXT;
		free(name);
	}
	FUZZ_CHECK(columns_fix_names(&columns, rules, &e) == ERR_OK, "%s", e.text);
	struct buf b;
	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < columns.n; i++) {
		const char *name = columns.list[i].name;
		FUZZ_CHECK(name[0] && strlen(name) <= rules->max, "column %zu: %s", i, name);
		FUZZ_CHECK(rules->fold || strcmp(name, "ctid") != 0, "column %zu", i);
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(strcmp(name, columns.list[k].name) != 0, "columns %zu and %zu: %s", k, i, name);
		buf_reset(&b);
		mysql_rows_name(&b, name);
		check_token(b.data, b.len);
		buf_reset(&b);
		mysql_rows_literal(&b, name);
		check_token(b.data, b.len);
	}
	buf_reset(&b);
	mysql_rows_columns(&b, &columns);
	mysql_rows_load(&b, &columns);
	FUZZ_CHECK(buf_ok(&b), "no declaration");
	(void)mysql_rows_keeps_names(&columns);
	buf_fini(&b);
	columns_fini(&columns);
}

/* --- values --- */

/* The same number, and of zero the same sign. */
static bool same_double(double a, double b)
{
	return a == b && !signbit(a) == !signbit(b);
}

static void check_numbers(int64_t bits)
{
	char room[MYSQL_TEXT_ROOM + 1];
	double d;
	float f;
	uint32_t low = (uint32_t)bits;
	memcpy(&d, &bits, sizeof d);
	memcpy(&f, &low, sizeof f);
	size_t n = mysql_text_double(d, room);
	room[n] = '\0';
	FUZZ_CHECK(n > 0 && n < MYSQL_TEXT_ROOM, "%zu bytes", n);
	FUZZ_CHECK(isnan(d) ? strcmp(room, "NaN") == 0 : same_double(strtod(room, NULL), d), "%a is %s", d, room);
	n = mysql_text_float(f, room);
	room[n] = '\0';
	bool nan = isnan(f);
	float twice = (float)strtod(room, NULL); /* as MySQL reads it: by way of a double */
	FUZZ_CHECK(nan ? strcmp(room, "NaN") == 0 : same_double((double)twice, (double)f), "%a is %s", (double)f, room);
	FUZZ_CHECK(nan || same_double((double)strtof(room, NULL), (double)f), "%a is %s", (double)f, room);
	n = mysql_text_i64(bits, room);
	room[n] = '\0';
	FUZZ_CHECK(strtoll(room, NULL, 10) == bits, "%lld is %s", (long long)bits, room);
	n = mysql_text_u64((uint64_t)bits, room);
	room[n] = '\0';
	FUZZ_CHECK(strtoull(room, NULL, 10) == (uint64_t)bits, "%llu is %s", (unsigned long long)bits, room);
}

/* One value of the form, whole: the row that the server sent was checked by libmariadb. */
static void check_value(struct fuzz_in *in)
{
	static const unsigned char sizes[] = {[MYSQL_FORM_INT8] = 1,
	        [MYSQL_FORM_INT16] = 2,
	        [MYSQL_FORM_INT32] = 4,
	        [MYSQL_FORM_INT64] = 8,
	        [MYSQL_FORM_YEAR] = 2,
	        [MYSQL_FORM_FLOAT] = 4,
	        [MYSQL_FORM_DOUBLE] = 8,
	        [MYSQL_FORM_TIME] = 0};
	struct mysql_reader r = {.form = (enum mysql_form)(fuzz_byte(in) % (MYSQL_FORM_TIME + 1))};
	unsigned bits = fuzz_byte(in);
	r.is_unsigned = bits & 1;
	r.digits = r.form == MYSQL_FORM_BIT ? 1 + (int)(bits >> 1) % 64 : (int)(bits >> 1) % 7;
	unsigned char value[300] = {0};
	size_t size = sizes[r.form], head = 0;
	if (size == 0) {
		size_t most = r.form >= MYSQL_FORM_DATE ? 12 : 250;
		size = in->left < most ? in->left : most;
		value[0] = (unsigned char)size;
		head = 1;
	}
	for (size_t i = 0; i < size; i++)
		value[head + i] = (unsigned char)fuzz_byte(in);
	char *exact = fuzz_copy(value, head + size), room[MYSQL_TEXT_ROOM];
	struct cell c = {NULL, -1};
	unsigned char *at = (unsigned char *)exact;
	mysql_type_read(&r, &at, room, &c);
	FUZZ_CHECK(at == (unsigned char *)exact + head + size, "%zd bytes of %zu", at - (unsigned char *)exact, size);
	FUZZ_CHECK(c.len >= 0 && (c.data == room ? c.len <= MYSQL_TEXT_ROOM : c.len == (int)size), "%d bytes", c.len);
	for (int i = 0; c.data == room && i < c.len; i++)
		FUZZ_CHECK(
		        c.data[i] > ' ' || (c.data[i] == ' ' && r.form == MYSQL_FORM_DATETIME), "%.*s", c.len, c.data);
	free(exact);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	switch (fuzz_byte(&in) % 4) {
	case 0:
		check_rows(&in);
		break;
	case 1:
		check_names(&in);
		break;
	case 2:
		check_numbers(fuzz_i64(&in));
		break;
	default:
		check_value(&in);
		break;
	}
}
