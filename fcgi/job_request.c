#include "fcgi/job_request.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi/json_out.h"
#include "fcgi/uuid.h"
#include "shared/base/clock.h"
#include "shared/base/parse.h"

#define TEXT_MAX_BYTES (64u << 20)
#define KEEP_BYTES 65536u
#define KEEP_JOBS 64u

#define RETRIES_MAX 1000
#define TTL_MAX_S (INT64_C(3650) * 86400)
#define TIMEOUT_MAX_S (INT64_C(30) * 86400)
#define CONCURRENCY_MAX 1000000

#define NOWHERE SIZE_MAX
struct job_texts {
	size_t id, args, error; /* offsets in the batch's text, which moves while it grows; NOWHERE: not there */
};

/* What is being read: a job request, and how errors name its fields. */
struct reading {
	struct job_batch *batch;
	const struct config *config;
	const struct jin *object;
	const struct task *task;
	bool group;
	size_t index; /* in the group */
	struct job_spec *spec;
	struct job_texts *texts;
};

bool job_batch_init(struct job_batch *b, const struct config *c)
{
	*b = (struct job_batch){0};
	buf_init(&b->text, TEXT_MAX_BYTES);
	b->reader = jin_reader_new((int)c->limits.json_depth);
	return b->reader != NULL;
}

void job_batch_fini(struct job_batch *b)
{
	jin_free(b->document);
	jin_reader_free(b->reader);
	buf_fini(&b->text);
	free(b->specs);
	free(b->texts);
	*b = (struct job_batch){0};
}

void job_batch_clear(struct job_batch *b)
{
	jin_free(b->document);
	b->document = NULL;
	b->group_id = NULL;
	b->concurrency = 0;
	b->n = 0;
	if (b->text.cap > KEEP_BYTES)
		buf_fini(&b->text);
	buf_reset(&b->text);
	if (b->cap > KEEP_JOBS) {
		free(b->specs);
		free(b->texts);
		b->specs = NULL;
		b->texts = NULL;
		b->cap = 0;
	}
}

static enum err_code reserve(struct job_batch *b, size_t n, struct err *e)
{
	if (n <= b->cap)
		return ERR_OK;
	struct job_spec *specs = realloc(b->specs, n * sizeof *specs);
	if (specs)
		b->specs = specs;
	struct job_texts *texts = specs ? realloc(b->texts, n * sizeof *texts) : NULL;
	if (!texts)
		return err_nomem(e);
	b->texts = texts;
	b->cap = n;
	return ERR_OK;
}

/* --- fields --- */

static enum err_code PRINTF_LIKE(4, 5)
        bad(const struct reading *r, struct err *e, const char *field, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	err_vset(e, ERR_INVALID, fmt, args);
	va_end(args);
	return r->group ? err_prefix(e, "jobs[%zu].%s", r->index, field) : err_prefix(e, "field '%s'", field);
}

/* "" when the field is missing or null. */
static enum err_code read_text(
        const struct reading *r, const char *field, const char **text, size_t *len, struct err *e)
{
	const struct jin *v = jin_field(r->object, field);
	enum jin_kind kind = jin_kind(v);
	*text = "";
	*len = 0;
	if (kind == JIN_TEXT)
		*text = jin_text(v, len);
	else if (kind != JIN_NULL)
		return bad(r, e, field, "expected a string, got %s", jin_kind_name(kind));
	return ERR_OK;
}

/* 0 when the field is missing or null. */
static enum err_code read_number(const struct reading *r, const char *field, int64_t max, int64_t *out, struct err *e)
{
	const struct jin *v = jin_field(r->object, field);
	enum jin_kind kind = jin_kind(v);
	*out = 0;
	if (kind == JIN_NULL)
		return ERR_OK;
	if (kind != JIN_INTEGER)
		return bad(r, e, field, "expected a whole number, got %s", jin_kind_name(kind));
	size_t len;
	const char *digits = jin_text(v, &len);
	if (!digits)
		return err_nomem(e);
	if (parse_i64(digits, len, 0, max, out))
		return ERR_OK;
	return bad(r, e, field, "expected a number from 0 to %" PRId64 ", got %s", max, digits);
}

/* A name of ours, or "". */
static enum err_code read_name(
        const struct reading *r, const char *field, size_t max, const char *why, const char **name, struct err *e)
{
	size_t len;
	enum err_code rc = read_text(r, field, name, &len, e);
	if (rc != ERR_OK || len == 0 || parse_name(*name, len, max))
		return rc;
	if (len > max)
		return bad(r, e, field, "at most %zu characters%s, got %zu", max, why, len);
	return bad(r, e, field, "only letters, digits, '_', ':' and '-' are allowed");
}

