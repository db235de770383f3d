#include "tests/unit/test_config_fixture.h"

static void test_config_minimal_file_has_every_default(void **state)
{
	(void)state;
	struct config *c = fixture_load(MINIMAL, NULL);
	assert_string_equal(c->file, "t.yml");
	assert_int_equal(c->log.level, LOG_INFO);
	assert_string_equal(c->redis.url, "redis://localhost");
	assert_string_equal(c->redis.prefix, "dungbeetle:");
	assert_int_equal(c->redis.connect_timeout_ms, 2000);
	assert_int_equal(c->redis.timeout_ms, 5000);
	assert_int_equal(c->n_sql_directories, 1);
	assert_string_equal(c->sql_directories[0], "queries");
	assert_string_equal(c->jobs.default_queue, "default");
	assert_int_equal(c->jobs.result_ttl_ms, 3600000);
	assert_int_equal(c->jobs.state_ttl_ms, 86400000);
	assert_int_equal(c->jobs.retries, 0);
	assert_false(c->jobs.reject_wrong_args);
	assert_true(c->jobs.max_rows == 0 && c->jobs.max_bytes == 0);
	assert_int_equal(c->limits.body, 1048576);
	assert_int_equal(c->limits.args, 100);
	assert_int_equal(c->limits.arg_bytes, 65536);
	assert_int_equal(c->limits.group_jobs, 1000);
	assert_int_equal(c->limits.json_depth, 16);
	assert_int_equal(c->limits.page, 100);
	assert_string_equal(c->fcgi.socket, "/run/dungbeetle/fcgi.sock");
	assert_string_equal(c->fcgi.socket_mode, "0660");
	assert_string_equal(c->fcgi.socket_group, "");
	assert_int_equal(c->fcgi.threads, 3);
	assert_int_equal(c->fcgi.drain_timeout_ms, 10000);
	assert_string_equal(c->worker.name, "");
	assert_int_equal(c->worker.concurrency, 10);
	assert_int_equal(c->worker.n_queues, 1);
	assert_string_equal(c->worker.queues[0].name, "default");
	assert_int_equal(c->worker.queues[0].slots, 0);
	assert_int_equal(c->worker.lease_ms, 15000);
	assert_int_equal(c->worker.drain_timeout_ms, 30000);
	assert_int_equal(c->worker.max_deliveries, 3);
	assert_int_equal(c->worker.retry_base_ms, 1000);
	assert_int_equal(c->worker.retry_max_ms, 300000);
	assert_int_equal(c->worker.outage_timeout_ms, 900000);
	assert_int_equal(c->expire.batch, 50);
	assert_int_equal(c->expire.lock_timeout_ms, 1000);
	config_free(c);
}

static void test_config_databases_have_their_defaults(void **state)
{
	(void)state;
	struct config *c = fixture_load(MINIMAL, NULL);
	assert_true(c->n_sources == 1 && c->n_results == 1);
	const struct cfg_source *s = config_source(c, "ledger");
	const struct cfg_results *r = config_results(c, "reports");
	assert_true(s && s->engine == DB_POSTGRES && s->read_only);
	assert_string_equal(s->dsn, "host=a");
	assert_true(s->timeout_ms == 0 && s->connect_timeout_ms == 5000);
	assert_true(r && r->engine == DB_POSTGRES && r->durability == DURABILITY_FULL);
	assert_string_equal(r->dsn, "host=b");
	assert_true(r->lock_timeout_ms == 2000 && r->connect_timeout_ms == 5000);
	assert_null(config_source(c, "reports"));
	assert_null(config_results(c, "ledger"));
	config_free(c);
}

