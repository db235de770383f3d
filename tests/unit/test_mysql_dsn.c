#include "shared/config/mysql_dsn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Their parts, without those that are NULL or 0. */
#define TCP(u, p, h, n, d) .user = (u), .password = (p), .host = (h), .port = (n), .database = (d)
#define UNIX(u, p, s, d) .user = (u), .password = (p), .socket = (s), .database = (d)

struct want {
	const char *text;
	struct mysql_dsn dsn;
};

static void same(const char *text, const char *a, const char *b)
{
	if ((!a) != (!b) || (a && strcmp(a, b) != 0))
		fail_msg("%s: \"%s\", expected \"%s\"", text, a ? a : "NULL", b ? b : "NULL");
}

static void check(const struct want *w)
{
	struct mysql_dsn got;
	struct err e = ERR_INIT;
	if (mysql_dsn_parse(w->text, &got, &e))
		fail_msg("%s: %s", w->text, e.text);
	same(w->text, got.user, w->dsn.user);
	same(w->text, got.password, w->dsn.password);
	same(w->text, got.host, w->dsn.host);
	same(w->text, got.socket, w->dsn.socket);
	same(w->text, got.database, w->dsn.database);
	same(w->text, got.ca, w->dsn.ca);
	same(w->text, got.cert, w->dsn.cert);
	same(w->text, got.key, w->dsn.key);
	assert_int_equal(got.port, w->dsn.port);
	assert_int_equal(got.tls, w->dsn.tls);
	mysql_dsn_fini(&got);
	assert_null(got.user);
}

static void test_mysql_dsn_reads_the_form_of_go_sql_driver(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"u:p@tcp(db.example-1.net:3307)/shop", {TCP("u", "p", "db.example-1.net", 3307, "shop")}},
	        {"u:p@tcp(db)/shop", {TCP("u", "p", "db", 3306, "shop")}},
	        {"u:p@tcp(:3307)/", {TCP("u", "p", "127.0.0.1", 3307, "")}},
	        {"u@tcp([fe80::1%eth0]:3307)/d", {TCP("u", "", "fe80::1%eth0", 3307, "d")}},
	        {"u:p@unix(/run/mysqld/mysqld.sock)/d", {UNIX("u", "p", "/run/mysqld/mysqld.sock", "d")}},
	        {"u:p@/d", {TCP("u", "p", "127.0.0.1", 3306, "d")}},
	        {"u:p@tcp/d", {TCP("u", "p", "127.0.0.1", 3306, "d")}},
	        {"/", {TCP("", "", "127.0.0.1", 3306, "")}},
	        {"tcp(h)/d", {TCP("", "", "h", 3306, "d")}},
	        {"u:p@tcp(h)/a%2Fb", {TCP("u", "p", "h", 3306, "a/b")}},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		check(&wants[i]);
}

static void test_mysql_dsn_password_may_hold_any_character(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"u:p@ss:w/rd?x=1&%41@tcp(h:1)/d", {TCP("u", "p@ss:w/rd?x=1&%41", "h", 1, "d")}},
	        {"u:@tcp(x)/y@tcp(h:1)/d", {TCP("u", "@tcp(x)/y", "h", 1, "d")}},
	        {"u:a)/b@/d", {TCP("u", "a)/b", "127.0.0.1", 3306, "d")}},
	        {"u:pass word#'\"@unix(/a b/s)/d", {UNIX("u", "pass word#'\"", "/a b/s", "d")}},
	        {"mysql://u:p%40s%3As%2Fw%3F%25@h/d", {TCP("u", "p@s:s/w?%", "h", 3306, "d")}},
	        {"mysql://u:p@s@h/d", {TCP("u", "p@s", "h", 3306, "d")}},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		check(&wants[i]);
}

static void test_mysql_dsn_reads_urls(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"mysql://u:p@h:3307/d", {TCP("u", "p", "h", 3307, "d")}},
	        {"mariadb://u:p@h:3307/d", {TCP("u", "p", "h", 3307, "d")}},
	        {"MySQL://h", {TCP("", "", "h", 3306, "")}},
	        {"mysql://a%3Ab@[::1]:3307/d%20e", {TCP("a:b", "", "::1", 3307, "d e")}},
	        {"mysql://u:p@/d?socket=/run/my%20sql.sock", {UNIX("u", "p", "/run/my sql.sock", "d")}},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		check(&wants[i]);
}

