/* The router's table and the description of the API name the same routes. */
#include "fcgi/openapi.h"
#include "tests/unit/test_fcgi_fixture.h"

#define OPERATIONS_MAX 64

static struct operation {
	char method[16], path[64];
} operations[OPERATIONS_MAX];
static size_t n_operations;

/* "    get:" below "  /tasks:" is an operation; other things in the document's `paths` are indented further. */
static void read_line(const char *line, size_t len, char *path)
{
	size_t indent = strspn(line, " ");
	const char *word = line + indent;
	int width = (int)(len - indent - 1);
	if (indent == 2 && word[0] == '/') {
		assert_true(width < 64);
		snprintf(path, 64, "%.*s", width, word);
	} else if (indent == 4 && path[0]) {
		assert_true(n_operations < OPERATIONS_MAX && width < 16);
		struct operation *o = &operations[n_operations++];
		snprintf(o->method, sizeof o->method, "%.*s", width, word);
		memcpy(o->path, path, sizeof o->path);
	} else if (indent < 2) {
		path[0] = '\0';
	}
}

static void read_document(void)
{
	char path[64] = "";
	n_operations = 0;
	for (const char *line = openapi_yaml; *line;) {
		size_t len = strcspn(line, "\n");
		if (len > 0)
			read_line(line, len, path);
		line += len + 1;
	}
}

static bool is_described(const struct route *route)
{
	const char *method = route->method == METHOD_GET ? "get" : route->method == METHOD_POST ? "post" : "delete";
	for (size_t i = 0; i < n_operations; i++)
		if (strcmp(operations[i].method, method) == 0 && strcmp(operations[i].path, route->pattern) == 0)
			return true;
	return false;
}

/* The other way round follows from the number: no two operations of the document are the same. */
static void test_openapi_has_every_route_and_no_other(void **state)
{
	(void)state;
	read_document();
	for (size_t i = 1; i < router_count(); i++) {
		if (!is_described(router_at(i)))
			fail_msg("%s is not described", router_at(i)->pattern);
	}
	assert_int_equal(n_operations, router_count() - 1);
}

static void test_openapi_is_served_with_the_programs_version(void **state)
{
	(void)state;
	assert_int_equal(ask("GET", "/openapi.yaml", NULL), STEP_DONE);
	assert_int_equal(fx.x.res.status, 200);
	assert_string_equal(fx.x.res.content_type, "application/yaml");
	assert_string_equal(body(), openapi_yaml);
	assert_non_null(strstr(body(), "\n  version: \"" DUNGBEETLE_VERSION "\"\n"));
	ask("POST", "/openapi.yaml", NULL);
	assert_error(405, "method not allowed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_openapi_has_every_route_and_no_other),
	        cmocka_unit_test(test_openapi_is_served_with_the_programs_version),
	};
	return cmocka_run_group_tests_name("fcgi_openapi", tests, fixture_setup, fixture_teardown);
}
