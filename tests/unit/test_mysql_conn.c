/* What an error of a MySQL server means for a run. (Connections: tests/integration/test_mysql_source.py.) */
#include "shared/db/mysql_conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct want {
	unsigned number;
	const char *sqlstate, *text;
	enum err_code of_source, of_sink; /* lost: ERR_TRANSIENT, ERR_UNAVAILABLE */
	bool quotes, unfit;
};

static void check(const struct want *w, enum err_code lost, enum err_code code, bool unfit)
{
	struct mysql_conn c;
	struct err e = ERR_INIT;
	char number[32];
	mysql_conn_init(&c, lost);
	assert_int_equal(mysql_conn_error_of(&c, w->number, w->sqlstate, w->text, &e), code);
	assert_int_equal(e.code, code);
	assert_int_equal(e.quotes, w->quotes);
	assert_int_equal(c.unfit, unfit);
	snprintf(number, sizeof number, "(error %u)", w->number);
	assert_non_null(strstr(e.text, w->text));
	assert_non_null(strstr(e.text, number));
	mysql_conn_fini(&c);
}

static void test_mysql_conn_errors_say_what_to_do(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {2013, "HY000", "Lost connection to server during query", ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {2006, "HY000", "Server has gone away", ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {1053, "08S01", "Server shutdown in progress", ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {1927, "70100", "Connection was killed", ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {1114, "HY000", "The table 't' is full", ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {3, "HY000", "Error writing file './reports/t.frm' (Errcode: 28 \"No space left on device\")",
	                ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {3, "HY000", "Error writing file './reports/t.frm' (Errcode: 5 \"Input/output error\")", ERR_TRANSIENT,
	                ERR_TRANSIENT, false, false},
	        {1005, "HY000", "Can't create table `r`.`t` (errno: 28 \"No space left on device\")", ERR_TRANSIENT,
	                ERR_UNAVAILABLE, false, false},
	        {1005, "HY000", "Can't create table `r`.`t` (errno: 135 \"No more room in record file\")",
	                ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {1005, "HY000", "Can't create table `r`.`t` (errno: 121 \"Duplicate key on write or update\")",
	                ERR_PERMANENT, ERR_PERMANENT, false, false},
	        {1030, "HY000", "Got error 122 \"Disk quota exceeded\" from storage engine InnoDB", ERR_TRANSIENT,
	                ERR_UNAVAILABLE, false, false},
	        {1146, "42S02", "Table 'a (Errcode: 28 b' doesn't exist", ERR_PERMANENT, ERR_PERMANENT, false, false},
	        {1040, "08004", "Too many connections", ERR_TRANSIENT, ERR_UNAVAILABLE, false, false},
	        {1205, "HY000", "Lock wait timeout exceeded", ERR_TRANSIENT, ERR_TRANSIENT, false, false},
	        {1213, "40001", "Deadlock found", ERR_TRANSIENT, ERR_TRANSIENT, false, false},
	        {1317, "70100", "Query execution was interrupted", ERR_TRANSIENT, ERR_TRANSIENT, false, false},
	        {1969, "70100", "max_statement_time exceeded", ERR_TRANSIENT, ERR_TRANSIENT, false, false},
	        {3024, "HY000", "maximum statement execution time exceeded", ERR_TRANSIENT, ERR_TRANSIENT, false,
	                false},
	        {1146, "42S02", "Table 'shop.x' doesn't exist", ERR_PERMANENT, ERR_PERMANENT, false, false},
	        {1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes", ERR_PERMANENT, ERR_PERMANENT,
	                false, false},
	        {1064, "42000", "near 'x'", ERR_PERMANENT, ERR_PERMANENT, true, false},
	        {1062, "23000", "Duplicate entry 'x' for key", ERR_PERMANENT, ERR_PERMANENT, true, false},
	        {1366, "HY000", "Incorrect integer value: 'x'", ERR_PERMANENT, ERR_PERMANENT, true, false},
	        {1644, "45000", "of a procedure's own", ERR_PERMANENT, ERR_PERMANENT, true, false},
	        {3141, "22032", "Invalid JSON text", ERR_PERMANENT, ERR_PERMANENT, true, false},
	        {1290, "HY000", "running with the --read-only option", ERR_PERMANENT, ERR_UNAVAILABLE, false, true},
	        {1290, "HY000", "running with the --secure-file-priv option", ERR_PERMANENT, ERR_PERMANENT, false,
	                false},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		check(&wants[i], ERR_TRANSIENT, wants[i].of_source, false);
		check(&wants[i], ERR_UNAVAILABLE, wants[i].of_sink, wants[i].unfit);
	}
}

static void test_mysql_conn_without_a_connection_is_not_alive(void **state)
{
	(void)state;
	struct mysql_conn c;
	mysql_conn_init(&c, ERR_TRANSIENT);
	assert_false(mysql_conn_alive(&c));
	mysql_conn_cancel(&c);
	assert_false(atomic_load(&c.cancelled));
	mysql_conn_close(&c);
	mysql_conn_fini(&c);
}

static void test_mysql_conn_refuses_a_dsn_without_showing_it(void **state)
{
	(void)state;
	struct mysql_conn c;
	struct err e = ERR_INIT;
	struct mysql_settings settings = {.dsn = "u:hunter2@tcp(h:x)/d", .connect_timeout_ms = 100};
	mysql_conn_init(&c, ERR_TRANSIENT);
	assert_int_equal(mysql_conn_open(&c, &settings, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "a port that is not a number"));
	assert_null(strstr(e.text, "hunter2"));
	mysql_conn_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_mysql_conn_errors_say_what_to_do),
	        cmocka_unit_test(test_mysql_conn_without_a_connection_is_not_alive),
	        cmocka_unit_test(test_mysql_conn_refuses_a_dsn_without_showing_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
