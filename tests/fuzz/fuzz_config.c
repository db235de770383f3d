/* A configuration. Input: a byte (0 to 127: bit 0 the worker's, else the FastCGI program's; above: a secret's key); the
 * file's text; variables, 0xff between them. Or, with a secret's key: a text for it, byte 1 standing for the secret.
 * What was loaded, written again, loads as the same; every number is within its limits; a message begins with the file or
 * the variable, and shows nothing of a secret. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/config/config_table.h"
#include "tests/fuzz/fuzz.h"

#define SECRET "QZ7XKJ9V"
#define VARIABLES_MAX 8

static char path[64]; /* the file, in memory */
static int fd = -1;

static enum err_code load(
        enum config_program program, const char *text, size_t len, char **variables, struct config **c, struct err *e)
{
	if (fd < 0) {
		fd = memfd_create("config", MFD_CLOEXEC);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	}
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, len, 0) != (ssize_t)len)
		abort();
	struct config_flags flags = {.program = program, .config_path = path};
	return config_load(&flags, variables, c, e);
}

/* --- writing a configuration --- */

static void add_quoted(struct buf *b, const char *text)
{
	if (!fuzz_is_utf8(text, strlen(text))) { /* of a variable: YAML cannot say it */
		buf_addstr(b, text);
		return;
	}
	buf_addc(b, '"');
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		uint32_t c = *p;
		int more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
		c = more ? c & (0x3fu >> more) : c;
		for (int i = 0; i < more; i++)
			c = c << 6 | (*++p & 0x3fu);
		buf_addf(b, "\\U%08x", c);
	}
	buf_addc(b, '"');
}

static void add_value(struct buf *b, const struct config_key *key, const void *base)
{
	const struct key_rule *rule = key->rule;
	const char *field = (const char *)base + rule->offset;
	size_t n = rule->count ? *(const size_t *)(const void *)((const char *)base + rule->count) : 0;
	int64_t v = rule->width == sizeof(int) ? *(const int *)(const void *)field : 0;
	switch (rule->kind) {
	case KEY_TEXT:
		add_quoted(b, *(char *const *)(const void *)field);
		break;
	case KEY_BOOLEAN:
		buf_addstr(b, *(const bool *)field ? "true" : "false");
		break;
	case KEY_CHOICE:
		buf_addstr(b, rule->choices[*(const int *)(const void *)field]);
		break;
	case KEY_LIST:
		buf_addc(b, '[');
		for (size_t i = 0; i < n; i++) {
			buf_addstr(b, i ? ", " : "");
			add_quoted(b, (*(char **const *)(const void *)field)[i]);
		}
		buf_addc(b, ']');
		break;
	case KEY_QUEUES:
		buf_addc(b, '{');
		for (size_t i = 0; i < n; i++) {
			const struct cfg_queue *q = &(*(struct cfg_queue *const *)(const void *)field)[i];
			buf_addstr(b,
			        i ? ", ? " : "? "); /* without the mark a key may have 1,024 characters, as written */
			add_quoted(b, q->name);
			buf_addf(b, " : %d", q->slots);
		}
		buf_addc(b, '}');
		break;
	default:
		if (rule->kind != KEY_INTEGER || rule->width != sizeof(int))
			v = *(const int64_t *)(const void *)field;
		FUZZ_CHECK(v >= rule->min && v <= rule->max, "%s: %lld", key->path, (long long)v);
		buf_addf(b, "%lld%s", (long long)v, rule->kind == KEY_DURATION ? "ms" : "");
		break;
	}
}

static void add_keys(struct buf *b, const char *group, const char *indent, const void *base)
{
	size_t n, len = strlen(group);
	const struct config_key *keys = config_keys(&n);
	const char *section = "";
	for (size_t i = 0; i < n; i++) {
		if (len ? strncmp(keys[i].path, group, len) != 0 : strchr(keys[i].path, '*') != NULL)
			continue;
		if (keys[i].rule->unless && !**(char *const *)(const void *)((const char *)base + keys[i].rule->offset))
			continue; /* it may be missing, but not be empty */
		const char *key = keys[i].path + len, *dot = strchr(key, '.');
		size_t width = dot ? (size_t)(dot - key) : 0;
		if (dot && strncmp(section, key, width + 1) != 0)
			buf_addf(b, "%s%.*s:\n", indent, (int)width, key);
		section = dot ? key : "";
		buf_addf(b, "%s%s%s: ", indent, dot ? "  " : "", dot ? dot + 1 : key);
		add_value(b, &keys[i], base);
		buf_addc(b, '\n');
	}
}

