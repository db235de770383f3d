/* What a ClickHouse server, or what stands before it, says when something went wrong. Input: two bytes of HTTP status; the
 * text.
 * It becomes one of three codes and one clean line, which does not show the query behind "In scope"; a line that begins as
 * an error has a number. */
#include <stdlib.h>
#include <string.h>

#include "shared/db/ch_error.h"
#include "tests/fuzz/fuzz.h"

#define SECRET "QZ7XKJ9V" /* stands for an argument */

static void check_scope(long status, const char *text, size_t len)
{
	struct buf b;
	struct err e = ERR_INIT;
	buf_init(&b, 1 << 20);
	buf_add(&b, text, len);
	buf_addstr(&b, "x In scope SELECT '" SECRET "'");
	ch_error_set(&e, status, b.data, b.len);
	/* with nothing before them the words are no end, but the text */
	FUZZ_CHECK(!strstr(e.text, SECRET) || memmem(text, len, SECRET, sizeof SECRET - 1), "%s", e.text);
	buf_fini(&b);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	size_t len;
	unsigned high = fuzz_byte(&in) << 8;
	long status = (high | fuzz_byte(&in)) % 600;
	char *rest = fuzz_rest(&in, &len), *text = fuzz_copy(rest, len);
	struct err e = ERR_INIT;
	int number = ch_error_number(text, len);
	enum err_code rc = ch_error_set(&e, status, text, len);
	fuzz_check_err(rc, &e, true);
	FUZZ_CHECK(
	        rc == e.code && (rc == ERR_UNAVAILABLE || rc == ERR_TRANSIENT || rc == ERR_PERMANENT), "code %d", rc);
	FUZZ_CHECK(rc == ch_error_set(NULL, status, text, len), "another code without a text");
	FUZZ_CHECK(number >= 0 && number <= 1000000, "number %d", number);
	FUZZ_CHECK(number == 0 || strstr(e.text, "(code "), "%s", e.text);
	FUZZ_CHECK(!ch_error_is_of_values(number) || e.quotes, "%s", e.text);
	FUZZ_CHECK(!ch_error_begins(text, len) || strpbrk(rest, "0123456789"), "%s", rest);
	(void)ch_error_may_be_value(text, len);
	check_scope(status, text, len);
	free(text);
	free(rest);
}
