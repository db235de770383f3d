/* ClickHouse as a source, over HTTP.
 *
 * A run is one POST, whose answer is read row by row as the sink takes them. The statement's arguments are put into it as
 * literals (ch_bind.h). The query_id is the run's own, so that a cancel finds it and nothing else.
 *
 * The end of an answer is not always its end: an error that comes behind rows, of which the status 200 knows nothing, is
 *  - on newer servers a block that begins with a bare \r, which no value can hold, in an answer that is then broken off;
 *  - on older ones (those that do not send X-ClickHouse-Exception-Tag) a line of text, and then the answer ends as if all
 *    were well. As a rule it cannot be a row: too few cells, no number, a quote that is not escaped. Where it could be one
 *    and is the last, the statement is run once more with wait_end_of_query=1, which makes the error a status.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "shared/base/buf.h"
#include "shared/base/clock.h"
#include "shared/db/ch_bind.h"
#include "shared/db/ch_error.h"
#include "shared/db/ch_http.h"
#include "shared/db/ch_ops.h"
#include "shared/db/ch_server.h"
#include "shared/db/ch_types.h"

#define STATEMENT_MAX (64 << 20) /* bytes, with its arguments */
#define LATE_TEXT_MAX (16 << 10) /* bytes of an error behind rows that are looked at */
#define LATE_LINES 32            /* that such an error may have */
#define ASK_TIMEOUT_MS 10000     /* for the answers that cost the server nothing */
#define GONE_WITHIN_MS 1000      /* how long abort waits until the query is found and ended */

enum mode { MODE_IDLE, MODE_RUNNING };

/* The last row that could as well be the text of an error. */
struct suspect {
	int64_t row; /* its number; 0: there is none */
	struct buf text;
};

struct ch_source {
	struct source base;
	const struct cfg_source *cfg;
	struct ch_url url; /* constant once host is set */
	struct ch_http *http;
	struct ch_server server;
	atomic_bool cancelled; /* cancel was called since connect */
	pthread_mutex_t lock;
	char query_id[256]; /* of what runs, "": nothing; guarded by lock, written by the owner */

	enum mode mode;
	struct buf statement, params; /* of what runs: curl reads the statement */
	struct ch_statement seen;
	bool has_args;
	char tag[160];
	int64_t timeout_ms;
	size_t n;
	struct cell *cells;
	enum ch_fix *fixes;
	bool *raw;              /* for ch_tsv_split */
	size_t *fixed, n_fixed; /* the columns whose cells are not as they should be */
	bool first_is_text;     /* of the columns, the first can be any text */
	int64_t rows;
	struct suspect suspect;
};

static struct ch_source *self(struct source *s)
{
	return (struct ch_source *)(void *)s;
}

static struct source *make(const struct cfg_source *cfg)
{
	struct ch_source *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->base.ops = &ch_source_ops;
	s->cfg = cfg;
	pthread_mutex_init(&s->lock, NULL);
	ch_server_init(&s->server);
	buf_init(&s->statement, STATEMENT_MAX);
	buf_init(&s->params, 128 << 10);
	buf_init(&s->suspect.text, LATE_TEXT_MAX);
	return &s->base;
}

