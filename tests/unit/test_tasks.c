#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/tasks/tasks.h"

/* Each test works in its own empty directory: it writes files there, and messages name them "./t.sql". */
static char root[] = "/tmp/dungbeetle-tasks-XXXXXX";
static char home[4096];

static int enter(void **state)
{
	(void)state;
	memcpy(root + sizeof root - 7, "XXXXXX", 6);
	return getcwd(home, sizeof home) && mkdtemp(root) && chdir(root) == 0 ? 0 : -1;
}

static int leave(void **state)
{
	(void)state;
	char command[64];
	snprintf(command, sizeof command, "rm -rf %s", root);
	return chdir(home) == 0 && system(command) == 0 ? 0 : -1;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static struct cfg_source sources[] = {
        {.name = (char[]){"ledger"}, .engine = DB_POSTGRES},
        {.name = (char[]){"archive"}, .engine = DB_POSTGRES},
        {.name = (char[]){"shop"}, .engine = DB_MYSQL},
};
static struct cfg_results results[] = {{.name = (char[]){"reports"}}, {.name = (char[]){"other"}}};
static char *here[] = {(char[]){"."}};

/* Two PostgreSQL sources, two results databases, the directory of the test. */
static struct config config(void)
{
	return (struct config){
	        .sql_directories = here,
	        .n_sql_directories = 1,
	        .sources = sources,
	        .n_sources = 2,
	        .results = results,
	        .n_results = 2,
	};
}

static struct task_set *load(const struct config *c)
{
	struct task_set *set;
	struct err e = ERR_INIT;
	if (task_set_load(c, &set, &e))
		fail_msg("%s", e.text);
	return set;
}

static struct task_set *load_text(const char *text)
{
	struct config c = config();
	write_file("t.sql", text);
	return load(&c);
}

static void refuse_config(const struct config *c, const char *why)
{
	struct task_set *set;
	struct err e = ERR_INIT;
	assert_int_equal(task_set_load(c, &set, &e), ERR_INVALID);
	assert_string_equal(e.text, why);
	assert_null(set);
}

static void refuse(const char *text, const char *why)
{
	struct config c = config();
	write_file("t.sql", text);
	refuse_config(&c, why);
}

static const struct task *find(const struct task_set *set, const char *name)
{
	return task_set_find(set, name, strlen(name));
}

/* --- what a task holds --- */

static void test_tasks_every_tag_is_read(void **state)
{
	(void)state;
	struct task_set *set = load_text("-- name: app:all.tags-1\n-- db: archive\n-- results: other , reports\n"
	                                 "-- queue: heavy:1\n-- concurrency: 4\n-- raw: 1\n-- description: One.\n"
	                                 "-- description: Two: more.\n-- timeout: 90s\n-- ttl: 12h\n-- retries: 3\n"
	                                 "-- params: user_id, day\n-- max_rows: 1000\n-- max_bytes: 2MiB\n"
	                                 "SELECT $1, $2;\n-- the end\n");
	const struct task *t = find(set, "app:all.tags-1");
	assert_non_null(t);
	assert_string_equal(t->sql, "SELECT $1, $2");
	assert_true(t->raw && t->concurrency == 4 && t->n_placeholders == 2);
	assert_string_equal(t->queue, "heavy:1");
	assert_string_equal(t->description, "One. Two: more.");
	assert_true(t->n_dbs == 1 && t->n_results == 2 && t->n_params == 2);
	assert_string_equal(t->dbs[0], "archive");
	assert_string_equal(t->results[0], "other");
	assert_string_equal(t->results[1], "reports");
	assert_string_equal(t->params[0], "user_id");
	assert_string_equal(t->params[1], "day");
	assert_true(t->timeout_ms == 90000 && t->ttl_ms == 43200000 && t->retries == 3);
	assert_true(t->max_rows == 1000 && t->max_bytes == 2097152);
	assert_string_equal(t->file, "./t.sql");
	assert_int_equal(t->line, 1);
	task_set_unref(set);
}

static void test_tasks_without_tags_has_the_defaults(void **state)
{
	(void)state;
	struct task_set *set = load_text("\n-- name: a\nSELECT 1");
	const struct task *t = find(set, "a");
	assert_non_null(t);
	assert_true(!t->raw && t->concurrency == 0 && t->n_placeholders == 0 && t->n_params == 0);
	assert_null(t->queue);
	assert_string_equal(t->description, "");
	assert_true(t->n_dbs == 2 && t->n_results == 2);
	assert_string_equal(t->dbs[0], "ledger");
	assert_string_equal(t->dbs[1], "archive");
	assert_string_equal(t->results[0], "reports");
	assert_string_equal(t->results[1], "other");
	assert_true(t->timeout_ms == -1 && t->ttl_ms == -1 && t->retries == -1);
	assert_true(t->max_rows == -1 && t->max_bytes == -1);
	assert_int_equal(t->line, 2);
	task_set_unref(set);
}

static void test_tasks_values_have_more_than_one_form(void **state)
{
	(void)state;
	struct task_set *set =
	        load_text("-- NAME: a\n-- Conc: 1000\n-- RAW: true\n-- timeout: 90\n-- ttl: 3600\nSELECT 1;"
	                  "-- name: not a line of its own\n"
	                  "-- name: b\n-- raw: no\n-- timeout: 0\n-- max_rows: 0\nSELECT 1");
	const struct task *a = find(set, "a"), *b = find(set, "b");
	assert_true(a && a->concurrency == 1000 && a->raw && a->timeout_ms == 90000 && a->ttl_ms == 3600000);
	assert_true(b && !b->raw && b->timeout_ms == 0 && b->max_rows == 0);
	task_set_unref(set);
}

static void test_tasks_are_found_by_name_and_kept_in_order(void **state)
{
	(void)state;
	struct task_set *set =
	        load_text("-- name: b\nSELECT 1\n-- name: ab\nSELECT 1\n-- name: a\nSELECT 1\n-- name: B\nSELECT 1");
	assert_int_equal(task_set_count(set), 4);
	static const char *const order[] = {"B", "a", "ab", "b"};
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(task_set_at(set, i)->name, order[i]);
		assert_ptr_equal(find(set, order[i]), task_set_at(set, i));
	}
	assert_string_equal(task_set_find(set, "abc", 2)->name, "ab");
	assert_null(find(set, "abc"));
	assert_null(find(set, ""));
	assert_null(task_set_find(set, "a\0b", 3));
	task_set_unref(set);
}