static void test_mysql_dsn_reads_params(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"u:p@tcp(h)/d?charset=utf8mb4&parseTime=true&loc=US%2FPacific&timeout=5s&multiStatements=true",
	                {TCP("u", "p", "h", 3306, "d"), .tls = MYSQL_TLS_OFF}},
	        {"u:p@tcp(h)/d?tls=false", {TCP("u", "p", "h", 3306, "d"), .tls = MYSQL_TLS_OFF}},
	        {"u:p@tcp(h)/d?tls=true", {TCP("u", "p", "h", 3306, "d"), .tls = MYSQL_TLS_VERIFIED}},
	        {"u:p@tcp(h)/d?tls=TRUE", {TCP("u", "p", "h", 3306, "d"), .tls = MYSQL_TLS_VERIFIED}},
	        {"u:p@tcp(h)/d?tls=skip-verify", {TCP("u", "p", "h", 3306, "d"), .tls = MYSQL_TLS_UNVERIFIED}},
	        {"mysql://u:p@h/d?tls=preferred", {TCP("u", "p", "h", 3306, "d"), .tls = MYSQL_TLS_PREFERRED}},
	        {"u:p/w@tcp(h)/d?ssl_ca=/etc/ssl/ca.pem&ssl_cert=/c&ssl_key=%2Fk",
	                {TCP("u", "p/w", "h", 3306, "d"), .tls = MYSQL_TLS_VERIFIED, .ca = "/etc/ssl/ca.pem",
	                        .cert = "/c", .key = "/k"}},
	        {"mysql://u:p@h/d?tls=preferred&ssl_ca=/ca",
	                {TCP("u", "p", "h", 3306, "d"), .tls = MYSQL_TLS_PREFERRED, .ca = "/ca"}},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		check(&wants[i]);
}

static void test_mysql_dsn_refuses_and_shows_no_password(void **state)
{
	(void)state;
	static const struct {
		const char *text, *part;
	} wants[] = {
	        {"", "expected user:password@tcp(host:port)/database"},
	        {"u:hunter2@tcp(h:1)", "got something else"},
	        {"u:hunter2@tcp(h:x)/d", "a port that is not a number"},
	        {"u:hunter2@tcp(h:0)/d", "a port that is not a number"},
	        {"u:hunter2@tcp(hunter2=1)/d", "a host that is not"},
	        {"u:hunter2@tcp(a,b)/d", "a host that is not"},
	        {"u:hunter2@tcp([::1)/d", "a host that is not"},
	        {"u:hunter2@udp(h)/d", "neither tcp nor unix"},
	        {"u:hunter2@unix(relative)/d", "does not begin with /"},
	        {"u:hunter2@tcp(h)/d?tlz=true", "unknown param tlz"},
	        {"u:hunter2@tcp(h)/d?hunter2 is secret=true", "something other than name=value"},
	        {"u:p@(a)/b?hunter2=1@h", "something other than name=value"}, /* a password with all this in it */
	        {"u:hunter2@tcp(h)/d?hunter2", "something other than name=value"},
	        {"u:hunter2@tcp(h)/d?tls=hunter2", "none of false, true, skip-verify, preferred"},
	        {"u:hunter2@tcp(h)/d?ssl_ca=hunter2%x", "two hex digits"},
	        {"mysql://u:hunter2%@h/d", "the password of the dsn has a %"},
	        {"mysql://u:12/hunter2?hunter2=1@h/d", "an @ behind the host"},
	        {"postgres://u:hunter2@h/d", "got"},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		struct mysql_dsn got;
		struct err e = ERR_INIT;
		enum err_code rc = mysql_dsn_parse(wants[i].text, &got, &e);
		if (rc != ERR_INVALID || !strstr(e.text, wants[i].part) || strstr(e.text, "hunter2"))
			fail_msg("%s: code %d, %s", wants[i].text, (int)rc, e.text);
		assert_null(got.password);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_mysql_dsn_reads_the_form_of_go_sql_driver),
	        cmocka_unit_test(test_mysql_dsn_password_may_hold_any_character),
	        cmocka_unit_test(test_mysql_dsn_reads_urls),
	        cmocka_unit_test(test_mysql_dsn_reads_params),
	        cmocka_unit_test(test_mysql_dsn_refuses_and_shows_no_password),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