static enum err_code make_id(struct job_batch *b, size_t *at, struct err *e)
{
	char id[UUID_SIZE];
	if (!uuid_make(id))
		return err_set(e, ERR_PERMANENT, "the kernel gives no random bytes");
	*at = b->text.len;
	return buf_add(&b->text, id, sizeof id) ? ERR_OK : err_nomem(e);
}

static enum err_code read_id(struct reading *r, struct err *e)
{
	enum err_code rc = read_name(r, "job_id", QUEUE_JOB_ID_MAX,
	        " (the name of its result table, " QUEUE_TABLE_PREFIX "<job_id>, must fit the database)", &r->spec->id,
	        e);
	if (rc != ERR_OK || r->spec->id[0])
		return rc;
	return make_id(r->batch, &r->texts->id, e);
}

static enum err_code read_queue(struct reading *r, struct err *e)
{
	enum err_code rc = read_name(r, "queue", QUEUE_NAME_MAX, "", &r->spec->queue, e);
	if (rc == ERR_OK && !r->spec->queue[0])
		r->spec->queue = r->task->queue ? r->task->queue : r->config->jobs.default_queue;
	return rc;
}

static void join_names(char *const *names, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		buf_addstr(out, i > 0 ? ", " : "");
		buf_addstr(out, names[i]);
	}
}

static enum err_code read_db(struct reading *r, struct err *e)
{
	size_t len;
	enum err_code rc = read_text(r, "db", &r->spec->db, &len, e);
	if (rc != ERR_OK || len == 0)
		return rc;
	for (size_t i = 0; i < r->task->n_dbs; i++)
		if (strlen(r->task->dbs[i]) == len && memcmp(r->task->dbs[i], r->spec->db, len) == 0)
			return ERR_OK;
	struct buf known;
	buf_init(&known, 400);
	join_names(r->task->dbs, r->task->n_dbs, &known);
	rc = bad(r, e, "db", "task '%s' knows no database '%.64s'; it knows: %s", r->task->name, r->spec->db,
	        buf_str(&known));
	buf_fini(&known);
	return rc;
}

static enum err_code read_eta(struct reading *r, struct err *e)
{
	const char *text;
	size_t len;
	enum err_code rc = read_text(r, "eta", &text, &len, e);
	r->spec->eta_ms = 0;
	if (rc != ERR_OK || len == 0 || clock_parse(text, len, &r->spec->eta_ms))
		return rc;
	return bad(r, e, "eta", "expected \"yyyy-mm-dd hh:mm:ss\" (UTC) or RFC 3339, got \"%.40s\"", text);
}

static enum err_code read_numbers(struct reading *r, struct err *e)
{
	const struct task *t = r->task;
	struct job_spec *s = r->spec;
	int64_t ttl_s, timeout_s;
	enum err_code rc = read_number(r, "retries", RETRIES_MAX, &s->retries, e);
	if (rc == ERR_OK)
		rc = read_number(r, "ttl", TTL_MAX_S, &ttl_s, e);
	if (rc == ERR_OK)
		rc = read_number(r, "timeout", TIMEOUT_MAX_S, &timeout_s, e);
	if (rc != ERR_OK)
		return rc;
	if (s->retries == 0)
		s->retries = t->retries >= 0 ? t->retries : r->config->jobs.retries;
	s->ttl_ms = ttl_s > 0 ? ttl_s * 1000 : t->ttl_ms > 0 ? t->ttl_ms : r->config->jobs.result_ttl_ms;
	s->timeout_ms = timeout_s > 0 ? timeout_s * 1000 : t->timeout_ms > 0 ? t->timeout_ms : 0;
	return ERR_OK;
}

/* --- arguments --- */

static enum err_code read_arg(struct reading *r, size_t i, const struct jin *v, struct err *e)
{
	struct buf *out = &r->batch->text;
	enum jin_kind kind = jin_kind(v);
	size_t len;
	const char *text;
	switch (kind) {
	case JIN_NULL:
		jout_null(out);
		return ERR_OK;
	case JIN_BOOL:
		jout_bool(out, jin_true(v));
		return ERR_OK;
	case JIN_INTEGER:
	case JIN_DECIMAL:
		text = jin_text(v, &len);
		if (!text)
			return err_nomem(e);
		jout_raw(out, text);
		break;
	case JIN_TEXT:
		text = jin_text(v, &len);
		if (memchr(text, '\0', len))
			return bad(r, e, "args", "args[%zu] holds a NUL character, which no database takes", i);
		jout_text_len(out, text, len);
		break;
	default:
		return bad(r, e, "args", "args[%zu] must be a string, a number, a boolean or null, got %s", i,
		        jin_kind_name(kind));
	}
	if ((int64_t)len > r->config->limits.arg_bytes)
		return bad(r, e, "args", "args[%zu] has %zu bytes, at most %" PRId64 " are allowed", i, len,
		        r->config->limits.arg_bytes);
	return ERR_OK;
}