static void destroy(struct source *base)
{
	if (!base)
		return;
	struct ch_source *s = self(base);
	ch_http_free(s->http);
	ch_url_fini(&s->url);
	ch_server_fini(&s->server);
	buf_fini(&s->statement);
	buf_fini(&s->params);
	buf_fini(&s->suspect.text);
	free(s->cells);
	free(s->fixes);
	free(s->raw);
	free(s->fixed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* --- connecting --- */

static const char *password(const struct ch_source *s)
{
	return s->cfg->password && s->cfg->password[0] ? s->cfg->password : NULL;
}

static bool fits_header(const char *text)
{
	for (; text && *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static enum err_code read_dsn(struct ch_source *s, struct err *e)
{
	enum err_code rc = ch_url_parse(s->cfg->dsn, &s->url, e);
	if (rc == ERR_OK && !(fits_header(s->url.user) && fits_header(s->url.password) && fits_header(password(s)))) {
		rc = err_set(e, ERR_INVALID, "user and password cannot hold control characters");
		ch_url_fini(&s->url);
	}
	if (rc == ERR_INVALID && e)
		return err_prefix(e, "dsn"), e->code = ERR_UNAVAILABLE;
	return rc == ERR_INVALID ? ERR_UNAVAILABLE : rc;
}

static enum err_code do_connect(struct source *base, struct err *e)
{
	struct ch_source *s = self(base);
	atomic_store(&s->cancelled, false);
	enum err_code rc = s->url.host ? ERR_OK : read_dsn(s, e);
	if (rc != ERR_OK)
		return rc;
	if (!s->http)
		s->http = ch_http_new(&s->url, password(s), s->cfg->connect_timeout_ms);
	if (!s->http)
		return err_nomem(e);
	if (ch_http_alive(s->http))
		return ERR_OK;
	return ch_server_ask(
	        &s->server, s->http, &s->url, s->cfg->read_only, s->cfg->connect_timeout_ms + ASK_TIMEOUT_MS, e);
}

/* --- sending --- */

/* "dungbeetle-<job id>.<task>-<random>"; an empty one for NULL. */
static void set_query_id(struct ch_source *s, const char *tag)
{
	uint64_t random = (uint64_t)clock_mono_ms();
	ssize_t ignored = getrandom(&random, sizeof random, 0);
	(void)ignored;
	pthread_mutex_lock(&s->lock);
	s->query_id[0] = '\0';
	if (tag)
		snprintf(s->query_id, sizeof s->query_id, "dungbeetle-%.200s-%016llx", tag, (unsigned long long)random);
	for (char *p = s->query_id; *p; p++)
		if (*p == ' ')
			*p = '.';
	pthread_mutex_unlock(&s->lock);
}

/* Whose query it is, for a person who looks at the running ones. */
static void add_comment(struct buf *out, const char *tag)
{
	if (!strstr(tag, "*/"))
		buf_addf(out, "/* dungbeetle: %s */ ", tag);
}

/* Sends what is in s->statement; more: further parameters. */
static enum err_code send(struct ch_source *s, const char *more, struct err *e)
{
	if (atomic_load(&s->cancelled))
		return err_set(e, ERR_TRANSIENT, "the query was cancelled");
	set_query_id(s, s->tag);
	buf_reset(&s->params);
	ch_server_params(&s->server, &s->url, s->query_id, s->timeout_ms, s->statement.len, &s->params);
	buf_addstr(&s->params, more);
	s->rows = 0;
	s->suspect.row = 0;
	enum err_code rc = ch_http_send(s->http, &s->params, buf_str(&s->statement), s->statement.len, e);
	if (rc == ERR_OK)
		s->mode = MODE_RUNNING;
	return rc;
}

/* Nothing runs on the server any more. */
static void end(struct ch_source *s)
{
	s->mode = MODE_IDLE;
	set_query_id(s, NULL);
}

/* The server's words as an error; status as in ch_error_set. */
static enum err_code refuse(struct ch_source *s, long status, const char *text, size_t len, struct err *e)
{
	enum err_code rc = ch_error_set(e, status, text, len);
	/* Without arguments there is nothing of the job's that it could repeat, but a value of a row. */
	if (e && !s->has_args && !ch_error_is_of_values(ch_error_number(text, len)))
		e->quotes = false;
	return rc;
}

/* Waits for a line or the end. */
static enum err_code wait(struct ch_source *s, struct err *e)
{
	if (!atomic_load(&s->cancelled))
		ch_http_move(s->http, -1);
	return atomic_load(&s->cancelled) ? err_set(e, ERR_TRANSIENT, "the query was cancelled") : ERR_OK;
}

/* --- errors behind rows --- */

/* Adds as much as there is room for. */
static void clip(struct buf *b, const char *text, size_t len)
{
	size_t left = b->max - b->len;
	buf_add(b, text, len < left ? len : left);
}

/* line, which is not empty, is the beginning of an error's text: reads on to its end and sets e to what it says. */
static enum err_code late_error(struct ch_source *s, const char *line, size_t len, struct err *e)
{
	struct ch_tsv *rows = ch_http_rows(s->http);
	bool marked = line[len - 1] == '\r'; /* a newer server's: what the marks enclose begins with the code */
	struct buf text;
	buf_init(&text, LATE_TEXT_MAX);
	enum err_code rc = ERR_OK;
	for (const char *part = line; rc == ERR_OK && text.len < LATE_TEXT_MAX;) {
		if (part) {
			clip(&text, part, len);
			clip(&text, "\n", 1);
		} else if (ch_http_ended(s->http)) {
			break;
		} else {
			rc = wait(s, e);
		}
		part = ch_tsv_line(rows, &len);
	}
	const char *rest = ch_tsv_rest(rows, &len);
	if (rest)
		clip(&text, rest, len);
	const char *code = marked ? strstr(buf_str(&text), "Code: ") : buf_str(&text);
	if (rc == ERR_OK && ch_http_ended(s->http))
		end(s);
	if (rc == ERR_OK && code)
		rc = refuse(s, 0, code, text.len - (size_t)(code - buf_str(&text)), e);
	else if (rc == ERR_OK)
		rc = err_set(e, ERR_TRANSIENT, "connection lost: the server broke off while it told of an error");
	buf_fini(&text);
	return rc;
}

static enum err_code suspect_error(struct ch_source *s, struct err *e)
{
	return refuse(s, 0, buf_str(&s->suspect.text), s->suspect.text.len, e);
}

/* Notes a row that reads as an error does, if it can be a row at all. */
static bool note_suspect(struct ch_source *s, const char *line, size_t len)
{
	if (!s->first_is_text || ch_tsv_count(line, len) != s->n || !ch_error_may_be_value(line, len))
		return false;
	s->suspect.row = s->rows + 1;
	buf_reset(&s->suspect.text);
	clip(&s->suspect.text, line, len);
	return true;
}

static bool is_near_end(const struct ch_source *s)
{
	return s->suspect.row && s->rows - s->suspect.row < LATE_LINES;
}

static enum err_code malformed(struct ch_source *s, const char *line, size_t len, struct err *e)
{
	if (is_near_end(s))
		return suspect_error(s, e);
	size_t n = ch_tsv_count(line, len);
	if (n == s->n && len > 0)
		return err_set(e, ERR_PERMANENT, "row %lld of the answer is not in the form " CH_FORMAT,
		        (long long)s->rows + 1);
	return err_set(e, ERR_PERMANENT, "row %lld of the answer has %zu cells, not %zu%s", (long long)s->rows + 1, n,
	        s->n,
	        len == 0 ? ": a query WITH TOTALS has two results, of which one can be kept (WITH ROLLUP has one)"
	                 : "");
}

/* Looks at a line before it is taken for a row. */
static enum err_code examine(struct ch_source *s, const char *line, size_t len, struct err *e)
{
	if (len == 0)
		return s->n == 1 && !s->first_is_text ? malformed(s, line, len, e) : ERR_OK;
	/* Cheap, for it is done with each row. */
	bool odd = line[len - 1] == '\r' || line[0] == 'C' || line[0] == 'P' || line[0] == 's' || line[0] == 'U';
	if (!odd)
		return ERR_OK;
	if (line[len - 1] == '\r')
		return late_error(s, line, len, e);
	if (ch_http_head(s->http)->tagged || !ch_error_begins(line, len) || note_suspect(s, line, len))
		return ERR_OK;
	return late_error(s, line, len, e);
}

/* The end of an answer that is a status 200. */
static enum err_code examine_end(struct ch_source *s, struct err *e)
{
	size_t len;
	enum err_code rc = ch_http_result(s->http, e);
	if (rc == ERR_UNAVAILABLE)
		end(s); /* it has not begun */
	if (rc != ERR_OK)
		return rc;
	const char *rest = ch_tsv_rest(ch_http_rows(s->http), &len);
	end(s);
	if (rest && ch_error_begins(rest, len))
		return refuse(s, 0, rest, len, e);
	return rest ? err_set(e, ERR_TRANSIENT, "the answer ends in the middle of a row") : ERR_OK;
}

/* An error status: its text is the error. */
static enum err_code examine_status(struct ch_source *s, struct err *e)
{
	enum err_code rc = ERR_OK;
	while (rc == ERR_OK && !ch_http_ended(s->http))
		rc = wait(s, e);
	if (rc == ERR_OK)
		rc = ch_http_result(s->http, e);
	if (rc != ERR_OK)
		return rc;
	end(s);
	const struct buf *text = ch_http_text(s->http);
	return refuse(s, ch_http_head(s->http)->status, buf_str(text), text->len, e);
}

/* Reads the answer of a second run to its end; *found: which of its last rows is the suspect, counted from the end. */
static enum err_code read_again(struct ch_source *s, const struct buf *text, int64_t *found, struct err *e)
{
	struct ch_tsv *rows = ch_http_rows(s->http);
	int64_t at = 0, n = 0;
	size_t len;
	enum err_code rc = ERR_OK;
	for (;;) {
		for (const char *line; (line = ch_tsv_line(rows, &len)); n++)
			if (len >= text->len && memcmp(line, text->data, text->len) == 0)
				at = n + 1;
		if (ch_http_ended(s->http))
			break;
		rc = wait(s, e);
		if (rc != ERR_OK)
			return rc;
	}
	if (ch_http_head(s->http)->status != 200)
		return ch_http_result(s->http, e) == ERR_OK ? examine_status(s, e) : e->code;
	rc = examine_end(s, e);
	*found = at ? n - at : -1;
	return rc;
}

/* One of the last rows reads as an error does: is it one? */
static enum err_code verify(struct ch_source *s, struct err *e)
{
	int64_t behind = s->rows - s->suspect.row, found = -1;
	struct err again = ERR_INIT;
	enum err_code rc = send(s, "&wait_end_of_query=1", &again);
	if (rc == ERR_OK)
		rc = read_again(s, &s->suspect.text, &found, &again);
	if (rc == ERR_OK && found == behind)
		return ERR_OK; /* it is there again, and the server says that all is well */
	suspect_error(s, e);
	if (rc == ERR_OK && e) /* this time it went well */
		e->code = ERR_TRANSIENT;
	else if (e && again.code != ERR_PERMANENT)
		*e = again;
	return e ? e->code : ERR_PERMANENT;
}

/* --- the head of an answer --- */

static enum err_code make_room(struct ch_source *s, size_t n, struct err *e)
{
	free(s->cells);
	free(s->fixes);
	free(s->raw);
	free(s->fixed);
	s->cells = calloc(n, sizeof *s->cells);
	s->fixes = calloc(n, sizeof *s->fixes);
	s->raw = calloc(n, sizeof *s->raw);
	s->fixed = calloc(n, sizeof *s->fixed);
	s->n = n;
	s->n_fixed = 0;
	return s->cells && s->fixes && s->raw && s->fixed ? ERR_OK : err_nomem(e);
}

static enum err_code take_names(struct ch_source *s, char *line, size_t len, struct columns *out, struct err *e)
{
	size_t n = ch_tsv_count(line, len), bytes;
	enum err_code rc = make_room(s, n, e);
	if (rc == ERR_OK)
		rc = columns_resize(out, n, e);
	if (rc != ERR_OK)
		return rc;
	out->engine = DB_CLICKHOUSE;
	if (!ch_tsv_split(line, len, NULL, s->cells, n, &bytes))
		return err_set(e, ERR_PERMANENT, "the answer does not begin with the columns' names");
	for (size_t i = 0; i < n; i++) {
		char name[COLUMN_NAME_MAX + 2]; /* one more: column_set_name sees that it is to be cut */
		int k = s->cells[i].len < 0 ? 0 : s->cells[i].len;
		snprintf(name, sizeof name, "%.*s", k, k ? s->cells[i].data : "");
		column_set_name(&out->list[i], name);
	}
	return ERR_OK;
}

static enum err_code not_our_format(struct err *e)
{
	return err_set(e, ERR_PERMANENT, "the query has a FORMAT clause of its own: leave it out");
}

static enum err_code take_types(struct ch_source *s, char *line, size_t len, struct columns *out, struct err *e)
{
	const struct ch_head *head = ch_http_head(s->http);
	size_t bytes;
	if (!ch_tsv_split(line, len, NULL, s->cells, s->n, &bytes))
		return not_our_format(e);
	for (size_t i = 0; i < s->n; i++) {
		struct cell c = s->cells[i];
		bool known = false;
		enum err_code rc =
		        ch_type_read(c.data, c.len < 0 ? 0 : (size_t)c.len, &out->list[i], &s->fixes[i], &known, e);
		if (rc != ERR_OK)
			return err_prefix(e, "column '%s'", out->list[i].name);
		if (!known && !head->names_format)
			return not_our_format(e);
		s->raw[i] = s->fixes[i] == CH_RAW;
		if (s->fixes[i] != CH_AS_IS && !s->raw[i])
			s->fixed[s->n_fixed++] = i;
	}
	enum kind first = out->list[0].kind;
	s->first_is_text = first == KIND_TEXT || first == KIND_JSON;
	if (s->n == 1 && s->first_is_text && s->seen.totals)
		return err_set(e, ERR_PERMANENT,
		        "WITH TOTALS cannot be told from the rows in a single column of text: give it a second column");
	return ERR_OK;
}

/* Waits for the next line of the head; *line NULL: the answer has none. */
static enum err_code head_line(struct ch_source *s, char **line, size_t *len, struct err *e)
{
	for (;;) {
		*line = ch_tsv_line(ch_http_rows(s->http), len);
		if (*line && (*len == 0 || (*line)[*len - 1] != '\r'))
			return ERR_OK;
		if (*line)
			return late_error(s, *line, *len, e);
		const struct ch_head *head = ch_http_head(s->http);
		if (head->status != 0 && head->status != 200)
			return examine_status(s, e);
		if (ch_http_ended(s->http))
			return examine_end(s, e);
		enum err_code rc = wait(s, e);
		if (rc != ERR_OK)
			return rc;
	}
}

static enum err_code read_head(struct ch_source *s, struct columns *out, struct err *e)
{
	const struct ch_head *head = ch_http_head(s->http);
	char *line;
	size_t len;
	enum err_code rc = head_line(s, &line, &len, e);
	if (rc != ERR_OK)
		return rc;
	if (!line)
		return columns_resize(out, 0, e); /* INSERT, and the like */
	if (!head->tsv || (head->names_format && !head->right_format) || (!head->names_format && s->seen.format))
		return not_our_format(e);
	if (!head->tagged && ch_error_begins(line, len))
		return late_error(s, line, len, e);
	rc = take_names(s, line, len, out, e);
	if (rc == ERR_OK)
		rc = head_line(s, &line, &len, e);
	if (rc == ERR_OK)
		rc = line ? take_types(s, line, len, out, e) : not_our_format(e);
	return rc;
}

/* --- the interface --- */

static enum err_code begin(
        struct source *base, const struct query *q, unsigned wires, struct columns *out, enum wire *wire, struct err *e)
{
	struct ch_source *s = self(base);
	(void)wires; /* every sink takes it */
	*wire = WIRE_TEXT;
	s->timeout_ms = q->timeout_ms;
	s->has_args = q->n_args > 0;
	snprintf(s->tag, sizeof s->tag, "%s", q->tag);
	buf_reset(&s->statement);
	add_comment(&s->statement, q->tag);
	enum err_code rc = ch_bind(q->sql, q->args, q->n_args, &s->statement, &s->seen, e);
	if (rc == ERR_OK)
		rc = send(s, "", e);
	return rc == ERR_OK ? read_head(s, out, e) : rc;
}

static enum err_code give_row(struct ch_source *s, char *line, size_t len, struct row *row, struct err *e)
{
	size_t bytes;
	enum err_code rc = examine(s, line, len, e);
	if (rc != ERR_OK)
		return rc;
	if (!ch_tsv_split(line, len, s->raw, s->cells, s->n, &bytes))
		return malformed(s, line, len, e);
	for (size_t i = 0; i < s->n_fixed; i++)
		ch_type_fix(s->fixes[s->fixed[i]], &s->cells[s->fixed[i]]);
	s->rows++;
	*row = (struct row){.cells = s->cells, .bytes = bytes};
	return ERR_OK;
}

static enum err_code next(struct source *base, struct row *row, bool *done, struct err *e)
{
	struct ch_source *s = self(base);
	size_t len;
	*done = false;
	for (;;) {
		char *line = ch_tsv_line(ch_http_rows(s->http), &len);
		if (line)
			return give_row(s, line, len, row, e);
		if (ch_http_ended(s->http))
			break;
		enum err_code rc = wait(s, e);
		if (rc != ERR_OK)
			return rc;
	}
	enum err_code rc = s->mode == MODE_IDLE ? ERR_OK : examine_end(s, e);
	if (rc == ERR_OK && is_near_end(s))
		rc = verify(s, e);
	*done = rc == ERR_OK;
	return rc;
}

static bool kill_query(const struct ch_source *s, const char *query_id)
{
	return ch_server_kill(&s->url, password(s), s->cfg->connect_timeout_ms, query_id);
}

/* Ends the query on the server, which would compute on for nobody. When the answer has begun the connection goes first: a
 * newer server that waits for us to read does not hear the KILL meanwhile. Else the query may be so new that the server
 * does not know it yet, or so old that it has ended: then the answer comes. */
static void end_query(struct ch_source *s)
{
	int64_t until = clock_mono_ms() + GONE_WITHIN_MS;
	ch_http_discard(s->http);
	while (!ch_http_ended(s->http) && !ch_http_head(s->http)->status) {
		if (kill_query(s, s->query_id) || clock_mono_ms() > until) {
			ch_http_drop(s->http);
			return;
		}
		ch_http_move(s->http, 50);
	}
	ch_http_drop(s->http);
	kill_query(s, s->query_id);
}

static void do_abort(struct source *base)
{
	struct ch_source *s = self(base);
	if (s->mode == MODE_RUNNING)
		end_query(s);
	end(s);
}

static enum err_code evict(struct source *base, const char *job_id, struct err *e)
{
	struct ch_source *s = self(base);
	char begins[128];
	int64_t until = clock_mono_ms() + GONE_WITHIN_MS;
	(void)e; /* a server that cannot be asked says so when the query begins */
	snprintf(begins, sizeof begins, "dungbeetle-%.100s.", job_id);
	while (ch_server_kill_all(&s->url, password(s), s->cfg->connect_timeout_ms, begins) &&
	        clock_mono_ms() < until) {
		struct timespec pause = {.tv_nsec = 20000000};
		nanosleep(&pause, NULL);
	}
	return ERR_OK;
}

static void do_cancel(struct source *base)
{
	struct ch_source *s = self(base);
	char query_id[sizeof s->query_id];
	atomic_store(&s->cancelled, true);
	ch_http_interrupt(s->http);
	pthread_mutex_lock(&s->lock);
	memcpy(query_id, s->query_id, sizeof query_id);
	pthread_mutex_unlock(&s->lock);
	if (query_id[0])
		kill_query(s, query_id);
}

/* Describes the query without running it. What no NULL can stand for is not held against it: only a run tells. */
static enum err_code check(struct source *base, const struct query *q, struct err *e)
{
	struct ch_source *s = self(base);
	struct buf sql, params;
	buf_init(&sql, STATEMENT_MAX);
	buf_init(&params, 128 << 10);
	buf_reset(&s->statement);
	enum err_code rc = ch_bind(q->sql, NULL, q->n_args, &s->statement, &s->seen, e);
	if (rc == ERR_OK && s->seen.verb == CH_CHANGES)
		rc = err_set(e, ERR_PERMANENT, "the query returns no columns");
	if (rc == ERR_OK && s->seen.verb == CH_SELECTS) {
		buf_addf(&sql, "DESCRIBE TABLE (%s\n)", buf_str(&s->statement));
		set_query_id(s, q->tag);
		ch_server_params(&s->server, &s->url, s->query_id, 0, sql.len, &params);
		set_query_id(s, NULL);
		rc = buf_ok(&sql)
		        ? ch_http_run(s->http, &params, buf_str(&sql), s->cfg->connect_timeout_ms + ASK_TIMEOUT_MS, e)
		        : err_nomem(e);
		const struct buf *text = ch_http_text(s->http);
		if (rc == ERR_PERMANENT && q->n_args &&
		        ch_error_is_of_values(ch_error_number(buf_str(text), text->len)))
			rc = err_set(e, ERR_OK, "%s", "");
	}
	buf_fini(&sql);
	buf_fini(&params);
	return rc;
}

const struct source_ops ch_source_ops = {
        .make = make,
        .free = destroy,
        .connect = do_connect,
        .check = check,
        .begin = begin,
        .next = next,
        .abort = do_abort,
        .evict = evict,
        .cancel = do_cancel,
};
