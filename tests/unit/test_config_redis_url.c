#include "shared/config/redis_url.h"

#include "tests/unit/test_config_fixture.h"

static struct redis_url parsed(const char *text)
{
	struct redis_url url;
	struct err e = ERR_INIT;
	if (redis_url_parse(text, &url, &e))
		fail_msg("%s: %s", text, e.text);
	return url;
}

static void same(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_true(!a && !b);
}

struct want {
	const char *text, *host;
	int port;
	const char *path, *user, *password;
	int db;
};

static void test_redis_url_reads_every_part(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"redis://localhost", "localhost", 6379, NULL, NULL, NULL, 0},
	        {"redis://localhost/", "localhost", 6379, NULL, NULL, NULL, 0},
	        {"redis://10.0.0.1:1/15", "10.0.0.1", 1, NULL, NULL, NULL, 15},
	        {"redis://:secret@redis-1.example_x:65535", "redis-1.example_x", 65535, NULL, NULL, "secret", 0},
	        {"redis://app:se%40cr%3aet%2F%25@h/2", "h", 6379, NULL, "app", "se@cr:et/%", 2},
	        {"redis://a%3Ab:@h", "h", 6379, NULL, "a:b", "", 0},
	        {"redis://app:p@ss:w@h:7", "h", 7, NULL, "app", "p@ss:w", 0},
	        {"redis://[::1]", "::1", 6379, NULL, NULL, NULL, 0},
	        {"redis://u:p@[fe80::1%eth0]:7000/3", "fe80::1%eth0", 7000, NULL, "u", "p", 3},
	        {"unix:///run/redis/redis.sock", NULL, 0, "/run/redis/redis.sock", NULL, NULL, 0},
	        {"unix:///a%20b%3Fc?db=4", NULL, 0, "/a b?c", NULL, NULL, 4},
	        {"unix:///odd@name:x", NULL, 0, "/odd@name:x", NULL, NULL, 0},
	        {"unix://u:p@/run/r.sock?db=0", NULL, 0, "/run/r.sock", "u", "p", 0},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		const struct want *w = &wants[i];
		struct redis_url url = parsed(w->text);
		same(url.host, w->host);
		same(url.path, w->path);
		same(url.user, w->user);
		same(url.password, w->password);
		assert_int_equal(url.port, w->port);
		assert_int_equal(url.db, w->db);
		redis_url_fini(&url);
		assert_null(url.host);
	}
}

static void test_redis_url_refuses_what_it_cannot_mean(void **state)
{
	(void)state;
	static const char *const wrong[][2] = {
	        {"", "another kind of address"},
	        {"localhost:6379", "another kind of address"},
	        {"REDIS://h", "another kind of address"},
	        {"rediss://h", "TLS is not supported"},
	        {"redis://", "no host"},
	        {"redis://:6379", "no host"},
	        {"redis:///2", "no host"},
	        {"redis://[]", "no host"},
	        {"redis://u:p@", "no host"},
	        {"redis://h:", "a port"},
	        {"redis://h:0", "a port"},
	        {"redis://h:65536", "a port"},
	        {"redis://h:6379x", "a port"},
	        {"redis://::1", "no host"},
	        {"redis://a b", "a host"},
	        {"redis://h?db=1", "a host"},
	        {"redis://[::1", "a host"},
	        {"redis://[::1]6379", "a host"},
	        {"redis://h/x", "a db"},
	        {"redis://h/-1", "a db"},
	        {"redis://h/1/", "a db"},
	        {"redis://h/99999999999", "a db"},
	        {"redis://user@h", "a user without a password"},
	        {"redis://u:%4@h", "a password with a %"},
	        {"redis://u:%zz@h", "a password with a %"},
	        {"redis://u:%00@h", "a password with a %"},
	        {"redis://%:p@h", "a user with a %"},
	        {"unix://", "does not begin with /"},
	        {"unix:///", "does not begin with /"},
	        {"unix://run/redis.sock", "does not begin with /"},
	        {"unix:///p?", "behind the ?"},
	        {"unix:///p?base=1", "behind the ?"},
	        {"unix:///p?db=", "a db"},
	        {"unix:///p%", "a path with a %"},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct redis_url url;
		struct err e = ERR_INIT;
		assert_int_equal(redis_url_parse(wrong[i][0], &url, &e), ERR_INVALID);
		if (!strstr(e.text, wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], e.text);
		assert_true(strncmp(e.text, "expected redis://", 17) == 0);
		assert_true(!url.host && !url.path && !url.user && !url.password);
	}
}

static void test_redis_url_never_repeats_a_secret(void **state)
{
	(void)state;
	static const char *const wrong[] = {"redis://u:hunter2@h:port", "hunter2://h", "redis://hunter2@h",
	        "redis://h/hunter2", "unix://u:hunter2@run", "redis://u:hunter2%@h"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct redis_url url;
		struct err e = ERR_INIT;
		assert_int_equal(redis_url_parse(wrong[i], &url, &e), ERR_INVALID);
		assert_null(strstr(e.text, "hunter2"));
	}
}

static void test_redis_url_may_name_no_host_where_sentinels_do(void **state)
{
	(void)state;
	static const char *const texts[] = {"redis://", "redis:///3", "redis://u:p@/3", "redis://:p@"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct redis_url url;
		struct err e = ERR_INIT;
		assert_int_equal(redis_url_parse_any(texts[i], &url, &e), ERR_OK);
		assert_true(!url.host && !url.path && url.port == 0);
		assert_int_equal(url.db, strchr(texts[i], '3') ? 3 : 0);
		assert_int_equal(url.password != NULL, strchr(texts[i], '@') != NULL);
		redis_url_fini(&url);
	}
	struct redis_url url;
	struct err e = ERR_INIT;
	assert_int_equal(redis_url_parse_any("redis://:6379", &url, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "got no host"));
}

static void test_redis_sentinel_is_host_and_port(void **state)
{
	(void)state;
	static const struct {
		const char *text, *host;
		int port;
	} right[] = {{"h", "h", 26379}, {"10.0.0.1:5", "10.0.0.1", 5}, {"[::1]:7", "::1", 7},
	        {"[fe80::1%eth0]", "fe80::1%eth0", 26379}};
	static const char *const wrong[] = {
	        "", ":26379", "h:", "h:0", "h:65536", "h:x", "a b", "redis://h", "h:1:2", "::1", "[::1"};
	struct err e = ERR_INIT;
	char *host;
	int port;
	for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
		assert_int_equal(redis_sentinel_parse(right[i].text, &host, &port, &e), ERR_OK);
		assert_string_equal(host, right[i].host);
		assert_int_equal(port, right[i].port);
		free(host);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_int_equal(redis_sentinel_parse(wrong[i], &host, &port, &e), ERR_INVALID);
		assert_null(host);
		assert_true(strncmp(e.text, "expected the address of a Sentinel, host[:port], got ", 53) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_redis_url_reads_every_part),
	        cmocka_unit_test(test_redis_url_refuses_what_it_cannot_mean),
	        cmocka_unit_test(test_redis_url_never_repeats_a_secret),
	        cmocka_unit_test(test_redis_url_may_name_no_host_where_sentinels_do),
	        cmocka_unit_test(test_redis_sentinel_is_host_and_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
