/* What `post-pool` is measured against: the thread pool of libfcgi's examples. Each of 8 threads blocks in FCGX_Accept_r,
 * reads one request, parses its JSON, calls the project's own enqueue script on a connection of its own, and answers.
 *
 *     pool_fcgi SOCKET CONFIG TASK
 */
#include <fcgiapp.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "shared/config/config.h"
#include "shared/queue/queue.h"

#define THREADS 8
#define BACKLOG 1024
#define BODY_MAX 65536

static struct config *config;
static const char *task;
static int listener;

static void make_id(char out[37])
{
	unsigned char b[16];
	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		abort();
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-4%x%02x-8%x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
	        b[4], b[5], b[6] & 15, b[7], b[8] & 15, b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;
	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "";
}

static int64_t number_of(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;
	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : 0;
}

/* Fills answer with the JSON of the job, or returns an error. */
static enum err_code enqueue(
        struct redis *redis, struct cmd *cmd, struct json_object *body, char *answer, size_t size, struct err *e)
{
	char id[37];
	struct json_object *args = NULL;
	struct reply *reply = NULL;
	json_object_object_get_ex(body, "args", &args);
	make_id(id);
	struct job_spec job = {.id = id,
	        .task = task,
	        .queue = text_of(body, "queue"),
	        .db = text_of(body, "db"),
	        .results = config->results[0].name,
	        .args = args ? json_object_to_json_string_ext(args, JSON_C_TO_STRING_PLAIN) : "[]",
	        .retries = number_of(body, "retries"),
	        .ttl_ms = number_of(body, "ttl") * 1000};
	cmd_reset(cmd);
	queue_ask_enqueue(cmd, config->redis.prefix, &job, 1, NULL, 0, config->jobs.state_ttl_ms);
	enum err_code rc = redis_call(redis, cmd, &reply, e);
	if (rc == ERR_OK)
		rc = queue_read_enqueue(reply, e);
	reply_free(reply);
	snprintf(answer, size,
	        "{\"status\":\"success\",\"data\":{\"job_id\":\"%s\",\"task\":\"%s\",\"queue\":\"%s\","
	        "\"eta\":\"0001-01-01T00:00:00Z\",\"retries\":%lld}}",
	        id, task, job.queue, (long long)job.retries);
	return rc;
}

static void answer_request(FCGX_Request *r, struct redis *redis, struct cmd *cmd)
{
	char text[BODY_MAX], answer[1024];
	struct err e = ERR_INIT;
	int len = FCGX_GetStr(text, sizeof text - 1, r->in);
	text[len > 0 ? len : 0] = '\0';
	struct json_object *body = json_tokener_parse(text);
	int status = 400;
	if (body)
		status = enqueue(redis, cmd, body, answer, sizeof answer, &e) == ERR_OK ? 200 : 500;
	if (status != 200)
		snprintf(answer, sizeof answer, "{\"status\":\"error\",\"data\":null}");
	FCGX_FPrintF(r->out,
	        "Status: %d\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", status,
	        (int)strlen(answer), answer);
	json_object_put(body);
}

static void *work(void *unused)
{
	(void)unused;
	FCGX_Request r;
	struct cmd cmd;
	struct redis *redis = redis_new(config);
	cmd_init(&cmd);
	FCGX_InitRequest(&r, listener, 0);
	while (redis && FCGX_Accept_r(&r) == 0) {
		answer_request(&r, redis, &cmd);
		FCGX_Finish_r(&r);
	}
	cmd_fini(&cmd);
	redis_free(redis);
	return NULL;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	pthread_t threads[THREADS];
	if (argc != 4 || FCGX_Init() != 0) {
		fprintf(stderr, "usage: pool_fcgi SOCKET CONFIG TASK\n");
		return 2;
	}
	const struct config_flags flags = {.program = PROGRAM_FCGI, .config_path = argv[2]};
	task = argv[3];
	if (config_load(&flags, NULL, &config, &e) != ERR_OK) {
		fprintf(stderr, "pool_fcgi: %s\n", e.text);
		return 2;
	}
	unlink(argv[1]);
	listener = FCGX_OpenSocket(argv[1], BACKLOG);
	for (int i = 0; i < THREADS; i++)
		if (listener < 0 || pthread_create(&threads[i], NULL, work, NULL) != 0)
			return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
