#include "tests/fuzz/fuzz.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/tasks/tasks.h"

void fuzz_fail(const char *file, int line, const char *claim, const char *fmt, ...)
{
	va_list args;
	fprintf(stderr, "%s:%d: does not hold: %s\n  ", file, line, claim);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

/* --- the input --- */

unsigned fuzz_byte(struct fuzz_in *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

int64_t fuzz_i64(struct fuzz_in *in)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | fuzz_byte(in);
	return (int64_t)v;
}

static char *copy(const uint8_t *bytes, size_t len)
{
	char *text = malloc(len + 1);
	if (!text)
		abort();
	if (len)
		memcpy(text, bytes, len);
	text[len] = '\0';
	return text;
}

char *fuzz_part(struct fuzz_in *in, size_t *len)
{
	const uint8_t *end = in->left ? memchr(in->at, 0xff, in->left) : NULL;
	*len = end ? (size_t)(end - in->at) : in->left;
	char *text = copy(in->at, *len);
	size_t used = *len + (end != NULL);
	in->at += used;
	in->left -= used;
	return text;
}

char *fuzz_rest(struct fuzz_in *in, size_t *len)
{
	*len = in->left;
	in->left = 0;
	return copy(in->at, *len);
}

char *fuzz_copy(const void *bytes, size_t len)
{
	char *out = malloc(len ? len : 1);
	if (!out)
		abort();
	if (len)
		memcpy(out, bytes, len);
	return out;
}

char *fuzz_text(struct fuzz_in *in)
{
	size_t len;
	char *part = fuzz_part(in, &len);
	char *text = strdup(part); /* no longer than its first NUL allows */
	free(part);
	if (!text)
		abort();
	return text;
}

/* --- what holds everywhere --- */

/* The bytes of the character at p, from RFC 3629's grammar; 0: none. */
static size_t character(const unsigned char *p, size_t left)
{
	static const struct {
		unsigned char first_least, first_most, second_least, second_most;
		size_t len;
	} forms[] = {{0x00, 0x7f, 0, 0, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (p[0] < forms[i].first_least || p[0] > forms[i].first_most || forms[i].len > left)
			continue;
		if (forms[i].len > 1 && (p[1] < forms[i].second_least || p[1] > forms[i].second_most))
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if (p[k] < 0x80 || p[k] > 0xbf)
				return 0;
		return forms[i].len;
	}
	return 0;
}

bool fuzz_is_utf8(const char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = character((const unsigned char *)text + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

void fuzz_check_err(enum err_code rc, const struct err *e, bool may_be_silent)
{
	FUZZ_CHECK(memchr(e->text, '\0', sizeof e->text), "the text has no end");
	if (rc == ERR_OK)
		return;
	size_t len = strlen(e->text);
	FUZZ_CHECK(may_be_silent || (e->code == rc && len > 0), "code %d, %d in the error: %s", rc, e->code, e->text);
	for (size_t i = 0; i < len; i++)
		FUZZ_CHECK((unsigned char)e->text[i] >= 0x20 && e->text[i] != 0x7f, "byte %zu of: %s", i, e->text);
	FUZZ_CHECK(fuzz_is_utf8(e->text, len), "%s", e->text);
}

/* --- JSON --- */

struct json_text {
	const char *at, *end;
	struct fuzz_json *out;
};

static void white(struct json_text *t)
{
	while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r'))
		t->at++;
}

static bool take(struct json_text *t, char c)
{
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static bool word(struct json_text *t, const char *text)
{
	size_t n = strlen(text);
	if ((size_t)(t->end - t->at) < n || memcmp(t->at, text, n) != 0)
		return false;
	t->at += n;
	return true;
}

static bool digits(struct json_text *t)
{
	const char *from = t->at;
	while (t->at < t->end && *t->at >= '0' && *t->at <= '9')
		t->at++;
	return t->at > from;
}

static bool number(struct json_text *t)
{
	const char *from = t->at;
	bool minus = take(t, '-'), integer = true;
	if (!take(t, '0') && !digits(t))
		return false;
	size_t n = (size_t)(t->at - from - minus);
	if (take(t, '.')) {
		integer = false;
		if (!digits(t))
			return false;
	}
	if (take(t, 'e') || take(t, 'E')) {
		integer = false;
		if (!take(t, '+'))
			take(t, '-');
		if (!digits(t))
			return false;
	}
	/* compared as texts of one length, which may be longer than any type */
	const char *most = minus ? "9223372036854775808" : "18446744073709551615";
	if (integer && (n > strlen(most) || (n == strlen(most) && memcmp(from + minus, most, n) > 0)))
		t->out->huge = true;
	return true;
}

static bool string(struct json_text *t)
{
	if (!take(t, '"'))
		return false;
	t->out->strings++;
	while (t->at < t->end && *t->at != '"') {
		size_t n = character((const unsigned char *)t->at, (size_t)(t->end - t->at));
		if (n == 0 || (unsigned char)*t->at < 0x20)
			return false;
		bool escape = *t->at == '\\';
		t->at += n;
		if (!escape)
			continue;
		if (take(t, 'u')) {
			for (int i = 0; i < 4; i++, t->at++)
				if (t->at == t->end || !*t->at || !strchr("0123456789abcdefABCDEF", *t->at))
					return false;
		} else if (t->at == t->end || !*t->at || !strchr("\"\\/bfnrt", *t->at)) {
			return false;
		} else {
			t->at++;
		}
	}
	return take(t, '"');
}

static bool value(struct json_text *t, int depth);

static bool list(struct json_text *t, char end, bool named, int depth)
{
	if (depth > t->out->depth)
		t->out->depth = depth;
	if (depth > 2000)
		return false;
	white(t);
	if (take(t, end))
		return true;
	do {
		white(t);
		if (named) {
			if (!string(t))
				return false;
			white(t);
			if (!take(t, ':'))
				return false;
		}
		if (!value(t, depth))
			return false;
		white(t);
	} while (take(t, ','));
	return take(t, end);
}

static bool value(struct json_text *t, int depth)
{
	white(t);
	if (t->at == t->end)
		return false;
	switch (*t->at) {
	case '{':
		t->at++;
		return list(t, '}', true, depth + 1);
	case '[':
		t->at++;
		return list(t, ']', false, depth + 1);
	case '"':
		return string(t);
	case 't':
		return word(t, "true");
	case 'f':
		return word(t, "false");
	case 'n':
		return word(t, "null");
	default:
		return number(t);
	}
}

struct fuzz_json fuzz_read_json(const char *text, size_t len)
{
	struct fuzz_json out = {0};
	struct json_text t = {text, text + len, &out};
	out.valid = value(&t, 0);
	white(&t);
	out.valid = out.valid && t.at == t.end;
	return out;
}

void fuzz_check_json(const char *text, size_t len)
{
	FUZZ_CHECK(fuzz_read_json(text, len).valid, "%.*s", (int)len, text);
	struct json_tokener *tokener = json_tokener_new_ex(64);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	char *ended = malloc(len + 1); /* json-c wants to see the end of a number */
	if (!tokener || !ended)
		abort();
	memcpy(ended, text, len);
	ended[len] = '\0';
	struct json_object *o = json_tokener_parse_ex(tokener, ended, (int)len + 1);
	FUZZ_CHECK(json_tokener_get_error(tokener) == json_tokener_success, "%s",
	        json_tokener_error_desc(json_tokener_get_error(tokener)));
	json_object_put(o);
	json_tokener_free(tokener);
	free(ended);
}

/* --- a configuration and tasks --- */

static char directory[] = "/tmp/dungbeetle-fuzz-XXXXXX";

const struct config *fuzz_config(void)
{
	static struct cfg_source sources[] = {{.name = (char *)"ledger", .engine = DB_POSTGRES},
	        {.name = (char *)"my", .engine = DB_MYSQL}, {.name = (char *)"ch", .engine = DB_CLICKHOUSE}};
	static struct cfg_results results[] = {{.name = (char *)"reports"}, {.name = (char *)"more"}};
	static char *directories[] = {directory};
	static struct config c = {.sources = sources, .n_sources = 3, .results = results, .n_results = 2};
	c.sql_directories = directories;
	c.n_sql_directories = 1;
	c.redis.prefix = (char *)"db:";
	c.jobs.default_queue = (char *)"default";
	c.jobs.result_ttl_ms = 3600000;
	c.jobs.state_ttl_ms = 86400000;
	c.jobs.retries = 1;
	c.limits.body = 65536;
	c.limits.args = 5;
	c.limits.arg_bytes = 100;
	c.limits.group_jobs = 4;
	c.limits.json_depth = 6;
	c.limits.page = 3;
	c.worker.lease_ms = 15000;
	return &c;
}

const struct task_set *fuzz_tasks(void)
{
	static const char text[] = "-- name: statement\n"
	                           "-- db: ledger\n"
	                           "-- results: reports\n"
	                           "-- queue: slow\n"
	                           "-- params: user_id\n"
	                           "-- description: entries of a \"user\"\n"
	                           "-- ttl: 2h\n"
	                           "SELECT * FROM entries WHERE user_id = $1;\n"
	                           "-- name: totals\n"
	                           "-- db: my, ch\n"
	                           "SELECT * FROM entries WHERE a > ? AND b < ?;\n"
	                           "-- name: plain\n"
	                           "SELECT 1;\n";
	static struct task_set *tasks;
	if (tasks)
		return tasks;
	struct err e = ERR_INIT;
	char path[64];
	if (!mkdtemp(directory))
		abort();
	snprintf(path, sizeof path, "%s/t.sql", directory);
	FILE *f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
	enum err_code rc = task_set_load(fuzz_config(), &tasks, &e);
	unlink(path);
	rmdir(directory);
	FUZZ_CHECK(rc == ERR_OK, "%s", e.text);
	return tasks;
}
