#include "shared/db/mysql_text.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/db/types.h"

#define U64_DIGITS 20

/* The digits of v, ending before `end`; returns where they begin. */
static char *digits_before(uint64_t v, char *end)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
	                            "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
	                            "8081828384858687888990919293949596979899";
	while (v >= 100) {
		end -= 2;
		memcpy(end, pairs + 2 * (v % 100), 2);
		v /= 100;
	}
	if (v >= 10) {
		end -= 2;
		memcpy(end, pairs + 2 * v, 2);
	} else {
		*--end = (char)('0' + v);
	}
	return end;
}

size_t mysql_text_padded(uint64_t v, int width, char *out)
{
	char room[U64_DIGITS], *end = room + sizeof room, *begin = digits_before(v, end);
	while (end - begin < width && begin > room)
		*--begin = '0';
	size_t n = (size_t)(end - begin);
	memcpy(out, begin, n);
	return n;
}

size_t mysql_text_u64(uint64_t v, char *out)
{
	return mysql_text_padded(v, 1, out);
}

size_t mysql_text_i64(int64_t v, char *out)
{
	if (v >= 0)
		return mysql_text_u64((uint64_t)v, out);
	*out = '-';
	return 1 + mysql_text_u64(0 - (uint64_t)v, out + 1);
}

static size_t copy(const char *text, char *out)
{
	size_t n = strlen(text);
	memcpy(out, text, n);
	return n;
}

/* n / 10^scale, with its sign. */
static size_t fixed(bool negative, uint64_t n, int scale, char *out)
{
	char room[U64_DIGITS], *at = out;
	if (negative)
		*at++ = '-';
	size_t len = mysql_text_padded(n, scale + 1, room), whole = len - (size_t)scale;
	memcpy(at, room, whole);
	at += whole;
	if (scale) {
		*at++ = '.';
		memcpy(at, room + whole, (size_t)scale);
		at += scale;
	}
	return (size_t)(at - out);
}

static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/* Most doubles that people keep have few digits: v = n / 10^scale. As n (below 2^53) and 10^scale are doubles themselves
 * and a division is rounded to the nearest, as reading "n e-scale" is, n is right when the quotient is v. 0: it has not
 * so few digits. */
static size_t short_double(double v, char *out)
{
	double a = fabs(v);
	for (int scale = 0; scale < (int)(sizeof powers / sizeof *powers); scale++) {
		double n = a * powers[scale];
		if (n >= 0x1p53)
			break;
		uint64_t whole = (uint64_t)(n + 0.5);
		if ((double)whole / powers[scale] == a)
			return fixed(signbit(v), whole, scale, out);
	}
	return 0;
}

static bool is_odd(double v, char *out, size_t *len)
{
	if (isfinite(v))
		return false;
	*len = copy(isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity", out);
	return true;
}

size_t mysql_text_double(double v, char *out)
{
	size_t len;
	if (is_odd(v, out, &len) || (len = short_double(v, out)))
		return len;
	int n = 0;
	for (int digits = 15; digits <= DBL_DECIMAL_DIG; digits++) {
		n = snprintf(out, MYSQL_TEXT_ROOM, "%.*g", digits, v);
		if (strtod(out, NULL) == v)
			break;
	}
	return (size_t)n;
}

/* As short_double; with at most 7 digits behind the point a text is never so near the middle between two floats that
 * rounding it to a double first would lead to the other one. */
static size_t short_float(float v, char *out)
{
	float a = fabsf(v);
	for (int scale = 0; scale <= 7; scale++) {
		float power = (float)powers[scale], n = a * power;
		if (n >= 0x1p24f)
			break;
		uint32_t whole = (uint32_t)(n + 0.5f);
		if ((float)whole / power == a)
			return fixed(signbit(v), whole, scale, out);
	}
	return 0;
}

size_t mysql_text_float(float v, char *out)
{
	size_t len;
	if (is_odd((double)v, out, &len) || (len = short_float(v, out)))
		return len;
	if (fabsf(v) == FLT_MAX)
		return copy(v > 0 ? TYPES_FLOAT_MAX : "-" TYPES_FLOAT_MAX, out);
	return (size_t)snprintf(out, MYSQL_TEXT_ROOM, "%.*g", FLT_DECIMAL_DIG, (double)v);
}
