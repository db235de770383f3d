#include "fcgi/handlers.h"
#include "fcgi/json_out.h"

enum step index_ask(struct exchange *x)
{
	struct buf *b = response_begin(&x->res);
	jout_text(b, "dungbeetle " DUNGBEETLE_VERSION);
	response_end(&x->res);
	return STEP_DONE;
}

static void list_names(struct buf *b, const char *field, char *const *names, size_t n)
{
	jout_name(b, field);
	jout_open(b, '[');
	for (size_t i = 0; i < n; i++)
		jout_text(b, names[i]);
	jout_close(b, ']');
}

/* The names of a task's placeholders; $1, $2, ... when it names none. */
static void list_params(struct buf *b, const struct task *t)
{
	if (t->n_params > 0 || t->n_placeholders == 0) {
		list_names(b, "params", t->params, t->n_params);
		return;
	}
	jout_name(b, "params");
	jout_open(b, '[');
	for (int i = 1; i <= t->n_placeholders; i++) {
		buf_addstr(b, i > 1 ? "," : "");
		buf_addf(b, "\"$%d\"", i);
	}
	jout_close(b, ']');
}

static void task_json(struct buf *b, const struct exchange *x, const struct task *t, bool sql)
{
	jout_name_text(b, t->name);
	jout_open(b, '{');
	jout_field(b, "name", t->name);
	jout_field(b, "queue", t->queue ? t->queue : x->app->config->jobs.default_queue);
	jout_field_i64(b, "concurrency", t->concurrency);
	list_names(b, "dbs", t->dbs, t->n_dbs);
	list_names(b, "results", t->results, t->n_results);
	list_params(b, t);
	jout_field(b, "description", t->description);
	if (sql)
		jout_field(b, "raw", t->sql);
	jout_close(b, '}');
}

enum step tasks_ask(struct exchange *x)
{
	struct err e = ERR_INIT;
	bool sql = false;
	if (request_query_flag(&x->req, "sql", &sql, &e) != ERR_OK)
		return exchange_fail(x, &e);
	struct buf *b = response_begin(&x->res);
	jout_open(b, '{');
	for (size_t i = 0; i < task_set_count(x->tasks); i++)
		task_json(b, x, task_set_at(x->tasks, i), sql);
	jout_close(b, '}');
	response_end(&x->res);
	return STEP_DONE;
}
