#include "tests/unit/test_fcgi_fixture.h"

static struct request req;

static int setup(void **state)
{
	(void)state;
	request_init(&req, 1000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	request_fini(&req);
	return 0;
}

static enum err_code set(const char *method, const char *uri, const char *id)
{
	struct err e = ERR_INIT;
	request_reset(&req);
	return request_set(&req, method, uri, id, &e);
}

static void test_request_path(void **state)
{
	(void)state;
	assert_int_equal(set("GET", "/", NULL), ERR_OK);
	assert_int_equal(req.n_segments, 0);
	assert_int_equal(set("GET", "/jobs/a%3Ab%2fc/?x=1", NULL), ERR_OK);
	assert_int_equal(req.n_segments, 2);
	assert_string_equal(req.segments[0], "jobs");
	assert_string_equal(req.segments[1], "a:b/c");
	assert_string_equal(req.query, "x=1");
	assert_int_equal(set("GET", "/a+b", NULL), ERR_OK);
	assert_string_equal(req.segments[0], "a+b");
	assert_int_equal(set("GET", "/a//b", NULL), ERR_OK);
	assert_int_equal(req.n_segments, 3);
	assert_string_equal(req.segments[1], "");
	assert_int_equal(set("GET", "/1/2/3/4/5/6", NULL), ERR_OK);
	assert_int_equal(req.n_segments, 6);
}

static void test_request_path_broken(void **state)
{
	(void)state;
	const char *const broken[] = {"", "jobs", "/%", "/%4", "/%zz", "/a%00b", "/jobs/%2", "?a=b"};
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
		assert_int_equal(set("GET", broken[i], NULL), ERR_INVALID);
	assert_int_equal(set("GET", NULL, NULL), ERR_INVALID);
}

static void test_request_path_too_long(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char uri[20002];
	memset(uri, 'x', sizeof uri);
	uri[0] = '/';
	uri[16384] = '\0'; /* a slash and 16383 characters, which get a NUL */
	request_reset(&req);
	assert_int_equal(request_set(&req, "GET", uri, NULL, &e), ERR_OK);
	uri[16384] = 'x';
	uri[20001] = '\0';
	request_reset(&req);
	assert_int_equal(request_set(&req, "GET", uri, NULL, &e), ERR_INVALID);
	assert_string_equal(e.text, "the path of the URL is longer than 16384 bytes");
}

static void test_request_method_and_id(void **state)
{
	(void)state;
	assert_int_equal(set("DELETE", "/", "abc-1.2:3_"), ERR_OK);
	assert_int_equal(req.method, METHOD_DELETE);
	assert_string_equal(req.id, "abc-1.2:3_");
	assert_int_equal(set("get", "/", "a b"), ERR_OK);
	assert_int_equal(req.method, METHOD_OTHER);
	assert_string_equal(req.id, "");
	assert_int_equal(set(NULL, "/", "x\r\nSet-Cookie: a"), ERR_OK);
	assert_string_equal(req.id, "");
	char longest[REQUEST_ID_MAX + 2];
	memset(longest, 'a', sizeof longest);
	longest[REQUEST_ID_MAX + 1] = '\0';
	assert_int_equal(set("GET", "/", longest), ERR_OK);
	assert_string_equal(req.id, "");
}

static void test_request_query(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	bool flag = false;
	int64_t n = 7;
	char text[8] = "old";
	assert_int_equal(set("GET", "/x?purge=true&limit=12&after=a%2Db+c&purges=0&sql", NULL), ERR_OK);
	assert_int_equal(request_query_flag(&req, "purge", &flag, &e), ERR_OK);
	assert_true(flag);
	assert_int_equal(request_query_i64(&req, "limit", 1, 100, &n, &e), ERR_OK);
	assert_int_equal(n, 12);
	assert_int_equal(request_query_text(&req, "after", text, sizeof text, &e), ERR_OK);
	assert_string_equal(text, "a-b c");
	flag = false;
	assert_int_equal(request_query_flag(&req, "sql", &flag, &e), ERR_OK);
	assert_false(flag);
	assert_int_equal(request_query_text(&req, "none", text, sizeof text, &e), ERR_OK);
	assert_string_equal(text, "a-b c");
}

static void test_request_query_wrong(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	bool flag;
	int64_t n = 7;
	char text[8] = "";
	assert_int_equal(set("GET", "/x?purge=maybe&limit=0&after=12345678&b=%4", NULL), ERR_OK);
	assert_int_equal(request_query_flag(&req, "purge", &flag, &e), ERR_INVALID);
	assert_string_equal(e.text, "parameter 'purge': expected true or false");
	assert_int_equal(request_query_i64(&req, "limit", 1, 100, &n, &e), ERR_INVALID);
	assert_string_equal(e.text, "parameter 'limit': expected a whole number from 1 to 100");
	assert_int_equal(request_query_text(&req, "after", text, sizeof text, &e), ERR_INVALID);
	assert_int_equal(request_query_text(&req, "b", text, sizeof text, &e), ERR_INVALID);
	assert_string_equal(e.text, "parameter 'b' is too long or its encoding is broken");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_request_path),
	        cmocka_unit_test(test_request_path_broken),
	        cmocka_unit_test(test_request_path_too_long),
	        cmocka_unit_test(test_request_method_and_id),
	        cmocka_unit_test(test_request_query),
	        cmocka_unit_test(test_request_query_wrong),
	};
	return cmocka_run_group_tests_name("fcgi_request", tests, setup, teardown);
}
