#include "shared/db/pg_text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "shared/db/escape.h"
#include "shared/db/types.h"

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS (ONES << 7)

/* A value other than 0 when one of the eight bytes is a backslash or below 14: tab, newline, carriage return, NUL. */
static inline uint64_t special_bytes(uint64_t word)
{
	uint64_t other = word ^ ONES * '\\';
	return (((word - ONES * 14) & ~word) | ((other - ONES) & ~other)) & HIGHS;
}

static inline char *copy_byte(char *at, char c, unsigned *odd)
{
	switch (c) {
	case '\0':
		*odd |= PG_TEXT_NUL;
		break;
	case '\\':
		*at++ = '\\';
		break;
	case '\t':
		*at++ = '\\';
		c = 't';
		break;
	case '\n':
		*at++ = '\\';
		c = 'n';
		break;
	case '\r':
		*at++ = '\\';
		c = 'r';
		break;
	default:
		break;
	}
	*at++ = c;
	return at;
}

char *pg_copy_text(char *at, const char *data, size_t len, unsigned *odd)
{
	uint64_t seen = 0, word;
	const char *end = data + len;
	for (; end - data >= 8; data += 8) {
		memcpy(&word, data, 8);
		seen |= word;
		if (!special_bytes(word)) {
			memcpy(at, &word, 8);
			at += 8;
			continue;
		}
		for (int i = 0; i < 8; i++)
			at = copy_byte(at, data[i], odd);
	}
	for (; data < end; data++) {
		seen |= (unsigned char)*data;
		if ((unsigned char)*data < 14 || *data == '\\')
			at = copy_byte(at, *data, odd);
		else
			*at++ = *data;
	}
	if (seen & HIGHS)
		*odd |= PG_TEXT_HIGH;
	return at;
}

char *pg_copy_hex(char *at, const char *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		*at++ = digits[(unsigned char)data[i] >> 4];
		*at++ = digits[data[i] & 15];
	}
	return at;
}