static void test_config_reads_every_kind_of_value(void **state)
{
	(void)state;
	struct config *c =
	        fixture_load("log: {level: debug}\n"
	                     "redis:\n  url: unix:///run/r.sock?db=1\n  prefix: '{q}:'\n  timeout: \"250ms\"\n"
	                     "sql_directories:\n  - a\n  - 'b c'\n"
	                     "jobs: {reject_wrong_args: yes, max_bytes: 3GiB, max_rows: 9223372036854775807, retries: "
	                     "5, max_running: {x: 3, 'y:z': 1}}\n"
	                     "limits:\n"
	                     "fcgi: {socket_mode: 0600, socket_group: www-data}\n"
	                     "worker: {name: true, queues: {default: 10, 'a:b': 2, slow: , zero: 0}}\n"
	                     "sources:\n"
	                     "  a-b: {type: mysql, dsn: 'u@tcp(x)/d', read_only: off, timeout: 1d, max_running: 12}\n"
	                     "  c: {type: clickhouse, dsn: 'http://y'}\n"
	                     "results:\n"
	                     "  r1: {type: mysql, dsn: 'u@tcp(z)/d', durability: relaxed}\n"
	                     "  r2: {type: postgres, dsn: host=z, unlogged: true}\n"
	                     "  r3: {type: postgres, dsn: host=z, unlogged: true, durability: unlogged}\n",
	                NULL);
	assert_int_equal(c->log.level, LOG_DEBUG);
	assert_string_equal(c->redis.prefix, "{q}:");
	assert_int_equal(c->redis.timeout_ms, 250);
	assert_int_equal(c->n_sql_directories, 2);
	assert_string_equal(c->sql_directories[1], "b c");
	assert_true(
	        c->jobs.reject_wrong_args && c->jobs.max_bytes == INT64_C(3) << 30 && c->jobs.max_rows == INT64_MAX);
	assert_int_equal(c->jobs.retries, 5);
	assert_int_equal(config_queue_max_running(c, "x"), 3);
	assert_int_equal(config_queue_max_running(c, "y:z"), 1);
	assert_int_equal(config_queue_max_running(c, "default"), 0);
	assert_int_equal(config_source(c, "a-b")->max_running, 12);
	assert_int_equal(config_source(c, "c")->max_running, 0);
	assert_string_equal(c->fcgi.socket_mode, "0600");
	assert_string_equal(c->worker.name, "true");
	assert_int_equal(c->worker.n_queues, 4);
	assert_string_equal(c->worker.queues[1].name, "a:b");
	assert_int_equal(c->worker.queues[1].slots, 2);
	assert_int_equal(c->worker.queues[2].slots, 0);
	assert_int_equal(config_source(c, "a-b")->engine, DB_MYSQL);
	assert_false(config_source(c, "a-b")->read_only);
	assert_int_equal(config_source(c, "a-b")->timeout_ms, 86400000);
	assert_int_equal(config_source(c, "c")->engine, DB_CLICKHOUSE);
	assert_string_equal(db_engine_name(config_source(c, "c")->engine), "clickhouse");
	assert_int_equal(config_results(c, "r1")->durability, DURABILITY_RELAXED);
	assert_int_equal(config_results(c, "r2")->durability, DURABILITY_UNLOGGED);
	assert_int_equal(config_results(c, "r3")->durability, DURABILITY_UNLOGGED);
	config_free(c);
}

