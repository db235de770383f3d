/* A private directory with one configuration file, for the tests of the configuration. The test's process works in that
 * directory, so that messages name the file "t.yml". Thread rule: one thread.
 */
#ifndef DB_TESTS_CONFIG_FIXTURE_H
#define DB_TESTS_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/config/config.h"

/* The least that a program wants; tests put more behind it. Six lines: what follows begins on line 7. */
#define MINIMAL \
	"redis: {url: 'redis://localhost'}\n" \
	"sources:\n" \
	"  ledger: {type: postgres, dsn: 'host=a'}\n" \
	"results:\n" \
	"  reports: {type: postgres, dsn: 'host=b'}\n" \
	"# line 6\n"

static char fixture_dir[] = "/tmp/dungbeetle-config-XXXXXX";

static inline int fixture_setup(void **state)
{
	(void)state;
	return mkdtemp(fixture_dir) && chdir(fixture_dir) == 0 ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
	(void)state;
	unlink("t.yml");
	unlink("config.yml");
	return chdir("/") == 0 && rmdir(fixture_dir) == 0 ? 0 : -1;
}

static inline void fixture_write(const char *name, const char *text, size_t len)
{
	FILE *f = fopen(name, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static inline enum err_code fixture_load_as(
        enum config_program program, const char *text, char **environ_list, struct config **c, struct err *e)
{
	struct config_flags flags = {.program = program, .config_path = "t.yml"};
	fixture_write("t.yml", text, strlen(text));
	return config_load(&flags, environ_list, c, e);
}

/* Loads it for the worker and wants it to be right. The caller frees the result. */
static inline struct config *fixture_load(const char *text, char **environ_list)
{
	struct err e = ERR_INIT;
	struct config *c = NULL;
	if (fixture_load_as(PROGRAM_WORKER, text, environ_list, &c, &e))
		fail_msg("%s", e.text);
	return c;
}

/* Loads it for the worker and wants exactly this message. */
static inline void fixture_refused(const char *text, char **environ_list, const char *message)
{
	struct err e = ERR_INIT;
	struct config *c = NULL;
	assert_int_equal(fixture_load_as(PROGRAM_WORKER, text, environ_list, &c, &e), ERR_INVALID);
	assert_string_equal(e.text, message);
	assert_int_equal(e.code, ERR_INVALID);
	assert_null(c);
}

#endif
