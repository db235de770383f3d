/* The handlers of the router's table, by resource, and the JSON that several of them write. Pure; see exchange.h. */
#ifndef DB_FCGI_HANDLERS_H
#define DB_FCGI_HANDLERS_H

#include "fcgi/exchange.h"

/* api_tasks.c */
enum step index_ask(struct exchange *x);
enum step tasks_ask(struct exchange *x);
/* api_jobs.c */
enum step job_post_ask(struct exchange *x);
enum step job_post_answer(struct exchange *x); /* a group's too */
enum step job_get_ask(struct exchange *x);
enum step job_get_answer(struct exchange *x);
enum step job_delete_ask(struct exchange *x);
enum step job_delete_answer(struct exchange *x);
/* api_groups.c */
enum step group_post_ask(struct exchange *x);
enum step group_get_ask(struct exchange *x);
enum step group_get_answer(struct exchange *x);
enum step group_delete_ask(struct exchange *x);
enum step group_delete_answer(struct exchange *x);
/* api_queues.c */
enum step queues_answer(struct exchange *x);
enum step queue_get_ask(struct exchange *x);
enum step queue_get_answer(struct exchange *x);
/* api_health.c, api_metrics.c */
enum step health_ask(struct exchange *x);
enum step health_answer(struct exchange *x);
enum step metrics_answer(struct exchange *x);
/* api_openapi.c */
enum step openapi_ask(struct exchange *x);

/* What cancelling the job takes; id is borrowed, the rest copied. */
void handler_cancel_spec(struct cancel_spec *spec, const char *id, const struct job_info *job);

/* The state of a job, as GET /jobs/{id} shows it. */
void handler_job_state(struct buf *b, const char *id, const struct job_info *job);
/* Answers `true`. */
enum step handler_true(struct exchange *x);
/* ERR_INVALID, naming what, unless name is one of at most max bytes. */
enum err_code MUST_CHECK handler_check_name(const char *what, const char *name, size_t max, struct err *e);

/* A cancel that was overtaken by a change of the job begins anew, so often. */
#define HANDLER_TRIES_MAX 5

#endif