static void test_config_names_an_unknown_key_and_what_was_meant(void **state)
{
	(void)state;
	fixture_refused(MINIMAL "wroker: {}\n", NULL,
	        "t.yml:7: wroker: expected one of log, redis, sql_directories, jobs, limits, fcgi, worker, expire, "
	        "sources, "
	        "results, got an unknown key (did you mean worker?)");
	fixture_refused(MINIMAL "expire:\n  batch: 1\n  lock_tiemout: 1s\n", NULL,
	        "t.yml:9: expire.lock_tiemout: expected one of batch, lock_timeout, got an unknown key (did you mean "
	        "lock_timeout?)");
	fixture_refused("redis:\n  ulr: redis://h\n", NULL,
	        "t.yml:2: redis.ulr: expected one of url, sentinels, master, sentinel_username, sentinel_password, "
	        "wait_replicas, prefix, connect_timeout, timeout, got an unknown key (did "
	        "you mean "
	        "url?)");
	fixture_refused(
	        "log: {verbose: true}\n", NULL, "t.yml:1: log.verbose: expected one of level, got an unknown key");
	fixture_refused("sources:\n  a:\n    type: mysql\n    dns: x\n", NULL,
	        "t.yml:4: sources.a.dns: expected one of type, dsn, password, password_file, read_only, timeout, "
	        "max_running, connect_timeout, max_active, idle_lifetime, got an unknown key (did you mean dsn?)");
	fixture_refused("redis.url: x\n", NULL,
	        "t.yml:1: redis.url: expected one of log, redis, sql_directories, jobs, limits, fcgi, worker, expire, "
	        "sources, "
	        "results, got an unknown key");
	fixture_refused(
	        "log:\n  pass word=hunter2: 1\n", NULL, "t.yml:2: log.?: expected one of level, got an unknown key");
}

static void test_config_says_which_type_was_expected(void **state)
{
	(void)state;
	fixture_refused("- a\n", NULL, "t.yml:1: expected a map of keys, got a list");
	fixture_refused("text\n", NULL, "t.yml:1: expected a map of keys, got a text");
	fixture_refused("redis: redis://u:hunter2@h\n", NULL, "t.yml:1: redis: expected a map of keys, got a text");
	fixture_refused("log: []\n", NULL, "t.yml:1: log: expected a map of keys, got a list");
	fixture_refused("sources: {a: host=x}\n", NULL, "t.yml:1: sources.a: expected a map of keys, got a text");
	fixture_refused(MINIMAL "jobs: {retries: many}\n", NULL,
	        "t.yml:7: jobs.retries: expected an integer from 0 to 1000, got \"many\"");
	fixture_refused(MINIMAL "jobs: {retries: '3'}\n", NULL,
	        "t.yml:7: jobs.retries: expected an integer from 0 to 1000 without quotes, got the quoted text \"3\"");
	fixture_refused(MINIMAL "jobs: {retries: 010}\n", NULL,
	        "t.yml:7: jobs.retries: expected an integer from 0 to 1000, got \"010\"");
	fixture_refused(MINIMAL "jobs: {retries: }\n", NULL,
	        "t.yml:7: jobs.retries: expected an integer from 0 to 1000, got nothing");
	fixture_refused(MINIMAL "jobs: {retries: [1]}\n", NULL,
	        "t.yml:7: jobs.retries: expected an integer from 0 to 1000, got a list");
	fixture_refused(MINIMAL "jobs: {reject_wrong_args: 1}\n", NULL,
	        "t.yml:7: jobs.reject_wrong_args: expected true or false, got \"1\"");
	fixture_refused(MINIMAL "jobs: {reject_wrong_args: 'yes'}\n", NULL,
	        "t.yml:7: jobs.reject_wrong_args: expected true or false without quotes, got the quoted text \"yes\"");
	fixture_refused(MINIMAL "log: {level: loud}\n", NULL,
	        "t.yml:7: log.level: expected one of debug, info, warn, error, got \"loud\"");
	fixture_refused(MINIMAL "worker: {name: {a: b}}\n", NULL,
	        "t.yml:7: worker.name: expected a text of 0 to 100 bytes, got a map");
	fixture_refused(MINIMAL "worker: {name: }\n", NULL,
	        "t.yml:7: worker.name: expected a text of 0 to 100 bytes, got nothing");
	fixture_refused(MINIMAL "sql_directories: queries\n", NULL,
	        "t.yml:7: sql_directories: expected a list of at least one directory, such as [queries], got "
	        "\"queries\"");
	fixture_refused(MINIMAL "sql_directories: []\n", NULL,
	        "t.yml:7: sql_directories: expected a list of at least one directory, such as [queries], got an empty "
	        "list");
	fixture_refused(MINIMAL "sql_directories: [a, [b]]\n", NULL,
	        "t.yml:7: sql_directories: expected the path of a directory in each entry, got a list");
}

