#include "shared/db/pg_text.h"

#include <stdint.h>
#include <string.h>

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