static void write_config(struct buf *b, const struct config *c)
{
	add_keys(b, "", "", c);
	if (c->n_sources)
		buf_addstr(b, "sources:\n");
	for (size_t i = 0; i < c->n_sources; i++) {
		buf_addstr(b, "  ");
		add_quoted(b, c->sources[i].name);
		buf_addstr(b, ":\n");
		add_keys(b, "sources.*.", "    ", &c->sources[i]);
	}
	buf_addstr(b, "results:\n");
	for (size_t i = 0; i < c->n_results; i++) {
		buf_addstr(b, "  ");
		add_quoted(b, c->results[i].name);
		buf_addstr(b, ":\n");
		add_keys(b, "results.*.", "    ", &c->results[i]);
	}
}

/* --- checks --- */

static void check_again(enum config_program program, const struct config *c)
{
	struct buf once, twice;
	struct config *again = NULL;
	struct err e = ERR_INIT;
	buf_init(&once, 1 << 24);
	buf_init(&twice, 1 << 24);
	write_config(&once, c);
	if (fuzz_is_utf8(buf_str(&once), once.len) && once.len < (1 << 20)) {
		enum err_code rc = load(program, buf_str(&once), once.len, NULL, &again, &e);
		FUZZ_CHECK(rc == ERR_OK, "%s: %s", e.text, buf_str(&once));
		write_config(&twice, again);
		FUZZ_CHECK(strcmp(buf_str(&once), buf_str(&twice)) == 0, "%s\n--\n%s", buf_str(&once), buf_str(&twice));
		config_free(again);
	}
	buf_fini(&once);
	buf_fini(&twice);
}

static void check_whole(struct fuzz_in *in, enum config_program program)
{
	char *variables[VARIABLES_MAX + 1] = {NULL}, name[80];
	size_t len, n = 0;
	struct config *c = NULL;
	struct err e = ERR_INIT;
	char *text = fuzz_part(in, &len);
	while (in->left && n < VARIABLES_MAX)
		variables[n++] = fuzz_text(in);
	/* Only files of this process' own are read. */
	bool opens = memmem(text, len, "password_file", 13) != NULL || memchr(text, '\\', len);
	for (size_t i = 0; i < n; i++)
		opens = opens || strcasestr(variables[i], "password_file");
	if (opens)
		program = PROGRAM_FCGI;
	enum err_code rc = load(program, text, len, n ? variables : NULL, &c, &e);
	fuzz_check_err(rc, &e, false);
	snprintf(name, sizeof name, "%s:", path);
	FUZZ_CHECK(rc == ERR_OK || (rc == ERR_INVALID && !c), "code %d", rc);
	FUZZ_CHECK(rc == ERR_OK || strncmp(e.text, name, strlen(name)) == 0 || strncmp(e.text, "environment ", 12) == 0,
	        "%s", e.text);
	if (rc == ERR_OK) {
		FUZZ_CHECK(c->n_results > 0 && c->n_sources > 0 && c->worker.n_queues > 0, "something is missing");
		check_again(program, c);
	}
	config_free(c);
	for (size_t i = 0; i < n; i++)
		free(variables[i]);
	free(text);
}

/* A file that is right but for one secret, which is in no message, whatever it holds. */
static void check_secret(struct fuzz_in *in, unsigned which)
{
	static const char *const types[] = {"postgres", "mysql", "clickhouse"};
	struct buf secret, text;
	struct config *c = NULL;
	struct err e = ERR_INIT;
	buf_init(&secret, 1 << 20);
	buf_init(&text, 1 << 22);
	char *given = fuzz_text(in);
	bool has = strchr(given, 1) != NULL, utf8 = fuzz_is_utf8(given, strlen(given));
	for (const char *p = given; *p; p++)
		if (*p == 1)
			buf_addstr(&secret, SECRET);
		else
			buf_addc(&secret, *p);
	buf_addstr(&text, "redis: {url: ");
	add_quoted(&text, which % 4 == 0 ? buf_str(&secret) : "redis://h");
	buf_addf(&text, "}\nsources: {a: {type: %s, dsn: ", types[which / 4 % 3]);
	add_quoted(&text, which % 4 == 1 ? buf_str(&secret) : which / 4 % 3 == 2 ? "http://h" : "u:p@tcp(h)/d=");
	if (which % 4 >= 2) {
		buf_addstr(&text, ", password: ");
		add_quoted(&text, buf_str(&secret));
	}
	buf_addstr(&text, "}}\nresults: {b: {type: postgres, dsn: 'host=b'}}\n");
	if (has && utf8) {
		enum err_code rc = load(PROGRAM_FCGI, text.data, text.len, NULL, &c, &e);
		fuzz_check_err(rc, &e, false);
		/* A dsn shows no more than where it is plainly none: a parameter's name, the host of another protocol. */
		FUZZ_CHECK(which % 4 == 1 || !strstr(e.text, SECRET), "%s: %s", text.data, e.text);
	}
	config_free(c);
	free(given);
	buf_fini(&secret);
	buf_fini(&text);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned what = fuzz_byte(&in);
	if (what >= 128)
		check_secret(&in, what - 128);
	else
		check_whole(&in, what & 1 ? PROGRAM_WORKER : PROGRAM_FCGI);
}