/* "task 't' takes 2 arguments (from, to), got 1" as the job's error, or as the request's. */
static enum err_code wrong_number(struct reading *r, size_t got, struct err *e)
{
	const struct task *t = r->task;
	struct err why = ERR_INIT;
	struct buf names;
	buf_init(&names, 400);
	if (t->n_params > 0) {
		buf_addstr(&names, " (");
		join_names(t->params, t->n_params, &names);
		buf_addc(&names, ')');
	}
	char count[16] = "no";
	if (t->n_placeholders > 0)
		snprintf(count, sizeof count, "%d", t->n_placeholders);
	err_set(&why, ERR_INVALID, "task '%s' takes %s argument%s%s, got %zu", t->name, count,
	        t->n_placeholders == 1 ? "" : "s", buf_str(&names), got);
	buf_fini(&names);
	if (r->config->jobs.reject_wrong_args)
		return bad(r, e, "args", "%s", why.text);
	r->texts->error = r->batch->text.len;
	return buf_add(&r->batch->text, why.text, strlen(why.text) + 1) ? ERR_OK : err_nomem(e);
}

static enum err_code read_args(struct reading *r, struct err *e)
{
	const struct jin *args = jin_field(r->object, "args");
	enum jin_kind kind = jin_kind(args);
	size_t n = jin_count(args);
	struct buf *out = &r->batch->text;
	if (kind != JIN_ARRAY && kind != JIN_NULL)
		return bad(r, e, "args", "expected an array, got %s", jin_kind_name(kind));
	if ((int64_t)n > r->config->limits.args)
		return bad(
		        r, e, "args", "at most %" PRId64 " arguments are allowed, got %zu", r->config->limits.args, n);
	r->texts->args = out->len;
	buf_addc(out, '[');
	enum err_code rc = ERR_OK;
	for (size_t i = 0; i < n && rc == ERR_OK; i++)
		rc = read_arg(r, i, jin_item(args, i), e);
	if (rc != ERR_OK)
		return rc;
	if (!buf_add(out, "]", 2))
		return err_nomem(e);
	return n == (size_t)r->task->n_placeholders ? ERR_OK : wrong_number(r, n, e);
}

/* --- a job --- */

/* The same id always goes to the same database (FNV-1a), so that a new run replaces the old result. */
static const char *choose_results(const struct task *t, const char *id)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (const char *p = id; *p; p++)
		hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
	return t->n_results > 0 ? t->results[hash % t->n_results] : "";
}

static enum err_code read_job(struct reading *r, struct err *e)
{
	*r->spec = (struct job_spec){.task = r->task->name};
	*r->texts = (struct job_texts){NOWHERE, NOWHERE, NOWHERE};
	enum err_code rc = read_id(r, e);
	if (rc == ERR_OK)
		rc = read_queue(r, e);
	if (rc == ERR_OK)
		rc = read_db(r, e);
	if (rc == ERR_OK)
		rc = read_eta(r, e);
	if (rc == ERR_OK)
		rc = read_numbers(r, e);
	return rc == ERR_OK ? read_args(r, e) : rc;
}

/* The text has found its final place: the specs may point into it. The rest of what depends on the id is chosen. */
static void settle_texts(struct job_batch *b, size_t i, const struct task *t)
{
	struct job_spec *s = &b->specs[i];
	const struct job_texts *x = &b->texts[i];
	if (x->id != NOWHERE)
		s->id = b->text.data + x->id;
	s->args = b->text.data + x->args;
	if (x->error != NOWHERE)
		s->error = b->text.data + x->error;
	s->results = choose_results(t, s->id);
}

static enum err_code read_body(struct job_batch *b, const struct buf *body, struct err *e)
{
	job_batch_clear(b);
	if (body->len == 0)
		return ERR_OK;
	enum err_code rc = jin_read(b->reader, body->data, body->len, &b->document, e);
	enum jin_kind kind = jin_kind(b->document);
	if (rc == ERR_OK && kind != JIN_OBJECT && kind != JIN_NULL)
		return err_set(e, ERR_INVALID, "the body must be a JSON object, got %s", jin_kind_name(kind));
	return rc;
}

