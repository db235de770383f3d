/* The keys of a database that belong together: passwords and where they come from, storage engines, caps. */
#include "tests/unit/test_config_fixture.h"

#define HEAD "redis: {url: 'redis://h'}\n"
#define ENV(...) ((char *[]){__VA_ARGS__, NULL})

static void write_password(const char *text, size_t len)
{
	fixture_write("pw", text, len);
}

static int teardown(void **state)
{
	unlink("pw");
	return fixture_teardown(state);
}

static void test_config_db_caps_and_lifetimes(void **state)
{
	(void)state;
	struct config *c =
	        fixture_load(HEAD "sources: {a: {type: postgres, dsn: host=x, max_active: 3, idle_lifetime: 1s}, "
	                          "b: {type: postgres, dsn: host=x}}\n"
	                          "results: {r: {type: postgres, dsn: host=x, max_active: 2, idle_lifetime: 0}, "
	                          "s: {type: postgres, dsn: host=x}}\n",
	                NULL);
	assert_true(c->sources[0].max_active == 3 && c->sources[0].idle_lifetime_ms == 1000);
	assert_true(c->sources[1].max_active == 0 && c->sources[1].idle_lifetime_ms == 600000);
	assert_true(c->results[0].max_active == 2 && c->results[0].idle_lifetime_ms == 0);
	assert_true(c->results[1].max_active == 0 && c->results[1].idle_lifetime_ms == 600000);
	config_free(c);
	fixture_refused(MINIMAL "\n", ENV("DUNGBEETLE_SOURCES__LEDGER__MAX_ACTIVE=-1"),
	        "environment DUNGBEETLE_SOURCES__LEDGER__MAX_ACTIVE: expected an integer from 0 to 10000, got \"-1\"");
}

static void test_config_db_max_idle_is_told_what_there_is(void **state)
{
	(void)state;
	fixture_refused(HEAD "sources:\n  a:\n    type: postgres\n    dsn: host=x\n    max_idle: 10\n", NULL,
	        "t.yml:6: sources.a.max_idle: expected one of type, dsn, password, password_file, read_only, timeout, "
	        "max_running, connect_timeout, max_active, idle_lifetime, got an unknown key");
}

static void test_config_db_engine_has_other_names(void **state)
{
	(void)state;
	struct config *c = fixture_load(HEAD
	        "sources: {a: {type: mariadb, dsn: 'u@tcp(h:1)/d'}, b: {type: postgresql, dsn: host=x}}\n"
	        "results: {r: {type: mariadb, dsn: 'u@tcp(h:1)/d'}, s: {type: postgresql, dsn: host=x}}\n",
	        NULL);
	assert_true(c->sources[0].engine == DB_MYSQL && c->sources[1].engine == DB_POSTGRES);
	assert_true(c->results[0].engine == DB_MYSQL && c->results[1].engine == DB_POSTGRES);
	config_free(c);
	fixture_refused(HEAD "sources: {a: {type: oracle, dsn: x}}\n", NULL,
	        "t.yml:2: sources.a.type: expected one of postgres, mysql, clickhouse, got \"oracle\"");
}

static void test_config_db_password_from_key_variable_or_nowhere(void **state)
{
	(void)state;
	struct config *c = fixture_load(MINIMAL, NULL);
	assert_string_equal(c->sources[0].password, "");
	assert_string_equal(c->results[0].password, "");
	config_free(c);
	c = fixture_load(HEAD "sources: {a: {type: postgres, dsn: host=x, password: 's e:c@r/et'}}\n"
	                      "results: {r: {type: postgres, dsn: host=x, password: 12345}}\n",
	        ENV("DUNGBEETLE_RESULTS__R__PASSWORD=~"));
	assert_string_equal(c->sources[0].password, "s e:c@r/et");
	assert_string_equal(c->results[0].password, "~");
	config_free(c);
}