static void test_config_says_which_units_and_limits_were_expected(void **state)
{
	(void)state;
	fixture_refused(MINIMAL "worker: {lease: 15}\n", NULL,
	        "t.yml:7: worker.lease: expected a duration (a number and ms, s, m, h or d, such as 15s) from 1s to "
	        "1h, got "
	        "\"15\"");
	fixture_refused(MINIMAL "worker: {lease: 999ms}\n", NULL,
	        "t.yml:7: worker.lease: expected a duration (a number and ms, s, m, h or d, such as 15s) from 1s to "
	        "1h, got "
	        "\"999ms\"");
	fixture_refused(MINIMAL "redis2: 1\n", NULL,
	        "t.yml:7: redis2: expected one of log, redis, sql_directories, jobs, limits, fcgi, worker, expire, "
	        "sources, "
	        "results, got an unknown key (did you mean redis?)");
	fixture_refused(MINIMAL "limits: {body: 1mb}\n", NULL,
	        "t.yml:7: limits.body: expected a size (a number and perhaps B, KB, MB, GB, KiB, MiB or GiB, such as "
	        "64KiB) "
	        "from 1KiB to 1GiB, got \"1mb\"");
	fixture_refused(MINIMAL "jobs: {max_bytes: -1}\n", NULL,
	        "t.yml:7: jobs.max_bytes: expected a size (a number and perhaps B, KB, MB, GB, KiB, MiB or GiB, such "
	        "as "
	        "64KiB) at least 0, got \"-1\"");
	fixture_refused(MINIMAL "fcgi:\n  threads: 65\n", NULL,
	        "t.yml:8: fcgi.threads: expected an integer from 1 to 64, got \"65\"");
	fixture_refused(MINIMAL "worker:\n\n  concurrency: 0\n", NULL,
	        "t.yml:9: worker.concurrency: expected an integer from 1 to 1000, got \"0\"");
	fixture_refused(MINIMAL "worker: {concurrency: 1001}\n", NULL,
	        "t.yml:7: worker.concurrency: expected an integer from 1 to 1000, got \"1001\"");
	fixture_refused(MINIMAL "jobs: {max_rows: 9223372036854775808}\n", NULL,
	        "t.yml:7: jobs.max_rows: expected an integer at least 0, got \"9223372036854775808\"");
	fixture_refused(MINIMAL "worker: {retry_base: 10m}\n", NULL,
	        "t.yml:7: worker.retry_base: expected no more than worker.retry_max (5m), got 10m");
	fixture_refused(MINIMAL "worker: {retry_max: 500ms}\n", NULL,
	        "t.yml:7: worker.retry_max: expected no less than worker.retry_base (1s), got 500ms");
}

