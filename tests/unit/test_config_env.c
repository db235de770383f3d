#include "tests/unit/test_config_fixture.h"

#define ENV(...) ((char *[]){__VA_ARGS__, NULL})

static void test_config_env_overrides_file_and_default(void **state)
{
	(void)state;
	struct config *c = fixture_load(MINIMAL "worker: {lease: 20s}\nexpire:\n",
	        ENV("PATH=/bin", "DUNGBEETLE_REDIS__URL=redis://other/1", "DUNGBEETLE_WORKER__LEASE=30s",
	                "DUNGBEETLE_WORKER__CONCURRENCY=7", "DUNGBEETLE_EXPIRE__BATCH=9", "DUNGBEETLE_LOG__LEVEL=warn",
	                "DUNGBEETLE_JOBS__REJECT_WRONG_ARGS=true", "DUNGBEETLE_WORKER__NAME="));
	assert_string_equal(c->redis.url, "redis://other/1");
	assert_int_equal(c->worker.lease_ms, 30000);
	assert_int_equal(c->worker.concurrency, 7);
	assert_int_equal(c->expire.batch, 9);
	assert_int_equal(c->log.level, LOG_WARN);
	assert_true(c->jobs.reject_wrong_args);
	assert_string_equal(c->worker.name, "");
	config_free(c);
}

static void test_config_env_names_compare_without_case(void **state)
{
	(void)state;
	struct config *c =
	        fixture_load(MINIMAL, ENV("dungbeetle_Redis__Prefix=x:", "Dungbeetle_sources__Ledger__dsn=host=z"));
	assert_string_equal(c->redis.prefix, "x:");
	assert_string_equal(config_source(c, "ledger")->dsn, "host=z");
	config_free(c);
}

static void test_config_env_reaches_a_database_with_any_name(void **state)
{
	(void)state;
	struct config *c = fixture_load(
	        "redis: {url: 'redis://h'}\n"
	        "sources:\n  My-led:ger: {type: postgres}\n  a__b: {type: mysql, dsn: 'u@tcp(x)/d'}\n  c:\n"
	        "results: {r: {type: postgres, dsn: host=x}}\n",
	        ENV("DUNGBEETLE_SOURCES__MY_LED_GER__DSN=host=1 password='a=b:c'",
	                "DUNGBEETLE_SOURCES__A__B__CONNECT_TIMEOUT=9s", "DUNGBEETLE_SOURCES__C__TYPE=clickhouse",
	                "DUNGBEETLE_SOURCES__C__DSN=http://d", "DUNGBEETLE_RESULTS__R__UNLOGGED=on"));
	assert_string_equal(config_source(c, "My-led:ger")->dsn, "host=1 password='a=b:c'");
	assert_int_equal(config_source(c, "a__b")->connect_timeout_ms, 9000);
	assert_int_equal(config_source(c, "c")->engine, DB_CLICKHOUSE);
	assert_int_equal(config_results(c, "r")->durability, DURABILITY_UNLOGGED);
	config_free(c);
}

static void test_config_env_list_is_separated_by_colons(void **state)
{
	(void)state;
	struct config *c = fixture_load(MINIMAL "sql_directories: [x]\n", ENV("DUNGBEETLE_SQL_DIRECTORIES=/a:b c:d"));
	assert_int_equal(c->n_sql_directories, 3);
	assert_string_equal(c->sql_directories[0], "/a");
	assert_string_equal(c->sql_directories[1], "b c");
	assert_string_equal(c->sql_directories[2], "d");
	config_free(c);
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_SQL_DIRECTORIES=a::b"),
	        "environment DUNGBEETLE_SQL_DIRECTORIES: expected the path of a directory in each entry, got \"\"");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_SQL_DIRECTORIES="),
	        "environment DUNGBEETLE_SQL_DIRECTORIES: expected a list of at least one directory, such as [queries], "
	        "got an "
	        "empty list");
}

