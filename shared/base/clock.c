#include "shared/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LAST_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static int64_t now_ms(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
	return now_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
	return now_ms(CLOCK_MONOTONIC);
}

void clock_rfc3339(int64_t ms, char out[CLOCK_RFC3339_SIZE])
{
	if (ms == 0) {
		memcpy(out, CLOCK_ZERO_TIME, sizeof CLOCK_ZERO_TIME);
		return;
	}
	time_t secs = (time_t)(ms / 1000);
	int millis = (int)(ms % 1000);
	struct tm tm;
	if (ms < 0 || !gmtime_r(&secs, &tm)) {
		memcpy(out, CLOCK_ZERO_TIME, sizeof CLOCK_ZERO_TIME);
		return;
	}
	size_t n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	if (millis)
		n += (size_t)snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%03d", millis);
	snprintf(out + n, CLOCK_RFC3339_SIZE - n, "Z");
}

/* Reads exactly digits decimal digits at *at; advances it. -1 when they are not there. */
static int digits(const char *text, size_t len, size_t *at, int count)
{
	int value = 0;
	for (int i = 0; i < count; i++) {
		if (*at >= len || text[*at] < '0' || text[*at] > '9')
			return -1;
		value = value * 10 + (text[(*at)++] - '0');
	}
	return value;
}

static bool one_of(const char *text, size_t len, size_t *at, const char *set)
{
	if (*at >= len || !text[*at] || !strchr(set, text[*at]))
		return false;
	(*at)++;
	return true;
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar. */
static int64_t days_from_civil(int y, int m, int d)
{
	y -= m <= 2;
	int era = y / 400;
	int yoe = y - era * 400;
	int doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return (int64_t)era * 146097 + doe - 719468;
}

static int month_length(int y, int m)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	return m == 2 && leap ? 29 : lengths[m - 1];
}

/* The fraction and the zone behind hh:mm:ss; false when what stands there is neither. */
static bool parse_tail(const char *text, size_t len, size_t at, int64_t *ms)
{
	if (at < len && text[at] == '.') {
		int64_t scale = 100;
		size_t first = ++at;
		for (; at < len && text[at] >= '0' && text[at] <= '9'; at++, scale /= 10)
			*ms += (text[at] - '0') * scale;
		if (at == first)
			return false;
	}
	if (at == len || (at + 1 == len && (text[at] == 'Z' || text[at] == 'z')))
		return true;
	int sign = text[at] == '+' ? -1 : 1;
	if (!one_of(text, len, &at, "+-"))
		return false;
	int hours = digits(text, len, &at, 2);
	if (hours < 0 || hours > 23 || !one_of(text, len, &at, ":"))
		return false;
	int minutes = digits(text, len, &at, 2);
	if (minutes < 0 || minutes > 59 || at != len)
		return false;
	*ms += (int64_t)sign * (hours * 60 + minutes) * 60000;
	return true;
}

bool clock_parse(const char *text, size_t len, int64_t *ms)
{
	size_t at = 0;
	int y = digits(text, len, &at, 4);
	if (y < 1970 || !one_of(text, len, &at, "-"))
		return false;
	int mo = digits(text, len, &at, 2);
	if (mo < 1 || mo > 12 || !one_of(text, len, &at, "-"))
		return false;
	int d = digits(text, len, &at, 2);
	if (d < 1 || d > month_length(y, mo) || !one_of(text, len, &at, " Tt"))
		return false;
	int h = digits(text, len, &at, 2);
	if (h < 0 || h > 23 || !one_of(text, len, &at, ":"))
		return false;
	int mi = digits(text, len, &at, 2);
	if (mi < 0 || mi > 59 || !one_of(text, len, &at, ":"))
		return false;
	int s = digits(text, len, &at, 2);
	if (s < 0 || s > 59)
		return false;
	int64_t out = ((days_from_civil(y, mo, d) * 24 + h) * 60 + mi) * 60000 + (int64_t)s * 1000;
	if (!parse_tail(text, len, at, &out) || out < 0 || out > LAST_MS) /* an offset may lead out of those years */
		return false;
	*ms = out;
	return true;
}