/* --- what is refused --- */

static void test_tasks_unknown_databases_are_named_with_the_known(void **state)
{
	(void)state;
	refuse("-- name: x\n-- db: ledger, y\nSELECT 1",
	        "./t.sql:2: task 'x': unknown database 'y'; known: ledger, archive");
	refuse("-- name: x\n\n-- results: ledger\nSELECT 1",
	        "./t.sql:3: task 'x': unknown results database 'ledger'; known: reports, other");
}

static void test_tasks_lists_are_without_gaps_and_repeats(void **state)
{
	(void)state;
	refuse("-- name: x\n-- db: ledger,,archive\nSELECT 1",
	        "./t.sql:2: task 'x': expected a list of names with commas between them, got 'ledger,,archive'");
	refuse("-- name: x\n-- params:\nSELECT 1",
	        "./t.sql:2: task 'x': tag 'params': expected a list of names with commas between them, got ''");
	refuse("-- name: x\n-- db: ledger, ledger\nSELECT 1", "./t.sql:2: task 'x': names 'ledger' twice");
}

static void test_tasks_unknown_tags_are_errors_with_the_known(void **state)
{
	(void)state;
	refuse("-- name: x\n-- retry: 3\nSELECT 1",
	        "./t.sql:2: unknown tag 'retry'; known: name, db, results, queue, concurrency, conc, raw, description, "
	        "timeout, ttl, retries, params, max_rows, max_bytes");
}

static void test_tasks_tags_are_given_once(void **state)
{
	(void)state;
	refuse("-- name: x\n-- queue: a\n-- QUEUE: b\nSELECT 1", "./t.sql:3: task 'x': tag 'queue' is given twice");
	refuse("-- name: x\n-- conc: 1\n-- concurrency: 1\nSELECT 1",
	        "./t.sql:3: task 'x': tag 'concurrency' is given twice");
}

