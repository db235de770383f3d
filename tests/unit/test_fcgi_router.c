#include "tests/unit/test_fcgi_fixture.h"

static void assert_route(const char *method, const char *uri, const char *pattern, const char *arg)
{
	ask(method, uri, NULL);
	assert_non_null(fx.x.route);
	assert_string_equal(fx.x.route->pattern, pattern);
	assert_string_equal(fx.x.arg, arg);
}

static void test_router_finds(void **state)
{
	(void)state;
	assert_route("GET", "/", "/", "");
	assert_route("HEAD", "/", "/", "");
	assert_route("GET", "/tasks/?sql=1", "/tasks", "");
	assert_route("POST", "/tasks/a%20b/jobs", "/tasks/{task}/jobs", "a b");
	assert_route("GET", "/jobs/x", "/jobs/{id}", "x");
	assert_route("GET", "/jobs/queue", "/jobs/{id}", "queue");
	assert_route("DELETE", "/jobs/x/", "/jobs/{id}", "x");
	assert_route("GET", "/jobs/queue/q", "/jobs/queue/{queue}", "q");
	assert_route("POST", "/groups", "/groups", "");
	assert_route("GET", "/groups/g", "/groups/{id}", "g");
	assert_route("DELETE", "/groups/g", "/groups/{id}", "g");
	assert_route("GET", "/health", "/health", "");
	assert_route("GET", "/metrics", "/metrics", "");
	assert_route("GET", "/queues", "/queues", "");
	assert_true(router_count() <= COUNTERS_ROUTES);
}

static void test_router_404(void **state)
{
	(void)state;
	const char *const unknown[] = {"/nope", "/jobs", "/jobs//", "/jobs/a/b", "/tasks/x", "/tasks/x/job",
	        "/tasks//jobs", "/a/b/c/d/e/f", "/Tasks"};
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		assert_int_equal(ask("GET", unknown[i], NULL), STEP_DONE);
		assert_error(404, "no such route");
		assert_int_equal(router_index(fx.x.route), 0);
	}
}

static void test_router_405(void **state)
{
	(void)state;
	struct buf head;
	buf_init(&head, 2048);
	assert_int_equal(ask("PUT", "/jobs/x", NULL), STEP_DONE);
	assert_error(405, "method not allowed");
	response_head(&fx.x.res, &fx.x.req, &head);
	assert_non_null(strstr(head.data, "\r\nAllow: GET, HEAD, DELETE\r\n"));
	assert_int_equal(ask("OPTIONS", "/groups", NULL), STEP_DONE);
	response_head(&fx.x.res, &fx.x.req, &head);
	assert_non_null(strstr(head.data, "\r\nAllow: POST\r\n"));
	assert_non_null(strstr(head.data, "Status: 405 Method Not Allowed\r\n"));
	buf_fini(&head);
}

static void test_router_400_and_413(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(ask("GET", "/jobs/%zz", NULL), STEP_DONE);
	assert_error(400, "the percent-encoding of the URL's path is broken");
	exchange_reset(&fx.x);
	fx.x.tasks = fx.tasks;
	assert_int_equal(request_set(&fx.x.req, "POST", "/groups", NULL, &e), ERR_OK);
	fx.x.req.body_too_large = true;
	assert_int_equal(router_ask(&fx.x), STEP_DONE);
	assert_error(413, "the request body is too large");
	fx.x.req.body_too_large = false;
	fx.x.req.body_cut = true;
	assert_int_equal(router_ask(&fx.x), STEP_DONE);
	assert_error(400, "the request body ended before its Content-Length");
}

static void test_router_head(void **state)
{
	(void)state;
	struct buf head;
	buf_init(&head, 2048);
	assert_int_equal(ask("GET", "/", NULL), STEP_DONE);
	assert_answer(200, "{\"status\":\"success\",\"data\":\"dungbeetle " DUNGBEETLE_VERSION "\"}");
	response_head(&fx.x.res, &fx.x.req, &head);
	char expected[512];
	snprintf(expected, sizeof expected,
	        "Status: 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %zu\r\n"
	        "Cache-Control: no-store\r\nX-Request-Id: req-1\r\n\r\n",
	        strlen(body()));
	assert_string_equal(head.data, expected);
	buf_fini(&head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_router_finds),
	        cmocka_unit_test(test_router_404),
	        cmocka_unit_test(test_router_405),
	        cmocka_unit_test(test_router_400_and_413),
	        cmocka_unit_test(test_router_head),
	};
	return cmocka_run_group_tests_name("fcgi_router", tests, fixture_setup, fixture_teardown);
}