static void test_config_texts_must_have_their_form(void **state)
{
	(void)state;
	fixture_refused(MINIMAL "jobs: {default_queue: 'a b'}\n", NULL,
	        "t.yml:7: jobs.default_queue: expected a name of 1 to 128 letters, digits, _, : and -, got \"a b\"");
	fixture_refused(MINIMAL "worker: {name: 'a b'}\n", NULL,
	        "t.yml:7: worker.name: expected printable ASCII characters without spaces, got \"a b\"");
	fixture_refused(MINIMAL "fcgi: {socket_mode: 0890}\n", NULL,
	        "t.yml:7: fcgi.socket_mode: expected a file mode in octal, such as \"0660\", got \"0890\"");
	fixture_refused(MINIMAL "fcgi: {socket_mode: 66}\n", NULL,
	        "t.yml:7: fcgi.socket_mode: expected a file mode in octal, such as \"0660\", got \"66\"");
	fixture_refused(MINIMAL "fcgi: {socket: ''}\n", NULL,
	        "t.yml:7: fcgi.socket: expected a text of 1 to 107 bytes, got \"\"");
	fixture_refused(MINIMAL
	        "fcgi:\n  socket: "
	        "/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/"
	        "0123456789/012345678\n",
	        NULL,
	        "t.yml:8: fcgi.socket: expected a text of 1 to 107 bytes, got "
	        "\"/0123456789/0123456789/0123456789/012345...\"");
	fixture_refused(MINIMAL "worker: {queues: {'a b': 1}}\n", NULL,
	        "t.yml:7: worker.queues: expected queue names of 1 to 128 letters, digits, _, : and -, got \"a b\"");
	fixture_refused(MINIMAL "worker: {queues: {a: 1001}}\n", NULL,
	        "t.yml:7: worker.queues: a: expected jobs at once, an integer from 0 (as the tasks say) to 1000, got "
	        "\"1001\"");
	fixture_refused(MINIMAL "jobs: {max_running: {a: 0}}\n", NULL,
	        "t.yml:7: jobs.max_running: a: expected jobs at once, an integer from 1 to 10000, got \"0\"");
	fixture_refused(MINIMAL "jobs: {max_running: {a: }}\n", NULL,
	        "t.yml:7: jobs.max_running: a: expected jobs at once, an integer from 1 to 10000, got nothing");
	fixture_refused(MINIMAL "worker: {queues: [a]}\n", NULL,
	        "t.yml:7: worker.queues: expected a map of queues and their jobs at once, such as {default: 10}, got a "
	        "list");
	fixture_refused("sources:\n  'a b': {}\n", NULL,
	        "t.yml:2: sources: expected database names of 1 to 64 letters, digits, _, : and -, got another one");
	fixture_refused(MINIMAL "worker: {name: ääääääääääääääääääääääää}\n", NULL,
	        "t.yml:7: worker.name: expected printable ASCII characters without spaces, got "
	        "\"ääääääääääääääääääää...\"");
}

static void test_config_wants_what_has_no_default(void **state)
{
	(void)state;
	fixture_refused("", NULL, "t.yml:1: redis.url: expected a value, since it has no default, got none");
	fixture_refused("\n\nredis:\n  timeout: 1s\n", NULL,
	        "t.yml:3: redis.url: expected a value, since it has no default, got none");
	fixture_refused("redis: {url: 'redis://h'}\nsources:\n  a:\n    type: mysql\n", NULL,
	        "t.yml:3: sources.a.dsn: expected a value, since it has no default, got none");
	fixture_refused("redis: {url: 'redis://h'}\nsources:\n  a:\n", NULL,
	        "t.yml:3: sources.a.type: expected a value, since it has no default, got none");
	fixture_refused(
	        "redis: {url: 'redis://h'}\nsources: {a: {type: mysql, dsn: 'u@tcp(x)/d'}}\nresults:\n  b: {dsn: x}\n",
	        NULL, "t.yml:4: results.b.type: expected a value, since it has no default, got none");
}

static void test_config_wants_databases_as_the_program_needs_them(void **state)
{
	(void)state;
	static const char none[] = "redis: {url: 'redis://h'}\n\nsources:\n";
	static const char results_only[] = "redis: {url: 'redis://h'}\nresults: {r: {type: postgres, dsn: host=x}}\n";
	struct err e = ERR_INIT;
	struct config *c = NULL;
	fixture_refused(none, NULL, "t.yml:3: sources: expected at least one database, got none");
	fixture_refused(results_only, NULL, "t.yml:1: sources: expected at least one database, got none");
	fixture_refused("redis: {url: 'redis://h'}\nsources: {r: {type: postgres, dsn: host=x}}\nresults: {}\n", NULL,
	        "t.yml:3: results: expected at least one database, got none");
	assert_int_equal(fixture_load_as(PROGRAM_FCGI, none, NULL, &c, &e), ERR_INVALID);
	assert_int_equal(fixture_load_as(PROGRAM_EXPIRE, none, NULL, &c, &e), ERR_INVALID);
	assert_string_equal(e.text, "t.yml:1: results: expected at least one database, got none");
	assert_int_equal(fixture_load_as(PROGRAM_EXPIRE, results_only, NULL, &c, &e), ERR_OK);
	assert_int_equal(c->n_sources, 0);
	config_free(c);
}