static void test_tasks_bad_values_are_told_what_was_expected(void **state)
{
	(void)state;
	static const struct {
		const char *tag, *why;
	} claims[] = {
	        {"conc: 0", "'conc': expected a number from 1 to 1000, got '0'"},
	        {"concurrency: 1001", "'concurrency': expected a number from 1 to 1000, got '1001'"},
	        {"raw:", "'raw': expected true or false, got ''"},
	        {"raw: maybe", "'raw': expected true or false, got 'maybe'"},
	        {"queue: a b",
	                "'queue': expected a queue's name: 1 to 128 letters, digits, '_', ':' and '-', got 'a b'"},
	        {"timeout: 5 minutes",
	                "'timeout': expected a duration such as 90s or 15m (0: no limit), got '5 minutes'"},
	        {"timeout: -1", "'timeout': expected a duration such as 90s or 15m (0: no limit), got '-1'"},
	        {"timeout: 99999999999999999999999999999",
	                "'timeout': expected a duration such as 90s or 15m (0: no limit), got "
	                "'99999999999999999999999999999'"},
	        {"ttl: 0", "'ttl': expected a duration of at least 1s, such as 12h, got '0'"},
	        {"retries: 101", "'retries': expected a number from 0 to 100, got '101'"},
	        {"max_rows: 1k", "'max_rows': expected a number of rows (0: no limit), got '1k'"},
	        {"max_bytes: 1 MB", "'max_bytes': expected a size such as 512MiB (0: no limit), got '1 MB'"},
	        {"params: 1st", "'params': expected names of letters, digits and '_', got '1st'"},
	        {"params: user-id", "'params': expected names of letters, digits and '_', got 'user-id'"},
	        {"raw: \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	         "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9x\xc3\xa9",
	                "'raw': expected true or false, got "
	                "'\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3"
	                "\xa9"
	                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9...'"},
	};
	for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
		char text[256], why[256];
		snprintf(text, sizeof text, "-- name: x\n-- %s\nSELECT $1", claims[i].tag);
		snprintf(why, sizeof why, "./t.sql:2: task 'x': tag %s", claims[i].why);
		refuse(text, why);
	}
}

static void test_tasks_names_fit_urls(void **state)
{
	(void)state;
	refuse("-- name: a/b\nSELECT 1",
	        "./t.sql:1: expected a task's name of letters, digits, '_', ':', '.' and '-', got 'a/b'");
	refuse("-- name:\nSELECT 1", "./t.sql:1: expected a task's name of 1 to 128 bytes, got ''");
	char text[256], name[TASK_NAME_MAX + 2];
	memset(name, 'n', sizeof name);
	name[TASK_NAME_MAX + 1] = '\0';
	snprintf(text, sizeof text, "-- name: %s\nSELECT 1", name);
	refuse(text,
	        "./t.sql:1: expected a task's name of 1 to 128 bytes, got "
	        "'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...'");
	name[TASK_NAME_MAX] = '\0';
	snprintf(text, sizeof text, "-- name: %s\nSELECT 1", name);
	struct task_set *set = load_text(text);
	assert_non_null(find(set, name));
	task_set_unref(set);
}

static void test_tasks_empty_queries_are_errors(void **state)
{
	(void)state;
	refuse("-- name: a\nSELECT 1;\n-- name: x\n-- conc: 1\n", "./t.sql:3: task 'x': the query is empty");
	refuse("-- name: x\n ; \n", "./t.sql:1: task 'x': the query is empty");
	refuse("-- name: x\n/* later */", "./t.sql:1: task 'x': the query is empty");
}

static void test_tasks_errors_in_sql_name_their_line(void **state)
{
	(void)state;
	refuse("-- name: x\n-- conc: 1\nSELECT 1,\n\n'a", "./t.sql:5: task 'x': a string begins with ' and has no end");
	refuse("-- name: x\nSELECT 1;\nSELECT 2;",
	        "./t.sql:3: task 'x': text stands behind the ';' that ends the statement: a task is one statement");
	refuse("-- name: x\n\nSELECT $3, $1", "./t.sql:3: task 'x': $3 is used but $2 is not");
}

static void test_tasks_tags_behind_the_query_are_errors(void **state)
{
	(void)state;
	refuse("-- name: x\nSELECT 1;\n\n-- a comment: is none\n-- Queue: heavy\n-- name: y\nSELECT 2;",
	        "./t.sql:5: task 'x': tag 'Queue' stands behind the query: tags stand before it");
	struct task_set *set = load_text("-- name: x\nSELECT 1,\n-- queue: heavy\n2");
	assert_string_equal(find(set, "x")->sql, "SELECT 1,\n-- queue: heavy\n2");
	task_set_unref(set);
}

static void test_tasks_params_are_as_many_as_placeholders(void **state)
{
	(void)state;
	refuse("-- name: x\n-- conc: 2\n-- params: a, b\nSELECT $1",
	        "./t.sql:3: task 'x': tag 'params' names 2 placeholders, but the query has 1");
}