static void test_config_db_password_file_loses_one_newline(void **state)
{
	(void)state;
	static const struct {
		const char *file, *password;
	} cases[] = {{"hunter2", "hunter2"}, {"hunter2\n", "hunter2"}, {"hunter2\n\n", "hunter2\n"},
	        {" hunter 2 ", " hunter 2 "}, {"\xc3\xa4\n", "\xc3\xa4"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		write_password(cases[i].file, strlen(cases[i].file));
		struct config *c = fixture_load(HEAD
		        "sources: {a: {type: postgres, dsn: host=x, password_file: pw}}\n"
		        "results: {r: {type: postgres, dsn: host=x, password_file: ./pw, password: ''}}\n",
		        NULL);
		assert_string_equal(c->sources[0].password, cases[i].password);
		assert_string_equal(c->results[0].password, cases[i].password);
		assert_string_equal(c->results[0].password_file, "./pw");
		config_free(c);
	}
	write_password("from a variable", 15);
	struct config *c = fixture_load(MINIMAL, ENV("DUNGBEETLE_SOURCES__LEDGER__PASSWORD_FILE=pw"));
	assert_string_equal(c->sources[0].password, "from a variable");
	config_free(c);
}

static void test_config_db_password_of_the_longest_length(void **state)
{
	(void)state;
	char text[1026];
	memset(text, 'x', sizeof text);
	text[1024] = '\n';
	write_password(text, 1025);
	struct config *c = fixture_load(MINIMAL, ENV("DUNGBEETLE_SOURCES__LEDGER__PASSWORD_FILE=pw"));
	assert_int_equal(strlen(c->sources[0].password), 1024);
	config_free(c);
	text[1024] = 'x';
	write_password(text, sizeof text);
	fixture_refused(MINIMAL, ENV("DUNGBEETLE_SOURCES__LEDGER__PASSWORD_FILE=pw"),
	        "environment DUNGBEETLE_SOURCES__LEDGER__PASSWORD_FILE: expected a file with a password of 1 to 1024 "
	        "bytes, none of them NUL, got \"pw\", which holds more");
}

static void test_config_db_password_file_that_is_none(void **state)
{
	(void)state;
	static const char text[] = HEAD "sources:\n  a:\n    type: postgres\n    dsn: host=x\n    password_file: pw\n"
	                                "results: {r: {type: postgres, dsn: host=x}}\n";
	unlink("pw");
	fixture_refused(text, NULL,
	        "t.yml:6: sources.a.password_file: expected the path of a file that can be read, got \"pw\": No such "
	        "file or directory");
	write_password("", 0);
	fixture_refused(text, NULL,
	        "t.yml:6: sources.a.password_file: expected a file with a password of 1 to 1024 bytes, none of them "
	        "NUL, got \"pw\", which holds nothing");
	write_password("hun\0ter2", 8);
	fixture_refused(text, NULL,
	        "t.yml:6: sources.a.password_file: expected a file with a password of 1 to 1024 bytes, none of them "
	        "NUL, got \"pw\", which holds something else");
	fixture_refused(HEAD "sources: {a: {type: postgres, dsn: host=x}}\n"
	                     "results: {r: {type: postgres, dsn: host=x, password_file: '.'}}\n",
	        NULL,
	        "t.yml:3: results.r.password_file: expected the path of a file that can be read, got \".\": Is a "
	        "directory");
}

static void test_config_db_two_passwords_are_one_too_many(void **state)
{
	(void)state;
	write_password("hunter2", 7);
	fixture_refused(HEAD "sources:\n  a:\n    type: postgres\n    dsn: host=x\n    password: hunter2\n"
	                     "    password_file: pw\nresults: {r: {type: postgres, dsn: host=x}}\n",
	        NULL, "t.yml:7: sources.a.password_file: expected either a password or a password_file, got both");
	fixture_refused(MINIMAL,
	        ENV("DUNGBEETLE_RESULTS__REPORTS__PASSWORD=hunter2", "DUNGBEETLE_RESULTS__REPORTS__PASSWORD_FILE=pw"),
	        "environment DUNGBEETLE_RESULTS__REPORTS__PASSWORD_FILE: expected either a password or a "
	        "password_file, got both");
}

/* Only who connects to a database can be expected to be allowed to read its password. */
static void test_config_db_password_file_is_read_by_who_connects(void **state)
{
	(void)state;
	static const char source[] = HEAD "sources: {a: {type: postgres, dsn: host=x, password_file: none}}\n"
	                                  "results: {r: {type: postgres, dsn: host=x}}\n";
	static const char results[] = HEAD "sources: {a: {type: postgres, dsn: host=x}}\n"
	                                   "results: {r: {type: postgres, dsn: host=x, password_file: none}}\n";
	static const enum err_code of_source[] = {ERR_OK, ERR_INVALID, ERR_OK};
	static const enum err_code of_results[] = {ERR_OK, ERR_INVALID, ERR_INVALID};
	static const enum config_program programs[] = {PROGRAM_FCGI, PROGRAM_WORKER, PROGRAM_EXPIRE};
	for (int i = 0; i < 3; i++) {
		struct err e = ERR_INIT;
		struct config *c = NULL;
		assert_int_equal(fixture_load_as(programs[i], source, NULL, &c, &e), of_source[i]);
		config_free(c);
		assert_int_equal(fixture_load_as(programs[i], results, NULL, &c, &e), of_results[i]);
		config_free(c);
	}
}

static void test_config_db_password_is_not_shown(void **state)
{
	(void)state;
	fixture_refused(HEAD "sources:\n  a:\n    type: postgres\n    dsn: host=x\n    password: [hunter2]\n", NULL,
	        "t.yml:6: sources.a.password: expected a text of 0 to 1024 bytes, got a list");
	char variable[1200] = "DUNGBEETLE_SOURCES__LEDGER__PASSWORD=";
	size_t n = strlen(variable);
	memset(variable + n, 'x', 1025);
	fixture_refused(MINIMAL, ENV(variable),
	        "environment DUNGBEETLE_SOURCES__LEDGER__PASSWORD: expected a text of 0 to 1024 bytes, got a text that "
	        "is not shown");
}

static void test_config_db_storage_engine_is_of_mysql(void **state)
{
	(void)state;
	struct config *c = fixture_load(HEAD "sources: {a: {type: postgres, dsn: host=x}}\n"
	                                     "results: {r: {type: mysql, dsn: 'u@tcp(h:1)/d'}, s: {type: mysql, dsn: "
	                                     "'u@tcp(h:1)/d', storage_engine: "
	                                     "Aria_2},\n"
	                                     "          t: {type: postgres, dsn: host=x, storage_engine: ''}}\n",
	        NULL);
	assert_string_equal(c->results[0].storage_engine, "InnoDB");
	assert_string_equal(c->results[1].storage_engine, "Aria_2");
	assert_string_equal(c->results[2].storage_engine, "");
	config_free(c);
	fixture_refused(HEAD
	        "sources: {a: {type: postgres, dsn: host=x}}\nresults:\n  r:\n    type: postgres\n    dsn: host=x\n"
	        "    storage_engine: InnoDB\n",
	        NULL,
	        "t.yml:7: results.r.storage_engine: expected nothing, since only mysql has storage engines, got a "
	        "value "
	        "for postgres");
	fixture_refused(HEAD "sources: {a: {type: postgres, dsn: host=x}}\n"
	                     "results: {r: {type: mysql, dsn: 'u@tcp(x)/d', storage_engine: 'InnoDB; DROP'}}\n",
	        NULL,
	        "t.yml:3: results.r.storage_engine: expected a name of letters, digits and _, got \"InnoDB; DROP\"");
}

static void test_config_db_dsn_has_the_form_of_its_kind(void **state)
{
	(void)state;
	static const struct {
		const char *type, *dsn;
	} good[] = {{"postgres", "postgresql:///d"}, {"postgres", "postgres://h"},
	        {"postgres", "host=h password='a b'"}, {"mysql", "u:p@tcp(h:3306)/d?parseTime=true"},
	        {"mysql", "u@unix(/run/s.sock)/d"}, {"mysql", "mysql://u:p@h/d"}, {"mysql", "u:p@tcp(h)/"},
	        {"clickhouse", "http://u:p@h:8123/d?max_threads=2"}, {"clickhouse", "https://h"}};
	char text[512];
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		snprintf(text, sizeof text,
		        HEAD "sources: {a: {type: %s, dsn: \"%s\"}}\nresults: {r: {type: postgres, dsn: host=x}}\n",
		        good[i].type, good[i].dsn);
		config_free(fixture_load(text, NULL));
	}
}

