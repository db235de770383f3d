#include "shared/queue/spec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/queue/queue.h"

/* Two parts, "\nname=" and the value, unless the value is none. */
static size_t add_text(const char **parts, size_t n, const char *name, const char *value)
{
	if (!value || !value[0])
		return n;
	parts[n++] = name;
	parts[n++] = value;
	return n;
}

static size_t add_number(const char **parts, size_t n, const char *name, int64_t value, char digits[24])
{
	if (value <= 0)
		return n;
	snprintf(digits, 24, "%" PRId64, value);
	return add_text(parts, n, name, digits);
}

void spec_add(struct cmd *c, const struct job_spec *job, const char *group)
{
	const char *parts[CMD_PARTS_MAX];
	char retries[24], ttl[24], timeout[24], eta[24];
	size_t n = add_text(parts, 0, "task=", job->task);
	n = add_text(parts, n, "\nqueue=", job->queue);
	n = add_text(parts, n, "\nresults=", job->results);
	n = add_text(parts, n, "\ndb=", job->db);
	n = add_text(parts, n, "\ngroup=", group);
	n = add_number(parts, n, "\nretries=", job->retries, retries);
	n = add_number(parts, n, "\nttl=", job->ttl_ms, ttl);
	n = add_number(parts, n, "\ntimeout=", job->timeout_ms, timeout);
	n = add_number(parts, n, "\neta=", job->eta_ms, eta);
	n = add_text(parts, n, "\nargs=", job->args);
	cmd_addparts(c, parts, n);
}

/* The value of "name=value" (len bytes), or NULL when it has another name. */
static const char *value_of(const char *line, size_t len, const char *name, size_t *value_len)
{
	size_t n = strlen(name);
	if (len <= n || line[n] != '=' || memcmp(line, name, n) != 0)
		return NULL;
	*value_len = len - n - 1;
	return line + n + 1;
}

static void read_line(const char *line, size_t len, struct job_order *out)
{
	const struct {
		const char *name;
		char *text;
		int64_t *number;
	} fields[] = {{"task", out->task, NULL}, {"queue", out->queue, NULL}, {"results", out->results, NULL},
	        {"db", out->db, NULL}, {"group", out->group, NULL}, {"retries", NULL, &out->retries},
	        {"ttl", NULL, &out->ttl_ms}, {"timeout", NULL, &out->timeout_ms}, {"eta", NULL, &out->eta_ms}};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		size_t n;
		const char *value = value_of(line, len, fields[i].name, &n);
		if (!value)
			continue;
		char *text = fields[i].text;
		if (text && n <= SPEC_NAME_MAX) {
			memcpy(text, value, n);
			text[n] = '\0';
		} else if (fields[i].number && !parse_i64(value, n, 0, INT64_MAX, fields[i].number)) {
			*fields[i].number = 0;
		}
		return;
	}
}

void spec_read(const char *text, struct job_order *out)
{
	out->task[0] = out->queue[0] = out->db[0] = out->results[0] = out->group[0] = '\0';
	out->retries = out->ttl_ms = out->timeout_ms = out->eta_ms = 0;
	out->args = "[]";
	while (*text) {
		size_t len = strcspn(text, "\n");
		size_t n;
		if (!text[len] && value_of(text, len, "args", &n))
			out->args = text + len - n;
		else
			read_line(text, len, out);
		text += text[len] ? len + 1 : len;
	}
}
