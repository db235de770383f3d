#include "tests/unit/test_config_fixture.h"

#define ARGS(...) ((char *[]){"prog", __VA_ARGS__, NULL})

static enum err_code parse(enum config_program program, char **argv, struct config_flags *flags, struct err *e)
{
	int argc = 0;
	while (argv[argc])
		argc++;
	return config_flags_parse(program, argc, argv, flags, e);
}

static struct config_flags parsed(enum config_program program, char **argv)
{
	struct config_flags flags;
	struct err e = ERR_INIT;
	if (parse(program, argv, &flags, &e))
		fail_msg("%s", e.text);
	return flags;
}

static void refused(enum config_program program, char **argv, const char *message)
{
	struct config_flags flags;
	struct err e = ERR_INIT;
	assert_int_equal(parse(program, argv, &flags, &e), ERR_INVALID);
	assert_string_equal(e.text, message);
	assert_true(!flags.queues && !flags.sql_directories);
}

static void test_config_flags_take_both_forms_and_repeat(void **state)
{
	(void)state;
	struct config_flags f = parsed(PROGRAM_WORKER,
	        ARGS("--config", "a.yml", "--sql-directory=x", "--sql-directory", "y z", "--queue", "reports:2",
	                "--queue=a:b", "--queue", "a:b:3", "--worker-name=w1", "--worker-concurrency", "4", "--check"));
	assert_int_equal(f.program, PROGRAM_WORKER);
	assert_string_equal(f.config_path, "a.yml");
	assert_int_equal(f.n_sql_directories, 2);
	assert_string_equal(f.sql_directories[0], "x");
	assert_string_equal(f.sql_directories[1], "y z");
	assert_int_equal(f.n_queues, 3);
	assert_string_equal(f.queues[0].name, "reports");
	assert_int_equal(f.queues[0].slots, 2);
	assert_string_equal(f.queues[1].name, "a:b");
	assert_int_equal(f.queues[1].slots, 0);
	assert_string_equal(f.queues[2].name, "a:b");
	assert_int_equal(f.queues[2].slots, 3);
	assert_string_equal(f.worker_name, "w1");
	assert_int_equal(f.worker_concurrency, 4);
	assert_true(f.check && !f.version && !f.help && !f.dry_run && !f.socket);
	config_flags_fini(&f);
}

static void test_config_flags_may_be_absent(void **state)
{
	(void)state;
	char *none[] = {"prog", NULL};
	for (int p = PROGRAM_FCGI; p <= PROGRAM_EXPIRE; p++) {
		struct config_flags f = parsed((enum config_program)p, none);
		assert_int_equal(f.program, p);
		assert_true(!f.config_path && !f.check && !f.n_queues && !f.worker_concurrency);
		config_flags_fini(&f);
	}
	struct config_flags f = parsed(PROGRAM_EXPIRE, ARGS("--dry-run", "--version", "--help"));
	assert_true(f.dry_run && f.version && f.help);
	config_flags_fini(&f);
}

static void test_config_flags_each_program_takes_its_own(void **state)
{
	(void)state;
	refused(PROGRAM_FCGI, ARGS("--queue", "a"),
	        "--queue: expected a flag of this program (see --help), got one of another");
	refused(PROGRAM_WORKER, ARGS("--socket=/x"),
	        "--socket: expected a flag of this program (see --help), got one of another");
	refused(PROGRAM_EXPIRE, ARGS("--sql-directory", "x"),
	        "--sql-directory: expected a flag of this program (see --help), got one of another");
	refused(PROGRAM_WORKER, ARGS("--dry-run"),
	        "--dry-run: expected a flag of this program (see --help), got one of another");
}

static void test_config_flags_say_what_is_wrong(void **state)
{
	(void)state;
	refused(PROGRAM_WORKER, ARGS("--colour=x"), "--colour: expected a flag (see --help), got an unknown one");
	refused(PROGRAM_WORKER, ARGS("-x"), "-x: expected a flag (see --help), got an unknown one");
	refused(PROGRAM_WORKER, ARGS("--check=yes"), "--check: expected no value, got one");
	refused(PROGRAM_WORKER, ARGS("--config"), "--config: expected a value, got none");
	refused(PROGRAM_WORKER, ARGS("--queue", "a", "b"), "expected only flags (see --help), got \"b\"");
	refused(PROGRAM_WORKER, ARGS("--sql-directory="), "--sql-directory: expected a directory, got \"\"");
	refused(PROGRAM_WORKER, ARGS("--queue", "ok", "--queue", "a b"),
	        "--queue: expected NAME or NAME:CONCURRENCY with a name of letters, digits, _, : and -, got \"a b\"");
	refused(PROGRAM_WORKER, ARGS("--queue="),
	        "--queue: expected NAME or NAME:CONCURRENCY with a name of letters, digits, _, : and -, got \"\"");
	refused(PROGRAM_WORKER, ARGS("--queue=:3"),
	        "--queue: expected NAME or NAME:CONCURRENCY with a name of letters, digits, _, : and -, got \":3\"");
	refused(PROGRAM_WORKER, ARGS("--queue=a:"),
	        "--queue: expected NAME or NAME:CONCURRENCY with a name of letters, digits, _, : and -, got \"a:\"");
	refused(PROGRAM_WORKER, ARGS("--queue=a:0"), "--queue: expected a concurrency from 1 to 1000, got \"a:0\"");
	refused(PROGRAM_WORKER, ARGS("--queue=a:1001"),
	        "--queue: expected a concurrency from 1 to 1000, got \"a:1001\"");
	refused(PROGRAM_WORKER, ARGS("--worker-concurrency=x"),
	        "--worker-concurrency: expected an integer from 1 to 1000, got \"x\"");
	refused(PROGRAM_WORKER, ARGS("--worker-concurrency=0"),
	        "--worker-concurrency: expected an integer from 1 to 1000, got \"0\"");
}