/* file:line: key: what was expected; and no part of what was written. */
static void test_config_db_dsn_that_is_wrong_is_told_with_its_place(void **state)
{
	(void)state;
	static const struct {
		const char *type, *dsn, *begins;
	} bad[] = {{"postgres", "hunter2",
	                   "t.yml:5: sources.a.dsn: expected postgresql://user:password@host:port/database or "
	                   "keyword=value "
	                   "pairs, got neither"},
	        {"postgres", "mysql://u:hunter2@h/d", "t.yml:5: sources.a.dsn: expected postgresql://"},
	        {"mysql", "postgresql://u:hunter2@h/d", "t.yml:5: sources.a.dsn: expected "},
	        {"mysql", "u:hunter2@tcp(h:port)/d", "t.yml:5: sources.a.dsn: expected "},
	        {"clickhouse", "tcp://h:9000?username=u&password=hunter2", "t.yml:5: sources.a.dsn: expected "},
	        {"clickhouse", "http://u:hunter2@h:0/d", "t.yml:5: sources.a.dsn: expected "}};
	char text[512];
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err e = ERR_INIT;
		struct config *c = NULL;
		snprintf(text, sizeof text,
		        HEAD "sources:\n  a:\n    type: %s\n    dsn: \"%s\"\n"
		             "results: {r: {type: postgres, dsn: host=x}}\n",
		        bad[i].type, bad[i].dsn);
		assert_int_equal(fixture_load_as(PROGRAM_FCGI, text, NULL, &c, &e), ERR_INVALID);
		if (strncmp(e.text, bad[i].begins, strlen(bad[i].begins)) != 0 || strstr(e.text, "hunter2"))
			fail_msg("%s", e.text);
	}
}

