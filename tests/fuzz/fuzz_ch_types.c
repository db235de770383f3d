/* ClickHouse's types and their values. Input: a type; a value, behind a byte 0xff.
 * What a type says has a column in each results engine; wrappers change nothing; a value stays within itself or becomes
 * one of the standing texts. */
#include <stdlib.h>
#include <string.h>

#include "shared/db/ch_types.h"
#include "shared/db/types.h"
#include "tests/fuzz/fuzz.h"

static bool same_column(const struct column *a, const struct column *b)
{
	return a->kind == b->kind && a->precision == b->precision && a->scale == b->scale && a->length == b->length;
}

static void check_declared(const struct column *c)
{
	static const enum db_engine engines[] = {DB_POSTGRES, DB_MYSQL};
	for (size_t i = 0; i < 2; i++) {
		struct buf b;
		buf_init(&b, 200);
		types_declare(engines[i], c, &b);
		FUZZ_CHECK(buf_ok(&b) && b.len > 0, "kind %d", c->kind);
		buf_fini(&b);
		(void)types_is_text(engines[i], c);
	}
	(void)types_is_varlena(c);
	FUZZ_CHECK(c->precision >= 0 && c->precision <= 78 && c->scale >= 0 && c->scale <= 76, "%d, %d", c->precision,
	        c->scale);
}

static void check_wrapped(const char *type, size_t len, const struct column *plain, enum ch_fix fix, bool known)
{
	static const char *const wrappers[] = {"Nullable(%.*s)", "LowCardinality( %.*s )",
	        "SimpleAggregateFunction(max, %.*s)", " LowCardinality(Nullable(%.*s)) "};
	for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
		struct column c = {.name = ""};
		enum ch_fix f;
		bool k;
		struct err e = ERR_INIT;
		struct buf b;
		buf_init(&b, 1 << 20);
		size_t head = strcspn(wrappers[i], "%");
		buf_add(&b, wrappers[i], head);
		buf_add(&b, type, len);
		buf_addstr(&b, wrappers[i] + head + 4);
		enum err_code rc = ch_type_read(b.data, b.len, &c, &f, &k, &e);
		FUZZ_CHECK(rc == ERR_OK && same_column(&c, plain) && f == fix && k == known, "%s: %s", b.data, e.text);
		buf_fini(&b);
	}
}

static void check_value(enum ch_fix fix, const struct column *c, const char *value, size_t len)
{
	static const enum db_engine engines[] = {DB_POSTGRES, DB_MYSQL};
	char *exact = fuzz_copy(value, len);
	struct cell cell = {exact, (int)len}, twice;
	ch_type_fix(fix, &cell);
	FUZZ_CHECK(cell.len >= 0 && cell.len <= 30 + (int)len, "%d bytes", cell.len);
	FUZZ_CHECK(cell.data != exact || cell.len <= (int)len, "%d bytes of %zu", cell.len, len);
	twice = cell;
	if (fix != CH_BOOL || cell.len == 1)
		ch_type_fix(fix, &twice);
	FUZZ_CHECK(twice.len == cell.len && memcmp(twice.data, cell.data, (size_t)cell.len) == 0, "fix %d", fix);
	for (size_t i = 0; i < 2; i++)
		FUZZ_CHECK(
		        types_is_partial(engines[i], c) || types_has_value(engines[i], c, cell.data, (size_t)cell.len),
		        "kind %d", c->kind);
	struct cell null = {NULL, -1};
	ch_type_fix(fix, &null);
	FUZZ_CHECK(null.len == -1 && !null.data, "a NULL became %d", null.len);
	free(exact);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	size_t len, value_len;
	char *part = fuzz_part(&in, &len), *type = fuzz_copy(part, len), *value = fuzz_rest(&in, &value_len);
	struct column c = {.name = ""};
	enum ch_fix fix = CH_AS_IS;
	bool known = false;
	struct err e = ERR_INIT;
	enum err_code rc = ch_type_read(type, len, &c, &fix, &known, &e);
	fuzz_check_err(rc, &e, false);
	FUZZ_CHECK(rc == ERR_OK || rc == ERR_PERMANENT, "code %d", rc);
	if (rc == ERR_OK) {
		FUZZ_CHECK(known || (fix == CH_AS_IS && c.kind == KIND_TEXT), "kind %d", c.kind);
		check_declared(&c);
		check_wrapped(type, len, &c, fix, known);
	}
	static const enum ch_fix fixes[] = {CH_AS_IS, CH_BOOL, CH_FLOAT, CH_DOUBLE, CH_FIXED, CH_RAW};
	for (size_t i = 0; i < sizeof fixes / sizeof *fixes; i++)
		check_value(fixes[i], &c, value, value_len);
	free(part);
	free(type);
	free(value);
}
