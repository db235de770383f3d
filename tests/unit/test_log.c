#include "shared/base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/base/clock.h"

static char logged[1 << 20]; /* what the last captured block wrote to standard error */
static int kept_stderr;
static FILE *capture_file;

static void capture_begin(void)
{
	capture_file = tmpfile();
	assert_non_null(capture_file);
	kept_stderr = dup(STDERR_FILENO);
	/* appended to, so that threads do not write over each other */
	assert_int_equal(fcntl(fileno(capture_file), F_SETFL, O_APPEND), 0);
	assert_true(dup2(fileno(capture_file), STDERR_FILENO) >= 0);
}

static void capture_end(void)
{
	dup2(kept_stderr, STDERR_FILENO);
	close(kept_stderr);
	rewind(capture_file);
	size_t n = fread(logged, 1, sizeof logged - 1, capture_file);
	logged[n] = '\0';
	fclose(capture_file);
}

/* What stands behind the time stamp of the line. */
static const char *behind_stamp(const char *line)
{
	int64_t ms;
	const char *space = strchr(line, ' ');
	assert_non_null(space);
	assert_true(clock_parse(line, (size_t)(space - line), &ms));
	return space + 1;
}

static void test_log_line_is_time_level_and_text(void **state)
{
	(void)state;
	capture_begin();
	log_warn("job finished job=%s rows=%d", "a", 3);
	capture_end();
	assert_string_equal(behind_stamp(logged), "warn job finished job=a rows=3\n");
}

static void test_log_level_hides_what_is_below_it(void **state)
{
	(void)state;
	capture_begin();
	log_debug("hidden by default");
	log_set_level(LOG_WARN);
	log_info("hidden");
	log_error("shown");
	log_set_level(LOG_DEBUG);
	log_debug("shown too");
	log_set_level(LOG_INFO);
	capture_end();
	assert_null(strstr(logged, "hidden"));
	assert_non_null(strstr(logged, " error shown\n"));
	assert_non_null(strstr(logged, " debug shown too\n"));
}

static void test_log_value_cannot_forge_a_line(void **state)
{
	(void)state;
	capture_begin();
	log_info("name=%s", "a\n2026 error forged\t\r\x1b[2J\x7f\xc3\xa4");
	capture_end();
	assert_string_equal(behind_stamp(logged), "info name=a\\n2026 error forged\\t\\x0d\\x1b[2J\\x7f\xc3\xa4\n");
}

static void test_log_long_text_is_cut_to_one_line(void **state)
{
	(void)state;
	static char text[10000];
	for (int c = 0; c < 2; c++) {
		memset(text, c ? '\x01' : 'x', sizeof text - 1);
		capture_begin();
		log_info("%s", text);
		capture_end();
		size_t len = strlen(logged);
		assert_true(len > 1000 && len < 4096);
		assert_ptr_equal(strchr(logged, '\n'), logged + len - 1);
	}
}

static void test_log_level_names_are_read(void **state)
{
	(void)state;
	static const char *const names[] = {"debug", "info", "warn", "error"};
	enum log_level level = LOG_DEBUG;
	for (int i = 0; i < 4; i++) {
		assert_true(log_level_parse(names[i], &level));
		assert_int_equal(level, i);
	}
	assert_false(log_level_parse("INFO", &level));
	assert_false(log_level_parse("", &level));
	assert_int_equal(level, LOG_ERROR);
}

static void *hundred_lines(void *arg)
{
	for (int i = 0; i < 100; i++)
		log_info("thread=%s end", (const char *)arg);
	return NULL;
}

static void test_log_lines_of_threads_never_mix(void **state)
{
	(void)state;
	static char names[4][8] = {"aaaaaa", "bbbbbb", "cccccc", "dddddd"};
	pthread_t threads[4];
	capture_begin();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hundred_lines, names[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	capture_end();
	int lines = 0;
	for (const char *line = logged; *line; line = strchr(line, '\n') + 1, lines++) {
		const char *text = behind_stamp(line);
		assert_true(strncmp(text, "info thread=", 12) == 0);
		for (int i = 1; i < 6; i++)
			assert_int_equal(text[12 + i], text[12]);
		assert_true(strncmp(text + 18, " end\n", 5) == 0);
	}
	assert_int_equal(lines, 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_log_line_is_time_level_and_text),
	        cmocka_unit_test(test_log_level_hides_what_is_below_it),
	        cmocka_unit_test(test_log_value_cannot_forge_a_line),
	        cmocka_unit_test(test_log_long_text_is_cut_to_one_line),
	        cmocka_unit_test(test_log_level_names_are_read),
	        cmocka_unit_test(test_log_lines_of_threads_never_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
