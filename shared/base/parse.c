#include "shared/base/parse.h"

#include <string.h>

bool parse_i64(const char *text, size_t len, int64_t min, int64_t max, int64_t *out)
{
	bool negative = len > 0 && text[0] == '-';
	size_t i = negative ? 1 : 0;
	if (i == len)
		return false;
	int64_t v = 0; /* kept negative, since -INT64_MIN does not exist */
	for (; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, text[i] - '0', &v))
			return false;
	}
	if (!negative && __builtin_sub_overflow((int64_t)0, v, &v))
		return false;
	if (v < min || v > max)
		return false;
	*out = v;
	return true;
}

struct unit {
	const char *name;
	int64_t factor;
};

static bool parse_with_unit(
        const char *text, size_t len, const struct unit *units, size_t count, int64_t max, int64_t *out)
{
	size_t digits = 0;
	while (digits < len && text[digits] >= '0' && text[digits] <= '9')
		digits++;
	int64_t v;
	if (!parse_i64(text, digits, 0, INT64_MAX, &v))
		return false;
	size_t rest = len - digits;
	for (size_t i = 0; i < count; i++) {
		if (strlen(units[i].name) != rest || memcmp(units[i].name, text + digits, rest) != 0)
			continue;
		if (__builtin_mul_overflow(v, units[i].factor, &v) || v > max)
			return false;
		*out = v;
		return true;
	}
	return false;
}

bool parse_duration_ms(const char *text, size_t len, int64_t *out)
{
	static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	if (len == 1 && text[0] == '0') {
		*out = 0;
		return true;
	}
	return parse_with_unit(text, len, units, 5, INT64_C(3650) * 86400000, out);
}

bool parse_size(const char *text, size_t len, int64_t *out)
{
	static const struct unit units[] = {{"", 1}, {"B", 1}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
	        {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
	return parse_with_unit(text, len, units, 8, INT64_MAX, out);
}

bool parse_bool(const char *text, size_t len, bool *out)
{
	static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
	for (int i = 0; i < 3; i++) {
		if (strlen(yes[i]) == len && memcmp(yes[i], text, len) == 0)
			return *out = true, true;
		if (strlen(no[i]) == len && memcmp(no[i], text, len) == 0)
			return *out = false, true;
	}
	return false;
}

bool parse_name(const char *text, size_t len, size_t max)
{
	if (len == 0 || len > max)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		            c == ':' || c == '-'))
			return false;
	}
	return true;
}
