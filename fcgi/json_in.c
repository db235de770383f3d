#include "fcgi/json_in.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/base/utf8.h"

struct jin_reader {
	struct json_tokener *tokener;
	int max_depth;
	char *volatile reserve; /* see try_memory; the compiler is not to think it useless */
};

struct jin_reader *jin_reader_new(int max_depth)
{
	struct jin_reader *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->max_depth = max_depth;
	r->tokener = json_tokener_new_ex(max_depth);
	if (!r->tokener) {
		free(r);
		return NULL;
	}
	json_tokener_set_flags(r->tokener, JSON_TOKENER_STRICT);
	return r;
}

void jin_reader_free(struct jin_reader *r)
{
	if (!r)
		return;
	json_tokener_free(r->tokener);
	free(r);
}

/* --- what json-c would let pass --- */

static size_t skip_digits(const char *text, size_t len, size_t at)
{
	while (at < len && text[at] >= '0' && text[at] <= '9')
		at++;
	return at;
}

/* Does the integer fit json-c's int64 or uint64? */
static bool fits_64_bits(const char *text, size_t len)
{
	static const char most[] = "18446744073709551615";
	int64_t ignored;
	if (parse_i64(text, len, INT64_MIN, INT64_MAX, &ignored))
		return true;
	return text[0] != '-' && (len < sizeof most - 1 || (len == sizeof most - 1 && memcmp(text, most, len) <= 0));
}

/* Steps over the number at *at, as RFC 8259 writes it. */
static enum err_code scan_number(const char *text, size_t len, size_t *at, struct err *e)
{
	size_t from = *at, i = from + (text[from] == '-');
	size_t digits = skip_digits(text, len, i) - i;
	bool valid = digits == 1 || (digits > 1 && text[i] != '0'), integer = true;
	i += digits;
	if (valid && i < len && text[i] == '.') {
		size_t end = skip_digits(text, len, i + 1);
		valid = end > i + 1;
		integer = false;
		i = end;
	}
	if (valid && i < len && (text[i] == 'e' || text[i] == 'E')) {
		i++;
		if (i < len && (text[i] == '+' || text[i] == '-'))
			i++;
		size_t end = skip_digits(text, len, i);
		valid = end > i;
		integer = false;
		i = end;
	}
	*at = i;
	if (!valid)
		return err_set(e, ERR_INVALID, "malformed JSON at byte %zu: a number is written wrongly", from);
	if (integer && !fits_64_bits(text + from, i - from))
		return err_set(e, ERR_INVALID,
		        "the integer at byte %zu of the JSON is beyond 64 bits; send it as a string", from);
	return ERR_OK;
}

/* Steps over the string whose quote is at *at. Its end is left to json-c when it is missing. */
static enum err_code scan_string(const char *text, size_t len, size_t *at, struct err *e)
{
	size_t i = *at + 1;
	while (i < len && text[i] != '"') {
		size_t width = text[i] == '\\' && i + 1 < len ? 1 : utf8_char(text + i, len - i);
		if ((unsigned char)text[i] < 0x20)
			return err_set(e, ERR_INVALID,
			        "malformed JSON at byte %zu: a control character in a string must be escaped", i);
		if (width == 0)
			return err_set(e, ERR_INVALID, "malformed JSON at byte %zu: not UTF-8", i);
		if (text[i] == '\\' && (unsigned char)text[i + 1] < 0x80)
			i++;
		i += width;
	}
	*at = i + 1;
	return ERR_OK;
}

/* What json-c will make of a text, at most. */
struct scan {
	size_t nodes, values; /* arrays and objects; strings and numbers, names too */
	bool null;            /* it begins as null does */
};

static enum err_code scan(const char *text, size_t len, struct scan *seen, struct err *e)
{
	enum err_code rc = ERR_OK;
	*seen = (struct scan){.null = len > 0 && text[strspn(text, " \t\r\n")] == 'n'};
	for (size_t i = 0; i < len && rc == ERR_OK;) {
		char c = text[i];
		seen->nodes += c == '{' || c == '[';
		seen->values += c == '"' || c == '-' || (c >= '0' && c <= '9');
		if (c == '"')
			rc = scan_string(text, len, &i, e);
		else if (c == '-' || (c >= '0' && c <= '9'))
			rc = scan_number(text, len, &i, e);
		else if (strchr("NI'", c)) /* NUL too: json-c ends there, knows NaN and Infinity, takes 'name' */
			rc = err_set(e, ERR_INVALID, "malformed JSON at byte %zu: unexpected character", i);
		else
			i++;
	}
	return rc;
}

