/* redis.sentinels and what goes with it. */
#include "tests/unit/test_config_fixture.h"

#define ENV(...) ((char *[]){__VA_ARGS__, NULL})
#define DATABASES \
	"sources: {s: {type: postgres, dsn: host=a}}\n" \
	"results: {r: {type: postgres, dsn: host=b}}\n"

static void test_config_sentinels_take_the_place_of_the_urls_host(void **state)
{
	(void)state;
	struct config *c = fixture_load("redis:\n"
	                                "  sentinels: ['10.0.0.1:26379', ten, \"[::1]:1\"]\n"
	                                "  master: mymaster\n" DATABASES,
	        NULL);
	assert_int_equal(c->redis.n_sentinels, 3);
	assert_string_equal(c->redis.sentinels[0], "10.0.0.1:26379");
	assert_string_equal(c->redis.sentinels[2], "[::1]:1");
	assert_string_equal(c->redis.master, "mymaster");
	assert_string_equal(c->redis.url, "");
	assert_string_equal(c->redis.sentinel_password, "");
	assert_int_equal(c->redis.wait_replicas, 0);
	config_free(c);
}

static void test_config_sentinels_go_with_a_url_for_user_and_db(void **state)
{
	(void)state;
	struct config *c = fixture_load("redis: {url: 'redis://u:p@/2', sentinels: [a], master: m, wait_replicas: 1,\n"
	                                " sentinel_username: x, sentinel_password: y}\n" DATABASES,
	        NULL);
	assert_string_equal(c->redis.url, "redis://u:p@/2");
	assert_string_equal(c->redis.sentinel_username, "x");
	assert_string_equal(c->redis.sentinel_password, "y");
	assert_int_equal(c->redis.wait_replicas, 1);
	config_free(c);
}

static void test_config_sentinels_come_from_the_environment(void **state)
{
	(void)state;
	struct config *c = fixture_load(DATABASES,
	        ENV("DUNGBEETLE_REDIS__SENTINELS=10.0.0.1:26379,b", "DUNGBEETLE_REDIS__MASTER=m",
	                "DUNGBEETLE_REDIS__SENTINEL_PASSWORD=p"));
	assert_int_equal(c->redis.n_sentinels, 2);
	assert_string_equal(c->redis.sentinels[0], "10.0.0.1:26379");
	assert_string_equal(c->redis.sentinels[1], "b");
	assert_string_equal(c->redis.sentinel_password, "p");
	config_free(c);
}

static void test_config_sentinels_refuse_what_does_not_go_together(void **state)
{
	(void)state;
	fixture_refused("redis:\n  sentinels: [a]\n" DATABASES, NULL,
	        "t.yml:2: redis.sentinels: expected redis.master beside it, the Sentinels' name of the master, got "
	        "none");
	fixture_refused("redis:\n  url: redis://h\n  master: m\n" DATABASES, NULL,
	        "t.yml:3: redis.master: expected nothing here unless redis.sentinels lists the Sentinels, got a text");
	fixture_refused("redis:\n  url: redis://h\n  sentinel_password: hunter2\n" DATABASES, NULL,
	        "t.yml:3: redis.sentinel_password: expected nothing here unless redis.sentinels lists the Sentinels, "
	        "got "
	        "a text");
	fixture_refused("redis:\n  sentinels: [a]\n  master: m\n  sentinel_username: u\n" DATABASES, NULL,
	        "t.yml:4: redis.sentinel_username: expected redis.sentinel_password beside it, got none");
	fixture_refused("redis:\n  sentinels: [a]\n  master: m\n  url: redis://u:hunter2@h/1\n" DATABASES, NULL,
	        "t.yml:4: redis.url: expected redis://[user:password@][/db], since redis.sentinels say where the "
	        "master "
	        "is, got one with a host");
	fixture_refused("redis:\n  sentinels: [a]\n  master: m\n  url: unix:///run/r.sock\n" DATABASES, NULL,
	        "t.yml:4: redis.url: expected redis://[user:password@][/db], since redis.sentinels say where the "
	        "master "
	        "is, got one with a host");
	fixture_refused("redis: {url: 'redis://u:p@/1'}\n" DATABASES, NULL,
	        "t.yml:1: redis.url: expected redis://[user:password@]host[:port][/db] or unix:///path[?db=N], got no "
	        "host");
	fixture_refused("redis:\n  sentinels: []\n" DATABASES, NULL,
	        "t.yml:2: redis.sentinels: expected at least one Sentinel, or redis.url, got neither");
	fixture_refused(DATABASES, ENV("DUNGBEETLE_REDIS__SENTINELS=a"),
	        "environment DUNGBEETLE_REDIS__SENTINELS: expected redis.master beside it, the Sentinels' name of the "
	        "master, got none");
}

static void test_config_sentinels_refuse_what_is_no_address(void **state)
{
	(void)state;
	fixture_refused("redis:\n  sentinels:\n    - a:x\n  master: m\n" DATABASES, NULL,
	        "t.yml:2: redis.sentinels: expected the address of a Sentinel, host[:port], got a port that is not a "
	        "number from 1 to 65535");
	fixture_refused("redis:\n  sentinels: a:1\n  master: m\n" DATABASES, NULL,
	        "t.yml:2: redis.sentinels: expected a list of Sentinels, such as [\"10.0.0.1:26379\", "
	        "\"10.0.0.2:26379\"], got \"a:1\"");
	fixture_refused("redis:\n  sentinels: [[a]]\n  master: m\n" DATABASES, NULL,
	        "t.yml:2: redis.sentinels: expected the address of a Sentinel, host[:port], in each entry, got a list");
	fixture_refused("redis:\n  sentinels: [a]\n  master: a b\n" DATABASES, NULL,
	        "t.yml:3: redis.master: expected printable ASCII characters without spaces, got \"a b\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_sentinels_take_the_place_of_the_urls_host),
	        cmocka_unit_test(test_config_sentinels_go_with_a_url_for_user_and_db),
	        cmocka_unit_test(test_config_sentinels_come_from_the_environment),
	        cmocka_unit_test(test_config_sentinels_refuse_what_does_not_go_together),
	        cmocka_unit_test(test_config_sentinels_refuse_what_is_no_address),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
