/* ClickHouse's TabSeparated form. Input: a byte of columns, a byte of which are raw, a byte from which the sizes of the
 * pieces come; the stream.
 * Whatever the pieces it arrives in, the lines and their cells are the same; the input's bytes as values, written as
 * ClickHouse writes them, come back. */
#include <stdlib.h>
#include <string.h>

#include "shared/db/ch_error.h"
#include "shared/db/ch_tsv.h"
#include "tests/fuzz/fuzz.h"

#define COLUMNS_MAX 8
#define LINE_MAX 600u

/* Adds what a line says: its bytes and its cells. */
static void note_line(struct buf *out, char *line, size_t len, size_t n, const bool *raw)
{
	struct cell cells[COLUMNS_MAX];
	size_t bytes = 0, sum = 0;
	buf_addf(out, "line %zu, %zu cells: ", len, ch_tsv_count(line, len));
	buf_add(out, line, len);
	if (ch_error_begins(line, len))
		buf_addf(
		        out, "an error of number %d, %d", ch_error_number(line, len), ch_error_may_be_value(line, len));
	bool split = ch_tsv_split(line, len, raw, cells, n, &bytes);
	FUZZ_CHECK(!split || n == ch_tsv_count(line, len) || memchr(line, '\t', len), "%zu cells", n);
	for (size_t i = 0; split && i < n; i++) {
		FUZZ_CHECK(cells[i].len >= -1 && (cells[i].len < 0) == !cells[i].data, "cell %zu", i);
		if (cells[i].len >= 0) {
			FUZZ_CHECK(cells[i].data >= line && cells[i].data + cells[i].len <= line + len, "cell %zu", i);
			sum += (size_t)cells[i].len;
			buf_addf(out, " [%d:", cells[i].len);
			buf_add(out, cells[i].data, (size_t)cells[i].len);
			buf_addc(out, ']');
		} else {
			buf_addstr(out, " NULL");
		}
	}
	FUZZ_CHECK(!split || sum == bytes, "%zu bytes, counted %zu", sum, bytes);
}

/* Reads the stream in pieces and writes down what it says; behind some of the pieces the lines are taken. */
static void read_stream(const char *data, size_t size, unsigned pieces, size_t n, const bool *raw, struct buf *out)
{
	struct ch_tsv t;
	size_t len = 0;
	unsigned state = pieces;
	ch_tsv_init(&t, LINE_MAX + size);
	for (size_t at = 0, piece; at < size; at += piece) {
		state = state * 1103515245u + 12345u;
		piece = pieces ? 1 + (state >> 16) % pieces : size;
		if (piece > size - at)
			piece = size - at;
		char *exact = fuzz_copy(data + at, piece);
		FUZZ_CHECK(ch_tsv_add(&t, exact, piece), "%zu bytes at %zu", piece, at);
		free(exact);
		for (char *line; state & 0x8000 && (line = ch_tsv_line(&t, &len));)
			note_line(out, line, len, n, raw);
	}
	while (ch_tsv_has_line(&t)) {
		char *line = ch_tsv_line(&t, &len);
		note_line(out, line, len, n, raw);
	}
	FUZZ_CHECK(!ch_tsv_line(&t, &len), "a line that was not there");
	char *rest = ch_tsv_rest(&t, &len);
	buf_addf(out, "rest %zu: ", rest ? len : 0);
	buf_add(out, rest ? rest : "", rest ? len : 0);
	ch_tsv_reset(&t);
	FUZZ_CHECK(!ch_tsv_has_line(&t) && !ch_tsv_rest(&t, &len), "something is left");
	ch_tsv_fini(&t);
}

static void check_pieces(const char *data, size_t size, unsigned pieces, size_t n, const bool *raw)
{
	struct buf whole, parts;
	buf_init(&whole, 1 << 24);
	buf_init(&parts, 1 << 24);
	read_stream(data, size, 0, n, raw, &whole);
	read_stream(data, size, pieces, n, raw, &parts);
	FUZZ_CHECK(whole.len == parts.len && memcmp(buf_str(&whole), buf_str(&parts), whole.len) == 0, "%s\n--\n%s",
	        buf_str(&whole), buf_str(&parts));
	buf_fini(&whole);
	buf_fini(&parts);
}

/* A line longer than what may be is refused, and what was there before stays. */
static void check_ceiling(const char *data, size_t size)
{
	struct ch_tsv t;
	ch_tsv_init(&t, 64);
	size_t kept = 0;
	for (size_t at = 0; at < size && at < 200; at += 10) {
		size_t piece = size - at < 10 ? size - at : 10, len;
		bool fits = kept + piece <= 64;
		FUZZ_CHECK(ch_tsv_add(&t, data + at, piece) == fits, "%zu bytes, and %zu", kept, piece);
		kept += fits ? piece : 0;
		while (ch_tsv_line(&t, &len))
			kept -= len + 1;
	}
	ch_tsv_fini(&t);
}

static void encode(struct buf *out, const char *value, size_t len)
{
	static const char plain[] = "\b\f\n\r\t\\'", escaped[] = "bfnrt\\'";
	for (size_t i = 0; i < len; i++) {
		const char *special = value[i] ? strchr(plain, value[i]) : NULL;
		if (special || !value[i])
			buf_addc(out, '\\');
		buf_addc(out, !value[i] ? '0' : special ? escaped[special - plain] : value[i]);
	}
}

/* Cuts the input into values, encodes them as one line, and reads that. */
static void check_values(const char *data, size_t size, size_t n)
{
	struct buf line;
	struct cell cells[COLUMNS_MAX];
	size_t bytes;
	buf_init(&line, 1 << 24);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_addc(&line, '\t');
		encode(&line, data + size * i / n, size * (i + 1) / n - size * i / n);
	}
	FUZZ_CHECK(!line.data || !memchr(line.data, '\n', line.len), "a line feed");
	char *exact = fuzz_copy(buf_str(&line), line.len);
	FUZZ_CHECK(ch_tsv_split(exact, line.len, NULL, cells, n, &bytes), "%s", buf_str(&line));
	for (size_t i = 0; i < n; i++) {
		size_t len = size * (i + 1) / n - size * i / n;
		FUZZ_CHECK(cells[i].len == (int)len && memcmp(cells[i].data, data + size * i / n, len) == 0,
		        "value %zu of %s", i, buf_str(&line));
	}
	FUZZ_CHECK(bytes == size, "%zu bytes", bytes);
	free(exact);
	buf_fini(&line);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	size_t n = 1 + fuzz_byte(&in) % COLUMNS_MAX;
	unsigned bits = fuzz_byte(&in), pieces = 1 + fuzz_byte(&in);
	bool raw[COLUMNS_MAX];
	for (size_t i = 0; i < COLUMNS_MAX; i++)
		raw[i] = bits >> i & 1;
	char *stream = fuzz_rest(&in, &size);
	check_pieces(stream, size, pieces, n, bits ? raw : NULL);
	check_ceiling(stream, size);
	check_values(stream, size, n);
	free(stream);
}