static void test_tasks_engines_count_the_same_placeholders(void **state)
{
	(void)state;
	struct config c = config();
	c.n_sources = 3;
	write_file("t.sql", "-- name: x\n-- db: ledger, shop\nSELECT $1");
	refuse_config(&c,
	        "./t.sql:1: task 'x': its databases count different numbers of placeholders: 'ledger' (postgres) "
	        "1, 'shop' (mysql) 0");
	write_file("t.sql", "-- name: x\n-- db: shop\nSELECT ?, '?' # it's ?\n-- name: y\nSELECT 1;");
	struct task_set *set = load(&c);
	assert_int_equal(find(set, "x")->n_placeholders, 1);
	assert_string_equal(find(set, "x")->sql, "SELECT ?, '?'");
	assert_int_equal(find(set, "y")->n_dbs, 3);
	task_set_unref(set);
}

static void test_tasks_want_databases_in_the_configuration(void **state)
{
	(void)state;
	struct config c = config();
	write_file("t.sql", "-- name: x\nSELECT 1");
	c.n_sources = 0;
	refuse_config(&c, "./t.sql:1: task 'x': the configuration has no sources");
	c = config();
	c.n_results = 0;
	refuse_config(&c, "./t.sql:1: task 'x': the configuration has no results databases");
}

/* --- files and directories --- */

static void test_tasks_duplicate_names_over_files_name_both_places(void **state)
{
	(void)state;
	write_file("a.sql", "-- name: y\nSELECT 1;\n-- name: x\nSELECT 1");
	refuse("-- name: x\nSELECT 2", "./t.sql:1: task 'x' has the name of the one at ./a.sql:3");
}

static void test_tasks_directories_are_read_in_the_order_given(void **state)
{
	(void)state;
	char *dirs[] = {(char[]){"z"}, (char[]){"a/"}};
	struct config c = config();
	c.sql_directories = dirs;
	c.n_sql_directories = 2;
	assert_int_equal(mkdir("a", 0755), 0);
	assert_int_equal(mkdir("z", 0755), 0);
	write_file("a/1.sql", "-- name: x\nSELECT 1");
	write_file("z/2.sql", "-- name: x\nSELECT 1");
	refuse_config(&c, "a/1.sql:1: task 'x' has the name of the one at z/2.sql:1");
	write_file("z/2.sql", "-- name: y\nSELECT 1");
	struct task_set *set = load(&c);
	assert_int_equal(task_set_count(set), 2);
	task_set_unref(set);
}

static void test_tasks_directories_that_are_missing_or_empty_are_errors(void **state)
{
	(void)state;
	char *dirs[] = {(char[]){"nowhere"}};
	struct config c = config();
	refuse_config(&c, ".: the directory has no .sql file");
	c.sql_directories = dirs;
	refuse_config(&c, "nowhere: No such file or directory");
	c.n_sql_directories = 0;
	refuse_config(&c, "sql_directories: expected a directory with .sql files, got none");
}

static void test_tasks_only_visible_regular_sql_files_are_read(void **state)
{
	(void)state;
	assert_int_equal(mkdir("dir.sql", 0755), 0);
	assert_int_equal(mkfifo("fifo.sql", 0600), 0);
	assert_int_equal(symlink("nowhere", ".#lock.sql"), 0);
	write_file("notes.txt", "stray");
	write_file(".sql", "stray");
	write_file("t.sql~", "stray");
	struct config c = config();
	refuse_config(&c, ".: the directory has no .sql file");
	write_file("target", "-- name: x\nSELECT 1");
	assert_int_equal(symlink("target", "link.sql"), 0);
	struct task_set *set = load(&c);
	assert_int_equal(task_set_count(set), 1);
	task_set_unref(set);
	assert_int_equal(symlink("nowhere", "lost.sql"), 0);
	refuse_config(&c, "./lost.sql: No such file or directory");
}

static void test_tasks_a_file_that_is_too_large_is_an_error(void **state)
{
	(void)state;
	write_file("t.sql", "-- name: x\nSELECT 1");
	assert_int_equal(truncate("t.sql", 2 * 1024 * 1024), 0);
	struct config c = config();
	refuse_config(&c, "./t.sql: is larger than 1048576 bytes");
}

/* --- the set in force --- */

