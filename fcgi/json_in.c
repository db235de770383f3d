#include "fcgi/json_in.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/base/utf8.h"

/* What jin_done leaves to the reader. */
#define KEEP_BYTES 65536u
#define FIRST_VALUES 64u

/* The values of a document lie behind one another in the order of the text: behind a container its items or, for each
 * of its fields, the name and the value. */
struct jin {
	const char *text; /* of JIN_TEXT and numbers, in the reader's */
	uint32_t len;     /* of text */
	uint32_t span;    /* values from this one to the next that does not stand in it */
	uint32_t count;   /* items, or fields */
	uint32_t parent;  /* the container that it stands in; only while it is read */
	enum jin_kind kind;
	bool yes;
};

#define NONE UINT32_MAX

struct jin_reader {
	struct jin *values;
	char *text;
	size_t cap, text_cap;
	int max_depth;
};

/* A text being read. */
struct scan {
	struct jin_reader *r;
	const char *text;
	size_t len, at;
	uint32_t n;      /* values so far */
	uint32_t parent; /* the innermost container that is open */
	int depth;       /* containers that are open */
	char *out;       /* where the next string or number goes */
	struct err *e;
};

struct jin_reader *jin_reader_new(int max_depth)
{
	struct jin_reader *r = calloc(1, sizeof *r);
	if (r)
		r->max_depth = max_depth;
	return r;
}

void jin_reader_free(struct jin_reader *r)
{
	if (!r)
		return;
	free(r->values);
	free(r->text);
	free(r);
}

void jin_done(struct jin_reader *r)
{
	if (r->cap * sizeof *r->values + r->text_cap <= KEEP_BYTES)
		return;
	free(r->values);
	free(r->text);
	r->values = NULL;
	r->text = NULL;
	r->cap = r->text_cap = 0;
}

/* --- errors --- */

static enum err_code malformed(struct scan *s, size_t at, const char *why)
{
	if (at >= s->len)
		return err_set(s->e, ERR_INVALID, "malformed JSON: it ends in the middle");
	return err_set(s->e, ERR_INVALID, "malformed JSON at byte %zu: %s", at, why);
}

static enum err_code unexpected(struct scan *s)
{
	return malformed(s, s->at, "unexpected character");
}

/* --- values --- */

static enum err_code add_value(struct scan *s, enum jin_kind kind, struct jin **out)
{
	struct jin_reader *r = s->r;
	if (s->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : FIRST_VALUES;
		struct jin *values = realloc(r->values, cap * sizeof *values);
		if (!values)
			return err_nomem(s->e);
		r->values = values;
		r->cap = cap;
	}
	struct jin *v = *out = &r->values[s->n++];
	*v = (struct jin){.kind = kind, .span = 1, .parent = s->parent};
	return ERR_OK;
}

static void skip_space(struct scan *s)
{
	while (s->text[s->at] == ' ' || s->text[s->at] == '\n' || s->text[s->at] == '\r' || s->text[s->at] == '\t')
		s->at++;
}

/* What has been written since from is the value's text. */
static void end_text(struct scan *s, struct jin *v, const char *from)
{
	v->text = from;
	v->len = (uint32_t)(s->out - from);
	*s->out++ = '\0';
}

/* --- numbers --- */

static size_t skip_digits(const char *text, size_t at)
{
	while (text[at] >= '0' && text[at] <= '9')
		at++;
	return at;
}

/* The number at `at`, as RFC 8259 writes it: where it ends, or 0. */
static size_t number_end(const char *text, size_t at, bool *integer)
{
	size_t first = at + (text[at] == '-');
	size_t end = skip_digits(text, first);
	*integer = true;
	if (end == first || (end > first + 1 && text[first] == '0'))
		return 0;
	if (text[end] == '.') {
		size_t fraction = end + 1;
		*integer = false;
		end = skip_digits(text, fraction);
		if (end == fraction)
			return 0;
	}
	if (text[end] == 'e' || text[end] == 'E') {
		size_t exponent = end + 1;
		exponent += text[exponent] == '+' || text[exponent] == '-';
		*integer = false;
		end = skip_digits(text, exponent);
		if (end == exponent)
			return 0;
	}
	return end;
}

/* Whoever reads on takes it for a 64-bit one, signed or not. */
static bool fits_64_bits(const char *text, size_t len)
{
	static const char most[] = "18446744073709551615";
	int64_t ignored;
	if (parse_i64(text, len, INT64_MIN, INT64_MAX, &ignored))
		return true;
	return text[0] != '-' && (len < sizeof most - 1 || (len == sizeof most - 1 && memcmp(text, most, len) <= 0));
}

