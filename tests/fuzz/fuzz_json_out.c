/* JSON and Prometheus' text out of any bytes. Input: a byte that chooses; texts, 0xff between them.
 * What is written is JSON and UTF-8, and reads as the text that went in where that was UTF-8. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi/json_in.h"
#include "fcgi/json_out.h"
#include "fcgi/prom.h"
#include "shared/base/utf8.h"
#include "shared/db/pg_text.h"
#include "tests/fuzz/fuzz.h"

static void check_text(const char *text, size_t len)
{
	struct buf b;
	struct err e = ERR_INIT;
	const struct jin *read = NULL;
	buf_init(&b, 1 << 22);
	jout_text_len(&b, text, len);
	FUZZ_CHECK(buf_ok(&b), "%zu bytes", len);
	fuzz_check_json(b.data, b.len);
	FUZZ_CHECK(fuzz_is_utf8(b.data, b.len), "%s", b.data);
	struct jin_reader *r = jin_reader_new(4);
	FUZZ_CHECK(jin_read(r, b.data, b.len, &read, &e) == ERR_OK, "%s", e.text);
	size_t n;
	const char *back = jin_text(read, &n);
	bool valid = fuzz_is_utf8(text, len);
	FUZZ_CHECK(fuzz_is_utf8(back, n), "%s", back);
	FUZZ_CHECK(!valid || (n == len && memcmp(back, text, n) == 0), "%s", b.data);
	FUZZ_CHECK(valid == pg_text_is_utf8(text, len), "%zu bytes", len);
	for (size_t i = 0, w; i < len; i += w ? w : 1) {
		w = utf8_char(text + i, len - i);
		FUZZ_CHECK((w > 0) == (w > 0 && fuzz_is_utf8(text + i, w)) && (w > 0 || !valid), "byte %zu", i);
	}
	jin_reader_free(r);
	buf_fini(&b);
}

/* One line, no quote that is not escaped. */
static void check_label(const char *text, size_t len)
{
	struct buf b;
	buf_init(&b, 1 << 22);
	struct prom_label label = {"queue", text, len};
	prom_i64(&b, "x_total", &label, 1, INT64_MIN);
	static const char head[] = "x_total{queue=\"", tail[] = "\"} -9223372036854775808\n";
	FUZZ_CHECK(b.len >= sizeof head + sizeof tail - 2 && memcmp(b.data, head, sizeof head - 1) == 0 &&
	                strcmp(b.data + b.len - sizeof tail + 1, tail) == 0,
	        "%s", b.data);
	const char *end = b.data + b.len - sizeof tail + 1;
	for (const char *p = b.data + sizeof head - 1; p < end; p++) {
		FUZZ_CHECK(*p != '"' && *p != '\n', "%s", b.data);
		p += *p == '\\';
		FUZZ_CHECK(p < end, "%s", b.data);
	}
	FUZZ_CHECK(fuzz_is_utf8(b.data, b.len), "%s", b.data);
	buf_fini(&b);
}

/* Values of all kinds in each other: the commas come by themselves. */
static void check_tree(struct fuzz_in *in)
{
	struct buf b;
	char open[8];
	size_t depth = 0;
	buf_init(&b, 1 << 22);
	jout_open(&b, '{');
	open[depth++] = '}';
	while (in->left && depth > 0) {
		unsigned what = fuzz_byte(in);
		char *text = fuzz_text(in);
		if (open[depth - 1] == '}' && what % 8 < 7)
			jout_name_text(&b, text);
		if (what % 8 == 7) {
			jout_close(&b, open[--depth]);
		} else if (what % 8 >= 5 && depth < sizeof open) {
			jout_open(&b, what % 8 == 5 ? '{' : '[');
			open[depth++] = what % 8 == 5 ? '}' : ']';
		} else if (what % 8 == 0) {
			jout_i64(&b, (int64_t)((uint64_t)what << 56));
		} else if (what % 8 == 1) {
			jout_bool(&b, what & 8);
		} else if (what % 8 == 2) {
			jout_null(&b);
		} else {
			jout_text(&b, text);
		}
		free(text);
	}
	while (depth > 0)
		jout_close(&b, open[--depth]);
	fuzz_check_json(b.data, b.len);
	buf_fini(&b);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	size_t len;
	unsigned what = fuzz_byte(&in) % 3;
	if (what == 2) {
		check_tree(&in);
		return;
	}
	char *text = fuzz_rest(&in, &len), *exact = fuzz_copy(text, len);
	if (what == 0)
		check_text(exact, len);
	else
		check_label(exact, len);
	free(exact);
	free(text);
}