static void test_tasks_reload_swaps_the_set_and_keeps_what_is_held(void **state)
{
	(void)state;
	struct config c = config();
	struct task_holder *h = task_holder_new(load_text("-- name: old\nSELECT 1"));
	assert_non_null(h);
	struct task_set *held = task_holder_get(h);
	write_file("t.sql", "-- name: new\nSELECT 1");
	assert_int_equal(task_holder_reload(h, &c, NULL), ERR_OK);
	struct task_set *now = task_holder_get(h);
	assert_true(find(held, "old") && !find(held, "new"));
	assert_true(find(now, "new") && !find(now, "old"));
	task_set_unref(held);
	task_holder_free(h);
	assert_string_equal(find(now, "new")->sql, "SELECT 1");
	task_set_unref(now);
}

static void test_tasks_reload_of_a_broken_file_keeps_the_old_set(void **state)
{
	(void)state;
	struct config c = config();
	struct err e = ERR_INIT;
	struct task_holder *h = task_holder_new(load_text("-- name: old\nSELECT 1"));
	write_file("t.sql", "-- name: new\nSELECT '");
	assert_int_equal(task_holder_reload(h, &c, &e), ERR_INVALID);
	assert_string_equal(e.text, "./t.sql:2: task 'new': a string begins with ' and has no end");
	struct task_set *now = task_holder_get(h);
	assert_non_null(find(now, "old"));
	task_set_unref(now);
	task_holder_free(h);
	task_holder_free(NULL);
	task_set_unref(NULL);
}

static void *read_in_a_loop(void *arg)
{
	struct task_holder *h = arg;
	size_t found = 0;
	for (int i = 0; i < 2000; i++) {
		struct task_set *set = task_holder_get(h);
		found += find(set, "a") != NULL;
		task_set_unref(set);
	}
	return found == 2000 ? h : NULL;
}

static void test_tasks_threads_read_while_another_reloads(void **state)
{
	(void)state;
	struct config c = config();
	struct task_holder *h = task_holder_new(load_text("-- name: a\nSELECT 1"));
	pthread_t threads[3];
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_in_a_loop, h), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(task_holder_reload(h, &c, NULL), ERR_OK);
	for (int i = 0; i < 3; i++) {
		void *ok;
		assert_int_equal(pthread_join(threads[i], &ok), 0);
		assert_non_null(ok);
	}
	task_holder_free(h);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        IN_DIRECTORY(test_tasks_every_tag_is_read),
	        IN_DIRECTORY(test_tasks_without_tags_has_the_defaults),
	        IN_DIRECTORY(test_tasks_values_have_more_than_one_form),
	        IN_DIRECTORY(test_tasks_are_found_by_name_and_kept_in_order),
	        IN_DIRECTORY(test_tasks_unknown_databases_are_named_with_the_known),
	        IN_DIRECTORY(test_tasks_lists_are_without_gaps_and_repeats),
	        IN_DIRECTORY(test_tasks_unknown_tags_are_errors_with_the_known),
	        IN_DIRECTORY(test_tasks_tags_are_given_once),
	        IN_DIRECTORY(test_tasks_bad_values_are_told_what_was_expected),
	        IN_DIRECTORY(test_tasks_names_fit_urls),
	        IN_DIRECTORY(test_tasks_empty_queries_are_errors),
	        IN_DIRECTORY(test_tasks_errors_in_sql_name_their_line),
	        IN_DIRECTORY(test_tasks_tags_behind_the_query_are_errors),
	        IN_DIRECTORY(test_tasks_params_are_as_many_as_placeholders),
	        IN_DIRECTORY(test_tasks_engines_count_the_same_placeholders),
	        IN_DIRECTORY(test_tasks_want_databases_in_the_configuration),
	        IN_DIRECTORY(test_tasks_duplicate_names_over_files_name_both_places),
	        IN_DIRECTORY(test_tasks_directories_are_read_in_the_order_given),
	        IN_DIRECTORY(test_tasks_directories_that_are_missing_or_empty_are_errors),
	        IN_DIRECTORY(test_tasks_only_visible_regular_sql_files_are_read),
	        IN_DIRECTORY(test_tasks_a_file_that_is_too_large_is_an_error),
	        IN_DIRECTORY(test_tasks_reload_swaps_the_set_and_keeps_what_is_held),
	        IN_DIRECTORY(test_tasks_reload_of_a_broken_file_keeps_the_old_set),
	        IN_DIRECTORY(test_tasks_threads_read_while_another_reloads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