static enum err_code read_number(struct scan *s)
{
	bool integer;
	size_t from = s->at, end = number_end(s->text, from, &integer);
	if (end == 0)
		return err_set(s->e, ERR_INVALID, "malformed JSON at byte %zu: a number is written wrongly", from);
	if (integer && !fits_64_bits(s->text + from, end - from))
		return err_set(s->e, ERR_INVALID,
		        "the integer at byte %zu of the JSON is beyond 64 bits; send it as a string", from);
	struct jin *v;
	enum err_code rc = add_value(s, integer ? JIN_INTEGER : JIN_DECIMAL, &v);
	if (rc != ERR_OK)
		return rc;
	if (integer && end - from == 2 && s->text[from] == '-' && s->text[from + 1] == '0')
		from++; /* there is no such integer as -0 */
	char *to = s->out;
	memcpy(to, s->text + from, end - from);
	s->out += end - from;
	end_text(s, v, to);
	s->at = end;
	return ERR_OK;
}

/* --- strings --- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at `at`, or -1. */
static int32_t hex4(const char *text, size_t at)
{
	int32_t v = 0;
	for (size_t i = 0; i < 4; i++) {
		int digit = hex_digit(text[at + i]); /* a NUL is none */
		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

static void put_utf8(struct scan *s, uint32_t c)
{
	if (c < 0x80) {
		*s->out++ = (char)c;
		return;
	}
	if (c < 0x800) {
		*s->out++ = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*s->out++ = (char)(0xe0 | c >> 12);
		} else {
			*s->out++ = (char)(0xf0 | c >> 18);
			*s->out++ = (char)(0x80 | (c >> 12 & 0x3f));
		}
		*s->out++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*s->out++ = (char)(0x80 | (c & 0x3f));
}

/* \uXXXX with the digits at s->at, and the low half of a surrogate pair behind it. */
static enum err_code read_code(struct scan *s)
{
	int32_t c = hex4(s->text, s->at);
	if (c < 0)
		return malformed(s, s->at + strspn(s->text + s->at, "0123456789abcdefABCDEF"),
		        "an escaped character has four hexadecimal digits");
	s->at += 4;
	if (c >= 0xd800 && c < 0xdc00 && s->text[s->at] == '\\' && s->text[s->at + 1] == 'u') {
		int32_t low = hex4(s->text, s->at + 2);
		if (low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			s->at += 6;
		}
	}
	put_utf8(s, c >= 0xd800 && c < 0xe000 ? 0xfffd : (uint32_t)c);
	return ERR_OK;
}

/* Behind a backslash. */
static enum err_code read_escape(struct scan *s)
{
	static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	char c = s->text[s->at];
	const char *known = c ? strchr(names, c) : NULL;
	if (known) {
		*s->out++ = means[known - names];
		s->at++;
		return ERR_OK;
	}
	if (c == 'u') {
		s->at++;
		return read_code(s);
	}
	return malformed(s, s->at,
	        s->at < s->len && utf8_char(s->text + s->at, s->len - s->at) == 0 ? "not UTF-8" : "an unknown escape");
}

/* Copies what stands for itself in a string. */
static enum err_code copy_plain(struct scan *s)
{
	const char *from = s->text + s->at, *p = from, *end = s->text + s->len;
	enum err_code rc = ERR_OK;
	while (p < end && *p != '"' && *p != '\\') {
		if ((unsigned char)*p < 0x20) {
			rc = malformed(s, (size_t)(p - s->text), "a control character in a string must be escaped");
			break;
		}
		size_t width = (unsigned char)*p < 0x80 ? 1 : utf8_char(p, (size_t)(end - p));
		if (width == 0) {
			rc = malformed(s, (size_t)(p - s->text), "not UTF-8");
			break;
		}
		p += width;
	}
	memcpy(s->out, from, (size_t)(p - from));
	s->out += p - from;
	s->at += (size_t)(p - from);
	return rc;
}

static enum err_code read_string(struct scan *s)
{
	struct jin *v;
	enum err_code rc = add_value(s, JIN_TEXT, &v);
	const char *from = s->out;
	s->at++;
	while (rc == ERR_OK) {
		rc = copy_plain(s);
		if (rc != ERR_OK)
			break;
		if (s->at >= s->len)
			return unexpected(s);
		if (s->text[s->at++] == '"') {
			end_text(s, v, from);
			return ERR_OK;
		}
		rc = read_escape(s);
	}
	return rc;
}

/* --- the rest --- */

static enum err_code read_word(struct scan *s)
{
	static const struct {
		const char *word;
		enum jin_kind kind;
		bool yes;
	} words[] = {{"true", JIN_BOOL, true}, {"false", JIN_BOOL, false}, {"null", JIN_NULL, false}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t same = 0;
		while (words[i].word[same] && s->text[s->at + same] == words[i].word[same])
			same++;
		if (same == 0)
			continue;
		if (words[i].word[same]) {
			s->at += same;
			return unexpected(s);
		}
		struct jin *v;
		enum err_code rc = add_value(s, words[i].kind, &v);
		if (rc == ERR_OK)
			v->yes = words[i].yes;
		s->at += same;
		return rc;
	}
	return unexpected(s);
}

static enum err_code open_container(struct scan *s, enum jin_kind kind)
{
	struct jin *v;
	enum err_code rc = add_value(s, kind, &v);
	s->parent = s->n - 1;
	s->depth++;
	s->at++;
	return rc;
}

static void close_container(struct scan *s)
{
	struct jin *v = &s->r->values[s->parent];
	v->span = s->n - s->parent;
	s->parent = v->parent;
	s->depth--;
	s->at++;
}

/* A field's name and its colon. */
static enum err_code read_name(struct scan *s)
{
	skip_space(s);
	if (s->text[s->at] != '"')
		return unexpected(s);
	enum err_code rc = read_string(s);
	if (rc != ERR_OK)
		return rc;
	skip_space(s);
	if (s->text[s->at] != ':')
		return unexpected(s);
	s->at++;
	return ERR_OK;
}

static char closing(const struct jin *container)
{
	return container->kind == JIN_OBJECT ? '}' : ']';
}

/* Goes to where a value must stand, behind an opening bracket or a comma. */
static enum err_code next_value(struct scan *s)
{
	struct jin *container = &s->r->values[s->parent];
	container->count++;
	return container->kind == JIN_OBJECT ? read_name(s) : ERR_OK;
}

/* Begins the value at s->at. *open: it is a container that is not empty, and s->at is where its first value stands. */
static enum err_code read_value(struct scan *s, bool *open)
{
	*open = false;
	skip_space(s);
	char c = s->text[s->at];
	if (s->depth >= s->r->max_depth && s->at < s->len)
		return err_set(s->e, ERR_INVALID, "the JSON is nested deeper than %d levels at byte %zu",
		        s->r->max_depth, s->at);
	if (c == '"')
		return read_string(s);
	if (c == '-' || (c >= '0' && c <= '9'))
		return read_number(s);
	if (c != '{' && c != '[')
		return read_word(s);
	enum err_code rc = open_container(s, c == '{' ? JIN_OBJECT : JIN_ARRAY);
	if (rc != ERR_OK)
		return rc;
	skip_space(s);
	if (s->text[s->at] == (c == '{' ? '}' : ']')) {
		close_container(s);
		return ERR_OK;
	}
	*open = true;
	return next_value(s);
}

/* Behind a value: closes what ends here. *more: another value follows, at s->at. */
static enum err_code end_value(struct scan *s, bool *more)
{
	for (*more = false; s->parent != NONE;) {
		skip_space(s);
		if (s->text[s->at] == ',') {
			s->at++;
			*more = true;
			return next_value(s);
		}
		if (s->text[s->at] != closing(&s->r->values[s->parent]))
			return unexpected(s);
		close_container(s);
	}
	skip_space(s);
	return s->at == s->len ? ERR_OK : unexpected(s);
}

/* Room for all the texts: each has a quote or a separator that is not copied where its NUL goes, but a lone number. */
static bool reserve_text(struct jin_reader *r, size_t len)
{
	if (len + 1 <= r->text_cap)
		return true;
	free(r->text);
	r->text = malloc(len + 1);
	r->text_cap = r->text ? len + 1 : 0;
	return r->text != NULL;
}

enum err_code jin_read(struct jin_reader *r, const char *text, size_t len, const struct jin **out, struct err *e)
{
	*out = NULL;
	if (len >= INT_MAX)
		return err_set(e, ERR_INVALID, "the JSON is too long");
	if (!reserve_text(r, len))
		return err_nomem(e);
	struct scan s = {.r = r, .text = text, .len = len, .parent = NONE, .out = r->text, .e = e};
	bool more = true;
	enum err_code rc = ERR_OK;
	while (rc == ERR_OK && more) {
		rc = read_value(&s, &more);
		if (rc == ERR_OK && !more)
			rc = end_value(&s, &more);
	}
	if (rc == ERR_OK)
		*out = r->values;
	return rc;
}

enum jin_kind jin_kind(const struct jin *v)
{
	return v ? v->kind : JIN_NULL;
}

const char *jin_kind_name(enum jin_kind kind)
{
	static const char *const names[] = {"null", "a boolean", "an integer", "a number with a fraction or exponent",
	        "a string", "an array", "an object"};
	return names[kind];
}

const struct jin *jin_field(const struct jin *object, const char *name)
{
	const struct jin *found = NULL;
	if (jin_kind(object) != JIN_OBJECT)
		return NULL;
	size_t len = strlen(name);
	const struct jin *key = object + 1;
	for (uint32_t i = 0; i < object->count; i++) {
		const struct jin *value = key + 1;
		if (key->len == len && memcmp(key->text, name, len) == 0)
			found = value;
		key = jin_next(value);
	}
	return found;
}

size_t jin_count(const struct jin *array)
{
	return jin_kind(array) == JIN_ARRAY ? array->count : 0;
}

const struct jin *jin_first(const struct jin *array)
{
	return jin_count(array) > 0 ? array + 1 : NULL;
}

const struct jin *jin_next(const struct jin *item)
{
	return item + item->span;
}

const char *jin_text(const struct jin *v, size_t *len)
{
	*len = v && v->text ? v->len : 0;
	return v && v->text ? v->text : "";
}

bool jin_true(const struct jin *v)
{
	return v && v->yes;
}
