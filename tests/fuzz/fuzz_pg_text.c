/* PostgreSQL's text forms. Input: a byte of columns and their kinds; then a line as COPY TO sends it, or values.
 * A line is taken apart within its memory; values that are written for COPY FROM come back when they are read as from COPY
 * TO; a value that is converted stays within its room. */
#include <stdlib.h>
#include <string.h>

#include "shared/db/pg_text.h"
#include "shared/db/pg_types.h"
#include "shared/db/types.h"
#include "tests/fuzz/fuzz.h"

#define COLUMNS_MAX 8

static void check_convert(const char *value, size_t len)
{
	static const enum pg_text_form forms[] = {
	        PG_TEXT_AS_IS, PG_TEXT_BOOL, PG_TEXT_FLOAT, PG_TEXT_BYTEA, PG_TEXT_INSTANT};
	if (len == 0)
		return; /* no value of these types is empty */
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		char *exact = fuzz_copy(value, len), *room = fuzz_copy(value, len);
		struct cell apart = {exact, (int)len}, inside = {room, (int)len};
		char *out = malloc(len);
		pg_text_convert(forms[i], &apart, out);
		pg_text_convert(forms[i], &inside, room);
		FUZZ_CHECK(apart.len >= 0 && apart.len <= (int)len + 24, "form %zu: %d bytes", i, apart.len);
		FUZZ_CHECK(apart.len == inside.len && memcmp(apart.data, inside.data, (size_t)apart.len) == 0,
		        "form %zu in its own memory", i);
		free(out);
		free(room);
		free(exact);
	}
}

/* Bytes as PostgreSQL writes them come back. */
static void check_bytes(const char *value, size_t len)
{
	char *hex = malloc(2 * len + 2), *out = malloc(2 * len + 2);
	if (!hex || !out)
		abort();
	memcpy(hex, "\\x", 2);
	char *end = pg_copy_hex(hex + 2, value, len);
	FUZZ_CHECK(end == hex + 2 * len + 2, "%zd bytes", end - hex);
	struct cell c = {hex, (int)(2 * len + 2)};
	pg_text_convert(PG_TEXT_BYTEA, &c, out);
	FUZZ_CHECK(c.len == (int)len && (len == 0 || memcmp(c.data, value, len) == 0), "%zu bytes", len);
	free(hex);
	free(out);
}

static void check_split(const char *line, size_t len, size_t n)
{
	struct cell cells[COLUMNS_MAX];
	char *exact = fuzz_copy(line, len);
	size_t tabs = 0;
	for (size_t i = 0; i < len; i++) {
		tabs += line[i] == '\t';
		i += line[i] == '\\'; /* an escaped tab is one all the same */
	}
	if (pg_copy_split(exact, len, cells, n)) {
		FUZZ_CHECK(tabs <= n - 1, "%zu tabs", tabs);
		const char *from = exact;
		for (size_t i = 0; i < n; i++) {
			if (cells[i].len < 0)
				continue;
			FUZZ_CHECK(cells[i].data >= from && cells[i].data + cells[i].len <= exact + len, "cell %zu", i);
			from = cells[i].data + cells[i].len;
		}
	}
	free(exact);
}

static void check_round(const char *data, size_t size, size_t n)
{
	struct cell cells[COLUMNS_MAX];
	char *line = malloc(PG_COPY_ROOM(size) * COLUMNS_MAX), *at = line;
	if (!line)
		abort();
	for (size_t i = 0; i < n; i++) {
		size_t len = size * (i + 1) / n - size * i / n;
		unsigned odd = 0;
		char *value = fuzz_copy(data + size * i / n, len);
		char *room = malloc(PG_COPY_ROOM(len)), *end = pg_copy_text(room, value, len, &odd);
		FUZZ_CHECK(end - room <= (ptrdiff_t)(2 * len), "%zd bytes of %zu", end - room, len);
		FUZZ_CHECK(!(odd & PG_TEXT_NUL) == !memchr(value, '\0', len), "cell %zu", i);
		FUZZ_CHECK((odd & PG_TEXT_HIGH) || pg_text_is_utf8(value, len), "cell %zu", i);
		memcpy(at, room, (size_t)(end - room));
		at += end - room;
		*at++ = i + 1 < n ? '\t' : '\n';
		free(room);
		free(value);
	}
	size_t len = (size_t)(at - line) - 1;
	FUZZ_CHECK(!memchr(line, '\n', len), "a line feed");
	char *exact = fuzz_copy(line, len);
	FUZZ_CHECK(pg_copy_split(exact, len, cells, n), "%.*s", (int)len, line);
	for (size_t i = 0; i < n; i++) {
		size_t want = size * (i + 1) / n - size * i / n;
		FUZZ_CHECK(cells[i].len == (int)want && memcmp(cells[i].data, data + size * i / n, want) == 0,
		        "cell %zu", i);
	}
	free(exact);
	free(line);
}

static void check_type(struct fuzz_in *in)
{
	struct column c = {
	        .type = (uint32_t)fuzz_i64(in), .typmod = (int32_t)fuzz_i64(in), .as_text = fuzz_byte(in) & 1};
	struct buf b;
	if (c.type > 5000)
		c.type %= 5000; /* where the built-in ones are */
	pg_type_set_kind(&c);
	FUZZ_CHECK(c.precision >= 0 && (c.scale >= 0 || c.kind == KIND_TEXT) && c.length >= 0,
	        "type %u, typmod %d: %d, %d, %lld", c.type, c.typmod, c.precision, c.scale, (long long)c.length);
	static const enum db_engine engines[] = {DB_POSTGRES, DB_MYSQL};
	for (size_t i = 0; i < 3; i++) {
		buf_init(&b, 300);
		if (i < 2)
			types_declare(engines[i], &c, &b);
		else
			pg_type_declare(&c, &b);
		FUZZ_CHECK(buf_ok(&b) && b.len > 0, "type %u, typmod %d", c.type, c.typmod);
		buf_fini(&b);
	}
	(void)pg_type_is_portable(c.type);
	(void)pg_type_is_varlena(c.type);
	(void)pg_text_form(&c);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned what = fuzz_byte(&in);
	size_t n = 1 + what / 4 % COLUMNS_MAX, len;
	if (what % 4 == 3) {
		check_type(&in);
		return;
	}
	char *rest = fuzz_rest(&in, &len);
	if (what % 4 == 0)
		check_split(rest, len, n);
	else if (what % 4 == 1)
		check_round(rest, len, n);
	else
		check_convert(rest, len);
	check_bytes(rest, len);
	free(rest);
}