static void test_config_knows_one_durability_by_two_names(void **state)
{
	(void)state;
	fixture_refused("redis: {url: 'redis://h'}\nsources: {s: {type: mysql, dsn: 'u@tcp(x)/d'}}\nresults:\n  r:\n"
	                "    type: postgres\n    dsn: host=x\n    unlogged: true\n    durability: full\n",
	        NULL, "t.yml:8: results.r.durability: expected unlogged, since unlogged is true, got \"full\"");
	fixture_refused("results: {r: {type: clickhouse, dsn: 'http://x'}}\nredis: {url: 'redis://h'}\n", NULL,
	        "t.yml:1: results.r.type: expected one of postgres, mysql, got \"clickhouse\"");
}

static void test_config_never_shows_a_secret(void **state)
{
	(void)state;
	fixture_refused("redis:\n  url: redis://u:hunter2@h:port\n", NULL,
	        "t.yml:2: redis.url: expected redis://[user:password@]host[:port][/db] or unix:///path[?db=N], got a "
	        "port that "
	        "is not a number from 1 to 65535");
	char text[6000] = "redis: {url: 'redis://h'}\nsources: {a: {type: mysql, dsn: hunter2";
	size_t n = strlen(text);
	memset(text + n, 'x', 4500);
	memcpy(text + n + 4500, "}}\n", 4);
	fixture_refused(
	        text, NULL, "t.yml:2: sources.a.dsn: expected a text of 1 to 4096 bytes, got a text that is not shown");
}

static void test_config_file_that_cannot_be_read_is_named(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct config *c = NULL;
	struct config_flags flags = {.program = PROGRAM_WORKER, .config_path = "none.yml"};
	assert_int_equal(config_load(&flags, NULL, &c, &e), ERR_INVALID);
	assert_string_equal(e.text, "none.yml: cannot be read: No such file or directory");
	fixture_refused("a: &b 1\n", NULL,
	        "t.yml:1: an anchor (&name) is not supported: write the value where it is used (quote a text that "
	        "begins with "
	        "&)");
}

static void test_config_default_file_is_the_one_in_the_working_directory(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct config *c = NULL;
	struct config_flags flags = {.program = PROGRAM_WORKER};
	unlink("config.yml");
	if (access("/etc/dungbeetle/config.yml", F_OK) != 0) {
		assert_int_equal(config_load(&flags, NULL, &c, &e), ERR_INVALID);
		assert_string_equal(e.text,
		        "expected a configuration (--config FILE), got neither config.yml nor "
		        "/etc/dungbeetle/config.yml");
	}
	fixture_write("config.yml", MINIMAL, strlen(MINIMAL));
	assert_int_equal(config_load(&flags, NULL, &c, &e), ERR_OK);
	assert_string_equal(c->file, "config.yml");
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_minimal_file_has_every_default),
	        cmocka_unit_test(test_config_databases_have_their_defaults),
	        cmocka_unit_test(test_config_reads_every_kind_of_value),
	        cmocka_unit_test(test_config_names_an_unknown_key_and_what_was_meant),
	        cmocka_unit_test(test_config_says_which_type_was_expected),
	        cmocka_unit_test(test_config_says_which_units_and_limits_were_expected),
	        cmocka_unit_test(test_config_texts_must_have_their_form),
	        cmocka_unit_test(test_config_wants_what_has_no_default),
	        cmocka_unit_test(test_config_wants_databases_as_the_program_needs_them),
	        cmocka_unit_test(test_config_knows_one_durability_by_two_names),
	        cmocka_unit_test(test_config_never_shows_a_secret),
	        cmocka_unit_test(test_config_file_that_cannot_be_read_is_named),
	        cmocka_unit_test(test_config_default_file_is_the_one_in_the_working_directory),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