static void test_config_env_wrong_value_names_the_variable(void **state)
{
	(void)state;
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_FCGI__THREADS=many"),
	        "environment DUNGBEETLE_FCGI__THREADS: expected an integer from 1 to 64, got \"many\"");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_FCGI__THREADS="),
	        "environment DUNGBEETLE_FCGI__THREADS: expected an integer from 1 to 64, got \"\"");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_REDIS__URL=hunter2"),
	        "environment DUNGBEETLE_REDIS__URL: expected redis://[user:password@]host[:port][/db] or "
	        "unix:///path[?db=N], got another kind of address");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_SOURCES__LEDGER__DSN="),
	        "environment DUNGBEETLE_SOURCES__LEDGER__DSN: expected a text of 1 to 4096 bytes, got a text that is "
	        "not "
	        "shown");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_WORKER__QUEUES=a:1"),
	        "environment DUNGBEETLE_WORKER__QUEUES: expected queues in the file or as --queue, got a variable, "
	        "which "
	        "cannot hold a map");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_WORKER__RETRY_MAX=1ms"),
	        "environment DUNGBEETLE_WORKER__RETRY_MAX: expected no less than worker.retry_base (1s), got 1ms");
	fixture_refused("redis: {url: 'redis://h'}\nsources: {s: {type: mysql, dsn: 'u@tcp(x)/d'}}\n"
	                "results: {r: {type: mysql, dsn: 'u@tcp(x)/d', durability: relaxed}}\n",
	        ENV("DUNGBEETLE_RESULTS__R__UNLOGGED=true"),
	        "t.yml:3: results.r.durability: expected unlogged, since unlogged is true, got \"relaxed\"");
}

static void test_config_env_unknown_variable_is_named(void **state)
{
	(void)state;
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_REDIS_URL=redis://h"),
	        "environment DUNGBEETLE_REDIS_URL: expected a key, such as DUNGBEETLE_REDIS__URL, got an unknown one "
	        "(did you "
	        "mean DUNGBEETLE_REDIS__URL?)");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_Worker__Laese=1s"),
	        "environment DUNGBEETLE_Worker__Laese: expected a key, such as DUNGBEETLE_REDIS__URL, got an unknown "
	        "one (did "
	        "you mean DUNGBEETLE_WORKER__LEASE?)");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_NO__THING=1"),
	        "environment DUNGBEETLE_NO__THING: expected a key, such as DUNGBEETLE_REDIS__URL, got an unknown one");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_SOURCES=x"),
	        "environment DUNGBEETLE_SOURCES: expected a key, such as DUNGBEETLE_REDIS__URL, got an unknown one");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_SOURCES__LEDGER__DNS=x"),
	        "environment DUNGBEETLE_SOURCES__LEDGER__DNS: expected a key, such as DUNGBEETLE_REDIS__URL, got an "
	        "unknown "
	        "one");
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_SOURCES__LEGDER__DSN=x"),
	        "environment DUNGBEETLE_SOURCES__LEGDER__DSN: expected the name of a database of the file, got an "
	        "unknown one");
	fixture_refused("redis: {url: 'redis://h'}\nsources: {a-b: {type: mysql}, a_b: {type: mysql}}\n",
	        ENV("DUNGBEETLE_SOURCES__A_B__DSN=x"),
	        "environment DUNGBEETLE_SOURCES__A_B__DSN: expected the name of one database, got one that fits two");
}

static void test_config_env_leaves_other_variables_alone(void **state)
{
	(void)state;
	struct config *c = fixture_load(MINIMAL,
	        ENV("DUNGBEETLE_HOME=/x", "DUNGBEETLE_WORKERS=3", "DUNGBEETLE_=", "DUNGBEETLE", "REDIS__URL=x",
	                "XDUNGBEETLE_REDIS__URL=x", ""));
	assert_string_equal(c->redis.url, "redis://localhost");
	config_free(c);
}

static void test_config_env_name_of_any_length_is_harmless(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct config *c = NULL;
	char entry[3000] = "DUNGBEETLE_SOURCES__";
	size_t n = strlen(entry);
	memset(entry + n, 'A', 2000);
	memcpy(entry + n + 2000, "__DSN=x", 8);
	assert_int_equal(fixture_load_as(PROGRAM_WORKER, MINIMAL, ENV(entry), &c, &e), ERR_INVALID);
	assert_true(strncmp(e.text, "environment DUNGBEETLE_SOURCES__AAAA", 36) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_env_overrides_file_and_default),
	        cmocka_unit_test(test_config_env_names_compare_without_case),
	        cmocka_unit_test(test_config_env_reaches_a_database_with_any_name),
	        cmocka_unit_test(test_config_env_list_is_separated_by_colons),
	        cmocka_unit_test(test_config_env_wrong_value_names_the_variable),
	        cmocka_unit_test(test_config_env_unknown_variable_is_named),
	        cmocka_unit_test(test_config_env_leaves_other_variables_alone),
	        cmocka_unit_test(test_config_env_name_of_any_length_is_harmless),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