/* The bytes of the character that begins with first, 0 when none does; its second byte is within *least and *most. */
static int char_length(unsigned char first, unsigned char *least, unsigned char *most)
{
	*least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	*most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
	return first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

bool pg_text_is_utf8(const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data, *end = p + len;
	while (p < end) {
		uint64_t word;
		while (end - p >= 8 && (memcpy(&word, p, 8), !(word & HIGHS)))
			p += 8;
		if (p == end || *p < 0x80) {
			p += p < end;
			continue;
		}
		unsigned char least, most;
		int n = char_length(*p, &least, &most);
		if (n == 0 || end - p < n || p[1] < least || p[1] > most)
			return false;
		for (int i = 2; i < n; i++)
			if ((p[i] & 0xc0) != 0x80)
				return false;
		p += n;
	}
	return true;
}

/* --- out of COPY --- */

/* The first tab or backslash of the text, or its end. */
static char *find_mark(char *p, const char *end)
{
	for (uint64_t word; end - p >= 8; p += 8) {
		memcpy(&word, p, 8);
		uint64_t tabs = word ^ ONES * '\t', others = word ^ ONES * '\\';
		if ((((tabs - ONES) & ~tabs) | ((others - ONES) & ~others)) & HIGHS)
			break;
	}
	while (p < end && *p != '\t' && *p != '\\')
		p++;
	return p;
}

static char unescaped(char c)
{
	if (c == 'v')
		return '\v';
	int control = escape_control(c);
	return control < 0 ? c : (char)control;
}

/* Resolves the escapes from *from, a backslash, to the field's end, where *from is left; returns the end of the text. */
static char *unescape(char **from, const char *end)
{
	char *p = *from, *to = p;
	while (p < end && *p != '\t') {
		if (*p == '\\' && end - p > 1) {
			*to++ = unescaped(p[1]);
			p += 2;
			continue;
		}
		char *run = p;
		p = find_mark(p + 1, end);
		memmove(to, run, (size_t)(p - run));
		to += p - run;
	}
	*from = p;
	return to;
}

static bool is_null(const char *field, const char *end)
{
	return end - field >= 2 && field[1] == 'N' && (end - field == 2 || field[2] == '\t');
}

bool pg_copy_split(char *line, size_t len, struct cell *cells, size_t n)
{
	char *p = line;
	const char *end = line + len;
	for (size_t i = 0; i < n; i++) {
		char *field = p;
		if (i && (p == end || *p != '\t'))
			return false;
		if (i)
			p = ++field;
		p = find_mark(p, end);
		if (p == end || *p == '\t') {
			cells[i] = (struct cell){field, (int)(p - field)};
		} else if (p == field && is_null(field, end)) {
			cells[i] = (struct cell){NULL, -1};
			p += 2;
		} else {
			cells[i] = (struct cell){field, (int)(unescape(&p, end) - field)};
		}
	}
	return p == end;
}

/* --- into WIRE_TEXT --- */

enum pg_text_form pg_text_form(const struct column *c)
{
	switch (c->kind) {
	case KIND_BOOL:
		return PG_TEXT_BOOL;
	case KIND_FLOAT:
		return PG_TEXT_FLOAT;
	case KIND_BYTES:
		return PG_TEXT_BYTEA;
	case KIND_INSTANT:
		return PG_TEXT_INSTANT;
	default:
		return PG_TEXT_AS_IS;
	}
}

static void convert_float(struct cell *c)
{
	static const char largest[] = "3.4028235e+38", digits[] = "-" TYPES_FLOAT_MAX;
	bool minus = c->len > 0 && c->data[0] == '-';
	if ((size_t)c->len != sizeof largest - 1 + minus || memcmp(c->data + minus, largest, sizeof largest - 1) != 0)
		return;
	*c = (struct cell){digits + !minus, (int)sizeof digits - 1 - !minus};
}

static unsigned nibble(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

static void convert_bytea(struct cell *c, char *out)
{
	if (c->len < 2 || c->data[0] != '\\' || c->data[1] != 'x')
		return;
	const char *hex = c->data + 2;
	int n = (c->len - 2) / 2;
	for (int i = 0; i < n; i++, hex += 2)
		out[i] = (char)(nibble(hex[0]) << 4 | nibble(hex[1]));
	*c = (struct cell){out, n};
}

/* A timestamp with its offset, taken apart. year: astronomical (0 = 1 BC). */
struct moment {
	int year, month, day, seconds; /* of the day */
	int fraction, n_fraction;      /* where the fraction stands in the text, with its point, and its bytes */
	int offset;                    /* seconds */
};

/* Reads digits at *at, up to most of them. */
static bool read_number(const struct cell *c, int *at, int most, int *out)
{
	int from = *at;
	for (*out = 0; *at < c->len && *at - from < most && c->data[*at] >= '0' && c->data[*at] <= '9'; ++*at)
		*out = *out * 10 + (c->data[*at] - '0');
	return *at > from;
}

static bool skip(const struct cell *c, int *at, char expected)
{
	if (*at >= c->len || c->data[*at] != expected)
		return false;
	++*at;
	return true;
}

/* HH:MM:SS, or as much of it as there is when that may be left out. */
static bool read_clock(const struct cell *c, int *at, bool whole, int *seconds)
{
	int h, m = 0, s = 0;
	if (!read_number(c, at, 2, &h))
		return false;
	bool minutes = skip(c, at, ':');
	if (minutes && !read_number(c, at, 2, &m))
		return false;
	bool rest = minutes && skip(c, at, ':');
	if (rest && !read_number(c, at, 2, &s))
		return false;
	*seconds = h * 3600 + m * 60 + s;
	return rest || !whole;
}

static bool read_moment(const struct cell *c, struct moment *m)
{
	int at = 0;
	if (!read_number(c, &at, 6, &m->year) || !skip(c, &at, '-') || !read_number(c, &at, 2, &m->month) ||
	        !skip(c, &at, '-') || !read_number(c, &at, 2, &m->day) || !skip(c, &at, ' ') ||
	        !read_clock(c, &at, true, &m->seconds))
		return false;
	m->fraction = at;
	if (skip(c, &at, '.')) {
		int digits;
		if (!read_number(c, &at, 6, &digits))
			return false;
	}
	m->n_fraction = at - m->fraction;
	int sign = skip(c, &at, '+') ? 1 : skip(c, &at, '-') ? -1 : 0;
	if (!sign || !read_clock(c, &at, false, &m->offset))
		return false;
	m->offset *= sign;
	if (c->len - at == 3 && memcmp(c->data + at, " BC", 3) == 0) {
		m->year = 1 - m->year;
		at = c->len;
	}
	return at == c->len && m->month >= 1 && m->month <= 12;
}

static int days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return days[month - 1] + (month == 2 && leap);
}

/* To UTC: an offset is less than a day. */
static void shift(struct moment *m)
{
	m->seconds -= m->offset;
	if (m->seconds < 0) {
		m->seconds += 86400;
		m->month -= m->day == 1;
		m->year -= m->month == 0;
		m->month = m->month == 0 ? 12 : m->month;
		m->day = m->day == 1 ? days_of(m->year, m->month) : m->day - 1;
	} else if (m->seconds >= 86400) {
		m->seconds -= 86400;
		bool last = m->day == days_of(m->year, m->month);
		m->day = last ? 1 : m->day + 1;
		m->month += last;
		m->year += m->month == 13;
		m->month = m->month == 13 ? 1 : m->month;
	}
}

/* The result is never longer: what a year's new digit or a BC takes, the offset leaves. */
static void convert_instant(struct cell *c, char *out)
{
	struct moment m;
	if (c->len > 3 && memcmp(c->data + c->len - 3, "+00", 3) == 0) {
		c->len -= 3;
		return;
	}
	if (!read_moment(c, &m))
		return;
	shift(&m);
	char text[64];
	int n = snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d%.*s%s", m.year > 0 ? m.year : 1 - m.year,
	        m.month, m.day, m.seconds / 3600, m.seconds / 60 % 60, m.seconds % 60, m.n_fraction,
	        c->data + m.fraction, m.year > 0 ? "" : " BC");
	if (n > c->len)
		return;
	memcpy(out, text, (size_t)n);
	*c = (struct cell){out, n};
}

void pg_text_convert(enum pg_text_form form, struct cell *c, char *out)
{
	switch (form) {
	case PG_TEXT_AS_IS:
		break;
	case PG_TEXT_BOOL:
		*c = (struct cell){c->data[0] == 't' ? "1" : "0", 1};
		break;
	case PG_TEXT_FLOAT:
		convert_float(c);
		break;
	case PG_TEXT_BYTEA:
		convert_bytea(c, out);
		break;
	case PG_TEXT_INSTANT:
		convert_instant(c, out);
		break;
	}
}