/* Where json-c 0.16 has no memory it may crash (it takes the name of a field for granted), or go on without a field or a
 * text. So what it can need at most is asked for beforehand, by itself, and given back to it. */
static bool try_memory(struct jin_reader *r, const struct scan *seen, size_t len)
{
	enum { NODE = 1024, VALUE = 160, FIRST = 1024 }; /* bytes, with what malloc adds */
	r->reserve = malloc(FIRST + seen->nodes * NODE + seen->values * VALUE + 4 * len);
	bool had = r->reserve != NULL;
	free(r->reserve);
	r->reserve = NULL;
	return had;
}

enum err_code jin_read(struct jin_reader *r, const char *text, size_t len, struct jin **out, struct err *e)
{
	*out = NULL;
	if (len >= INT_MAX)
		return err_set(e, ERR_INVALID, "the JSON is too long");
	struct scan seen;
	enum err_code rc = scan(text, len, &seen, e);
	if (rc != ERR_OK)
		return rc;
	if (!try_memory(r, &seen, len))
		return err_nomem(e);
	json_tokener_reset(r->tokener);
	/* With its NUL, so that a number at the end is known to be complete. */
	struct json_object *o = json_tokener_parse_ex(r->tokener, text, (int)len + 1);
	enum json_tokener_error why = json_tokener_get_error(r->tokener);
	size_t at = json_tokener_get_parse_end(r->tokener);
	if (why == json_tokener_success && at == len && (o || seen.null)) {
		*out = (struct jin *)(void *)o;
		return ERR_OK;
	}
	json_object_put(o);
	if (why == json_tokener_success) /* it gave up before the end, for want of memory */
		return err_nomem(e);
	if (why == json_tokener_error_depth)
		return err_set(
		        e, ERR_INVALID, "the JSON is nested deeper than %d levels at byte %zu", r->max_depth, at);
	if (why == json_tokener_error_parse_eof || why == json_tokener_continue)
		return err_set(e, ERR_INVALID, "malformed JSON: it ends in the middle");
	return err_set(e, ERR_INVALID, "malformed JSON at byte %zu: %s", at, json_tokener_error_desc(why));
}

/* --- values --- */

static struct json_object *raw(const struct jin *v)
{
	return (struct json_object *)(uintptr_t)v;
}

static const struct jin *cooked(struct json_object *o)
{
	return (const struct jin *)(const void *)o;
}

void jin_free(struct jin *document)
{
	json_object_put(raw(document));
}

enum jin_kind jin_kind(const struct jin *v)
{
	switch (json_object_get_type(raw(v))) {
	case json_type_boolean:
		return JIN_BOOL;
	case json_type_double:
		return JIN_DECIMAL;
	case json_type_int:
		return JIN_INTEGER;
	case json_type_object:
		return JIN_OBJECT;
	case json_type_array:
		return JIN_ARRAY;
	case json_type_string:
		return JIN_TEXT;
	default:
		return JIN_NULL;
	}
}

const char *jin_kind_name(enum jin_kind kind)
{
	static const char *const names[] = {"null", "a boolean", "an integer", "a number with a fraction or exponent",
	        "a string", "an array", "an object"};
	return names[kind];
}

const struct jin *jin_field(const struct jin *object, const char *name)
{
	struct json_object *value = NULL;
	if (jin_kind(object) == JIN_OBJECT)
		json_object_object_get_ex(raw(object), name, &value);
	return cooked(value);
}

size_t jin_count(const struct jin *array)
{
	return jin_kind(array) == JIN_ARRAY ? json_object_array_length(raw(array)) : 0;
}

const struct jin *jin_item(const struct jin *array, size_t i)
{
	return i < jin_count(array) ? cooked(json_object_array_get_idx(raw(array), i)) : NULL;
}

const char *jin_text(const struct jin *v, size_t *len)
{
	/* json-c keeps a double's text and gives it back here. */
	const char *text = v ? json_object_get_string(raw(v)) : "";
	if (!text) {
		*len = 0;
		return NULL;
	}
	*len = jin_kind(v) == JIN_TEXT ? (size_t)json_object_get_string_len(raw(v)) : strlen(text);
	return text;
}

bool jin_true(const struct jin *v)
{
	return json_object_get_boolean(raw(v));
}