static void test_config_flags_come_before_variables_and_file(void **state)
{
	(void)state;
	static const char text[] = MINIMAL "worker: {queues: {default: 10}, name: file}\nsql_directories: [file]\n";
	char *env[] = {"DUNGBEETLE_WORKER__NAME=env", "DUNGBEETLE_WORKER__CONCURRENCY=5", NULL};
	struct err e = ERR_INIT;
	struct config *c = NULL;
	fixture_write("t.yml", text, strlen(text));
	struct config_flags f = parsed(PROGRAM_WORKER,
	        ARGS("--config=t.yml", "--queue=b:2", "--queue=a", "--queue=b:3", "--worker-name=flag",
	                "--sql-directory=x"));
	assert_int_equal(config_load(&f, env, &c, &e), ERR_OK);
	config_flags_fini(&f);
	assert_int_equal(c->worker.n_queues, 2);
	assert_string_equal(c->worker.queues[0].name, "b");
	assert_int_equal(c->worker.queues[0].slots, 3);
	assert_string_equal(c->worker.queues[1].name, "a");
	assert_int_equal(c->worker.queues[1].slots, 0);
	assert_string_equal(c->worker.name, "flag");
	assert_int_equal(c->worker.concurrency, 5);
	assert_int_equal(c->n_sql_directories, 1);
	assert_string_equal(c->sql_directories[0], "x");
	config_free(c);

	f = parsed(PROGRAM_WORKER, ARGS("--config=t.yml", "--worker-concurrency=9"));
	assert_int_equal(config_load(&f, env, &c, &e), ERR_OK);
	config_flags_fini(&f);
	assert_int_equal(c->worker.concurrency, 9);
	config_free(c);

	f = parsed(PROGRAM_FCGI, ARGS("--config=t.yml", "--socket=/s"));
	assert_int_equal(config_load(&f, NULL, &c, &e), ERR_OK);
	config_flags_fini(&f);
	assert_string_equal(c->fcgi.socket, "/s");
	config_free(c);
}

static void test_config_flags_with_a_wrong_value_are_named(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct config *c = NULL;
	fixture_write("t.yml", MINIMAL, strlen(MINIMAL));
	struct config_flags f = parsed(PROGRAM_WORKER, ARGS("--config=t.yml", "--worker-name=a b"));
	assert_int_equal(config_load(&f, NULL, &c, &e), ERR_INVALID);
	assert_string_equal(e.text, "--worker-name: expected printable ASCII characters without spaces, got \"a b\"");
	config_flags_fini(&f);
	f = parsed(PROGRAM_FCGI, ARGS("--config=t.yml", "--socket="));
	assert_int_equal(config_load(&f, NULL, &c, &e), ERR_INVALID);
	assert_string_equal(e.text, "--socket: expected a text of 1 to 107 bytes, got \"\"");
	config_flags_fini(&f);
}

/* Whether the program takes the flag at all, with or without a value. */
static bool takes(enum config_program program, const char *flag)
{
	char *argv[] = {"prog", (char *)(uintptr_t)flag, "1", NULL};
	struct config_flags f;
	struct err e = ERR_INIT;
	enum err_code rc = config_flags_parse(program, 3, argv, &f, &e);
	config_flags_fini(&f);
	return rc == ERR_OK || strstr(e.text, "expected only flags") != NULL;
}

static void test_config_flags_usage_lists_just_those_of_the_program(void **state)
{
	(void)state;
	static const char *const all[] = {"--config", "--sql-directory", "--queue", "--worker-name",
	        "--worker-concurrency", "--socket", "--check", "--dry-run", "--version", "--help"};
	for (int p = PROGRAM_FCGI; p <= PROGRAM_EXPIRE; p++)
		for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
			char line[64];
			snprintf(line, sizeof line, "\n  %s ", all[i]);
			bool listed = strstr(config_usage((enum config_program)p), line) != NULL;
			if (listed != takes((enum config_program)p, all[i]))
				fail_msg("program %d: %s is %s", p, all[i], listed ? "listed" : "not listed");
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_flags_take_both_forms_and_repeat),
	        cmocka_unit_test(test_config_flags_may_be_absent),
	        cmocka_unit_test(test_config_flags_each_program_takes_its_own),
	        cmocka_unit_test(test_config_flags_say_what_is_wrong),
	        cmocka_unit_test(test_config_flags_come_before_variables_and_file),
	        cmocka_unit_test(test_config_flags_with_a_wrong_value_are_named),
	        cmocka_unit_test(test_config_flags_usage_lists_just_those_of_the_program),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
