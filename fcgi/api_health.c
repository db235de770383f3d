#include "fcgi/handlers.h"
#include "fcgi/json_out.h"

/* GET /health: 200 when a job could be accepted now, else 503 with the reason. */

enum step health_ask(struct exchange *x)
{
	queue_ask_health(exchange_command(x));
	return STEP_ASK;
}

enum step health_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	enum err_code rc = queue_read_health(exchange_reply(x, 0), &e);
	if (rc != ERR_OK) {
		e.code = ERR_UNAVAILABLE;
		err_prefix(&e, "no job can be accepted");
		return exchange_fail(x, &e);
	}
	struct buf *b = response_begin(&x->res);
	jout_open(b, '{');
	jout_field(b, "status", "ok");
	jout_field(b, "redis", "ok");
	jout_field(b, "version", DUNGBEETLE_VERSION);
	jout_field_i64(b, "tasks", (int64_t)task_set_count(x->tasks));
	jout_close(b, '}');
	response_end(&x->res);
	return STEP_DONE;
}
