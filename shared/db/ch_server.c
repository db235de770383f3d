#include "shared/db/ch_server.h"

#include <stdio.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/db/ch_bind.h"

#define QUERY_SIZE_DEFAULT (256 << 10) /* max_query_size: what the server reads of a statement unless it is told more */
#define KILL_TIMEOUT_MS 3000

/* Settings with the value that they must have, when the server knows them. With `break` a limit of the profile would end
 * a result early and call that a success. */
static const struct {
	const char *name, *value;
} wanted[] = {
        {"timeout_overflow_mode", "throw"},
        {"result_overflow_mode", "throw"},
        {"read_overflow_mode", "throw"},
        {"read_overflow_mode_leaf", "throw"},
        {"timeout_overflow_mode_leaf", "throw"},
        {"group_by_overflow_mode", "throw"},
        {"sort_overflow_mode", "throw"},
        {"distinct_overflow_mode", "throw"},
        {"set_overflow_mode", "throw"},
        {"join_overflow_mode", "throw"},
        {"transfer_overflow_mode", "throw"},
        {"extremes", "0"},
        {"date_time_output_format", "simple"},
        {"output_format_tsv_crlf_end_of_line", "0"},
        {"format_tsv_null_representation", "\\N"},
        {"bool_true_representation", "true"},
        {"bool_false_representation", "false"},
};

/* The client has gone: the query has, too. For a plain POST it counts under readonly only. */
static const char on_close[] = "cancel_http_readonly_queries_on_client_close";

void ch_server_init(struct ch_server *s)
{
	*s = (struct ch_server){.may_set = false};
	buf_init(&s->params, 64 << 10);
}

void ch_server_fini(struct ch_server *s)
{
	buf_fini(&s->params);
}

static void add_url_settings(struct buf *out, const struct ch_url *url)
{
	for (size_t i = 0; i < url->n_settings; i++)
		ch_http_param(out, url->settings[i].name, url->settings[i].value);
}

static bool is(struct cell c, const char *text)
{
	return c.len >= 0 && (size_t)c.len == strlen(text) && memcmp(c.data, text, (size_t)c.len) == 0;
}

/* A setting that has another value than it must. */
static enum err_code take_setting(struct ch_server *s, const struct cell *cells, struct buf *unwanted)
{
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		if (is(cells[0], wanted[i].name) && !is(cells[1], wanted[i].value)) {
			ch_http_param(&s->params, wanted[i].name, wanted[i].value);
			buf_addf(unwanted, "%s%s", unwanted->len ? ", " : "", wanted[i].name);
		}
	return ERR_OK;
}

static enum err_code take_settings(struct ch_server *s, struct ch_tsv *rows, bool read_only, struct err *e)
{
	struct cell cells[2];
	struct buf unwanted;
	char readonly = '0';
	bool cancels = false;
	size_t len, bytes, line_number = 0;
	enum err_code rc = ERR_OK;
	buf_init(&unwanted, 4096);
	for (char *line; rc == ERR_OK && (line = ch_tsv_line(rows, &len));) {
		if (!ch_tsv_split(line, len, NULL, cells, 2, &bytes))
			rc = err_set(e, ERR_UNAVAILABLE, "the server does not answer as ClickHouse does");
		else if (line_number++ < 2)
			continue; /* names and types */
		else if (is(cells[0], "readonly"))
			readonly = cells[1].len == 1 ? cells[1].data[0] : '1';
		else if (is(cells[0], on_close))
			cancels = true;
		else
			rc = take_setting(s, cells, &unwanted);
	}
	s->may_set = readonly != '1';
	if (rc == ERR_OK && line_number < 3)
		rc = err_set(e, ERR_UNAVAILABLE, "the server does not answer as ClickHouse does");
	else if (rc == ERR_OK && !s->may_set && unwanted.len)
		rc = err_set(e, ERR_UNAVAILABLE,
		        "the user may not change settings (readonly = 1), but the profile sets what would spoil "
		        "results: %s",
		        buf_str(&unwanted));
	if (rc == ERR_OK && cancels && s->may_set && (read_only || readonly == '2'))
		ch_http_param(&s->params, on_close, "1");
	if (rc == ERR_OK && read_only && readonly == '0')
		ch_http_param(&s->params, "readonly", "2"); /* last: it lets settings be changed, but nothing else */
	buf_fini(&unwanted);
	return rc;
}

enum err_code ch_server_ask(struct ch_server *s, struct ch_http *h, const struct ch_url *url, bool read_only,
        int64_t timeout_ms, struct err *e)
{
	struct buf sql, params;
	buf_init(&sql, 8192);
	buf_init(&params, 64 << 10);
	buf_addf(&sql, "SELECT name, value FROM system.settings WHERE name IN ('readonly', '%s'", on_close);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		buf_addf(&sql, ", '%s'", wanted[i].name);
	buf_addstr(&sql, ") ORDER BY name");
	if (url->database)
		ch_http_param(&params, "database", url->database);
	add_url_settings(&params, url);
	buf_reset(&s->params);
	add_url_settings(&s->params, url);
	enum err_code rc = buf_ok(&sql) ? ch_http_run(h, &params, buf_str(&sql), timeout_ms, e) : err_nomem(e);
	if (rc == ERR_OK)
		rc = take_settings(s, ch_http_rows(h), read_only, e);
	if (rc != ERR_OK && e)
		rc = e->code = ERR_UNAVAILABLE;
	buf_fini(&sql);
	buf_fini(&params);
	return rc;
}

void ch_server_params(const struct ch_server *s, const struct ch_url *url, const char *query_id, int64_t timeout_ms,
        size_t len, struct buf *out)
{
	char number[24];
	ch_http_param(out, "query_id", query_id);
	if (url->database)
		ch_http_param(out, "database", url->database);
	if (s->may_set && timeout_ms > 0) {
		snprintf(number, sizeof number, "%lld", (long long)((timeout_ms + 999) / 1000));
		ch_http_param(out, "max_execution_time", number);
	}
	if (s->may_set && len > QUERY_SIZE_DEFAULT / 2) {
		snprintf(number, sizeof number, "%zu", len * 2);
		ch_http_param(out, "max_query_size", number);
	}
	buf_addstr(out, buf_str(&s->params));
}

static bool kill_where(const struct ch_url *url, const char *password, int64_t connect_timeout_ms, const char *before,
        const char *id, const char *after)
{
	struct ch_http *h = ch_http_new(url, password, connect_timeout_ms);
	struct buf sql, none;
	struct err ignored = ERR_INIT;
	size_t len;
	int lines = 0;
	buf_init(&sql, 1024);
	buf_init(&none, 1);
	buf_addf(&sql, "KILL QUERY WHERE %s", before);
	ch_bind_literal(&sql, id);
	buf_addstr(&sql, after);
	if (h && buf_ok(&sql) && ch_http_run(h, &none, buf_str(&sql), KILL_TIMEOUT_MS, &ignored) == ERR_OK)
		while (ch_tsv_line(ch_http_rows(h), &len))
			lines++;
	buf_fini(&sql);
	buf_fini(&none);
	ch_http_free(h);
	return lines > 2;
}

bool ch_server_kill(const struct ch_url *url, const char *password, int64_t connect_timeout_ms, const char *query_id)
{
	return kill_where(url, password, connect_timeout_ms, "query_id = ", query_id, "");
}

bool ch_server_kill_all(const struct ch_url *url, const char *password, int64_t connect_timeout_ms, const char *begins)
{
	return kill_where(
	        url, password, connect_timeout_ms, "user = currentUser() AND startsWith(query_id, ", begins, ")");
}