static void test_config_db_native_address_of_clickhouse_is_answered_with_the_one_for_http(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct config *c = NULL;
	assert_int_equal(fixture_load_as(PROGRAM_WORKER,
	                         HEAD "sources:\n  a:\n    type: clickhouse\n"
	                              "    dsn: tcp://events:9000?username=u&password=hunter2&database=d\n"
	                              "results: {r: {type: postgres, dsn: host=x}}\n",
	                         NULL, &c, &e),
	        ERR_INVALID);
	assert_non_null(strstr(e.text, "t.yml:5: sources.a.dsn: "));
	assert_non_null(strstr(e.text, "http://"));
	assert_null(strstr(e.text, "hunter2"));
}

static void test_config_db_results_in_mysql_want_a_database(void **state)
{
	(void)state;
	fixture_refused(HEAD "sources: {a: {type: postgres, dsn: host=x}}\n"
	                     "results: {r: {type: mysql, dsn: 'u:hunter2@tcp(h:3306)/'}}\n",
	        NULL, "t.yml:3: results.r.dsn: expected a dsn with the database that results are written to, got none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_db_caps_and_lifetimes),
	        cmocka_unit_test(test_config_db_max_idle_is_told_what_there_is),
	        cmocka_unit_test(test_config_db_engine_has_other_names),
	        cmocka_unit_test(test_config_db_password_from_key_variable_or_nowhere),
	        cmocka_unit_test(test_config_db_password_file_loses_one_newline),
	        cmocka_unit_test(test_config_db_password_of_the_longest_length),
	        cmocka_unit_test(test_config_db_password_file_that_is_none),
	        cmocka_unit_test(test_config_db_two_passwords_are_one_too_many),
	        cmocka_unit_test(test_config_db_password_file_is_read_by_who_connects),
	        cmocka_unit_test(test_config_db_password_is_not_shown),
	        cmocka_unit_test(test_config_db_storage_engine_is_of_mysql),
	        cmocka_unit_test(test_config_db_dsn_has_the_form_of_its_kind),
	        cmocka_unit_test(test_config_db_dsn_that_is_wrong_is_told_with_its_place),
	        cmocka_unit_test(test_config_db_native_address_of_clickhouse_is_answered_with_the_one_for_http),
	        cmocka_unit_test(test_config_db_results_in_mysql_want_a_database),
	};
	return cmocka_run_group_tests(tests, fixture_setup, teardown);
}