enum err_code job_batch_read_job(
        struct job_batch *b, const struct config *c, const struct task *task, const struct buf *body, struct err *e)
{
	enum err_code rc = read_body(b, body, e);
	if (rc == ERR_OK)
		rc = reserve(b, 1, e);
	if (rc != ERR_OK)
		return rc;
	struct reading r = {
	        .batch = b, .config = c, .object = b->document, .task = task, .spec = b->specs, .texts = b->texts};
	rc = read_job(&r, e);
	if (rc != ERR_OK)
		return rc;
	b->n = 1;
	settle_texts(b, 0, task);
	return ERR_OK;
}

/* --- a group --- */

static enum err_code read_group_job(struct reading *r, const struct task_set *tasks, struct err *e)
{
	const char *name;
	size_t len;
	if (jin_kind(r->object) != JIN_OBJECT)
		return err_set(e, ERR_INVALID, "jobs[%zu]: expected an object, got %s", r->index,
		        jin_kind_name(jin_kind(r->object)));
	enum err_code rc = read_text(r, "task", &name, &len, e);
	if (rc != ERR_OK)
		return rc;
	if (len == 0)
		return bad(r, e, "task", "is missing");
	r->task = task_set_find(tasks, name, len);
	if (!r->task)
		return err_set(e, ERR_NOT_FOUND, "jobs[%zu].task: no such task '%.64s'", r->index, name);
	return read_job(r, e);
}

static int by_id(const void *a, const void *b)
{
	const struct job_spec *const *x = a, *const *y = b;
	return strcmp((*x)->id, (*y)->id);
}

static enum err_code refuse_duplicates(const struct job_batch *b, struct err *e)
{
	const struct job_spec **sorted = malloc((b->n + 1) * sizeof(struct job_spec *));
	if (!sorted)
		return err_nomem(e);
	for (size_t i = 0; i < b->n; i++)
		sorted[i] = &b->specs[i];
	qsort(sorted, b->n, sizeof *sorted, by_id);
	enum err_code rc = ERR_OK;
	for (size_t i = 1; i < b->n && rc == ERR_OK; i++)
		if (strcmp(sorted[i - 1]->id, sorted[i]->id) == 0)
			rc = err_set(e, ERR_INVALID, "jobs[%zu].job_id: '%s' comes twice in the group",
			        (size_t)((sorted[i] > sorted[i - 1] ? sorted[i] : sorted[i - 1]) - b->specs),
			        sorted[i]->id);
	free(sorted);
	return rc;
}

static enum err_code read_group_jobs(struct reading *r, const struct task_set *tasks, struct err *e)
{
	struct job_batch *b = r->batch;
	const struct jin *jobs = jin_field(b->document, "jobs");
	size_t n = jin_count(jobs);
	if (jin_kind(jobs) != JIN_ARRAY && jin_kind(jobs) != JIN_NULL)
		return err_set(
		        e, ERR_INVALID, "field 'jobs': expected an array, got %s", jin_kind_name(jin_kind(jobs)));
	if (n == 0)
		return err_set(e, ERR_INVALID, "field 'jobs': must hold at least one job");
	if ((int64_t)n > r->config->limits.group_jobs)
		return err_set(e, ERR_INVALID, "field 'jobs': at most %" PRId64 " jobs are allowed in a group, got %zu",
		        r->config->limits.group_jobs, n);
	enum err_code rc = reserve(b, n, e);
	r->group = true;
	for (size_t i = 0; i < n && rc == ERR_OK; i++) {
		r->object = jin_item(jobs, i);
		r->index = i;
		r->spec = &b->specs[i];
		r->texts = &b->texts[i];
		rc = read_group_job(r, tasks, e);
	}
	b->n = rc == ERR_OK ? n : 0;
	return rc;
}

enum err_code job_batch_read_group(struct job_batch *b, const struct config *c, const struct task_set *tasks,
        const struct buf *body, struct err *e)
{
	enum err_code rc = read_body(b, body, e);
	if (rc != ERR_OK)
		return rc;
	struct reading r = {.batch = b, .config = c, .object = b->document};
	size_t made = NOWHERE;
	rc = read_name(&r, "group_id", QUEUE_NAME_MAX, "", &b->group_id, e);
	if (rc == ERR_OK && !b->group_id[0])
		rc = make_id(b, &made, e);
	if (rc == ERR_OK)
		rc = read_number(&r, "concurrency", CONCURRENCY_MAX, &b->concurrency, e);
	if (rc == ERR_OK)
		rc = read_group_jobs(&r, tasks, e);
	if (rc != ERR_OK)
		return rc;
	if (made != NOWHERE)
		b->group_id = b->text.data + made;
	for (size_t i = 0; i < b->n; i++)
		settle_texts(b, i, task_set_find(tasks, b->specs[i].task, strlen(b->specs[i].task)));
	return refuse_duplicates(b, e);
}
