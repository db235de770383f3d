#include "fcgi/json_out.h"

#include <string.h>

#include "shared/base/clock.h"
#include "shared/base/utf8.h"

/* A comma, unless what stands before opens something or is a name. (A text ends in '"', so its ':' is not the last.) */
static void separate(struct buf *b)
{
	char last = b->len > 0 ? b->data[b->len - 1] : '{';
	if (last != '{' && last != '[' && last != ':')
		buf_addc(b, ',');
}

void jout_open(struct buf *b, char bracket)
{
	separate(b);
	buf_addc(b, bracket);
}

void jout_close(struct buf *b, char bracket)
{
	buf_addc(b, bracket);
}

void jout_name(struct buf *b, const char *name)
{
	separate(b);
	buf_addc(b, '"');
	buf_addstr(b, name);
	buf_add(b, "\":", 2);
}

void jout_name_text(struct buf *b, const char *name)
{
	jout_text(b, name);
	buf_addc(b, ':');
}

/* Writes the escape of a byte that may not stand as it is. */
static void escape(struct buf *b, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char unicode[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
	switch (c) {
	case '"':
		buf_add(b, "\\\"", 2);
		return;
	case '\\':
		buf_add(b, "\\\\", 2);
		return;
	case '\n':
		buf_add(b, "\\n", 2);
		return;
	case '\r':
		buf_add(b, "\\r", 2);
		return;
	case '\t':
		buf_add(b, "\\t", 2);
		return;
	default:
		buf_add(b, unicode, sizeof unicode);
	}
}

void jout_text_len(struct buf *b, const char *text, size_t len)
{
	separate(b);
	buf_addc(b, '"');
	size_t from = 0, i = 0; /* [from, i) can be copied as it is */
	while (i < len) {
		unsigned char c = (unsigned char)text[i];
		size_t width = c < 0x80 ? 1 : utf8_char(text + i, len - i);
		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && width > 0) {
			i += width;
			continue;
		}
		buf_add(b, text + from, i - from);
		if (width == 0)
			buf_addstr(b, "\\ufffd");
		else
			escape(b, c);
		from = ++i;
	}
	buf_add(b, text + from, len - from);
	buf_addc(b, '"');
}

void jout_text(struct buf *b, const char *text)
{
	jout_text_len(b, text, strlen(text));
}

void jout_i64(struct buf *b, int64_t v)
{
	char digits[20];
	size_t at = sizeof digits;
	uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	do
		digits[--at] = (char)('0' + rest % 10);
	while (rest /= 10);
	separate(b);
	if (v < 0)
		buf_addc(b, '-');
	buf_add(b, digits + at, sizeof digits - at);
}

void jout_raw(struct buf *b, const char *json)
{
	separate(b);
	buf_addstr(b, json);
}

void jout_bool(struct buf *b, bool v)
{
	jout_raw(b, v ? "true" : "false");
}

void jout_null(struct buf *b)
{
	jout_raw(b, "null");
}

void jout_field(struct buf *b, const char *name, const char *text)
{
	jout_name(b, name);
	jout_text(b, text);
}

void jout_field_i64(struct buf *b, const char *name, int64_t v)
{
	jout_name(b, name);
	jout_i64(b, v);
}

void jout_field_time(struct buf *b, const char *name, int64_t ms)
{
	char text[CLOCK_RFC3339_SIZE];
	clock_rfc3339(ms, text);
	jout_field(b, name, text);
}

void jout_field_time_or_null(struct buf *b, const char *name, int64_t ms)
{
	if (ms != 0) {
		jout_field_time(b, name, ms);
		return;
	}
	jout_name(b, name);
	jout_null(b);
}
