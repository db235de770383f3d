#include "shared/config/ch_url.h"

#include "tests/unit/test_config_fixture.h"

static void same(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_true(!a && !b);
}

struct want {
	const char *text;
	bool https;
	const char *host;
	bool ipv6;
	int port;
	const char *user, *password, *database;
};

static void test_ch_url_reads_every_part(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"http://localhost", false, "localhost", false, 8123, NULL, NULL, NULL},
	        {"http://localhost/", false, "localhost", false, 8123, NULL, NULL, NULL},
	        {"https://ch-1.example_x/ledger", true, "ch-1.example_x", false, 8443, NULL, NULL, "ledger"},
	        {"http://10.0.0.1:1", false, "10.0.0.1", false, 1, NULL, NULL, NULL},
	        {"http://app:se%40cr%3aet%2F%25@h/my%20db?max_threads=4", false, "h", false, 8123, "app", "se@cr:et/%",
	                "my db"},
	        {"http://app@h", false, "h", false, 8123, "app", NULL, NULL},
	        {"http://app:@h", false, "h", false, 8123, "app", "", NULL},
	        {"http://:p@h", false, "h", false, 8123, NULL, "p", NULL},
	        {"http://app:p@ss:w@h:7", false, "h", false, 7, "app", "p@ss:w", NULL},
	        {"https://[::1]:8444/d", true, "::1", true, 8444, NULL, NULL, "d"},
	        {"http://u:p@[fe80::1]?x=a@b", false, "fe80::1", true, 8123, "u", "p", NULL},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		const struct want *w = &wants[i];
		struct ch_url url;
		struct err e = ERR_INIT;
		if (ch_url_parse(w->text, &url, &e) != ERR_OK)
			fail_msg("%s: %s", w->text, e.text);
		same(url.host, w->host);
		same(url.user, w->user);
		same(url.password, w->password);
		same(url.database, w->database);
		assert_true(url.https == w->https && url.ipv6 == w->ipv6);
		assert_int_equal(url.port, w->port);
		ch_url_fini(&url);
		assert_null(url.host);
	}
}

static void test_ch_url_parameters_are_settings_or_ours(void **state)
{
	(void)state;
	struct ch_url url;
	assert_int_equal(
	        ch_url_parse("https://h?max_threads=4&a%3Db=c%26d&empty=&ca=%2Fetc%2Fca.pem&insecure=0", &url, NULL),
	        ERR_OK);
	assert_int_equal(url.n_settings, 3);
	assert_string_equal(url.settings[0].name, "max_threads");
	assert_string_equal(url.settings[0].value, "4");
	assert_string_equal(url.settings[1].name, "a=b");
	assert_string_equal(url.settings[1].value, "c&d");
	assert_string_equal(url.settings[2].value, "");
	assert_string_equal(url.ca, "/etc/ca.pem");
	assert_false(url.insecure);
	ch_url_fini(&url);
	assert_int_equal(ch_url_parse("https://h/d?ca=a&ca=b&insecure=1", &url, NULL), ERR_OK);
	assert_string_equal(url.ca, "b");
	assert_true(url.insecure);
	ch_url_fini(&url);
}

static void test_ch_url_refuses_what_it_cannot_mean(void **state)
{
	(void)state;
	static const char *const wrong[][2] = {
	        {"", "another kind of address"},
	        {"localhost:8123", "another kind of address"},
	        {"HTTP://h", "another kind of address"},
	        {"http://", "no host"},
	        {"http://:8123", "no host"},
	        {"http:///db", "no host"},
	        {"http://u:p@", "no host"},
	        {"http://[]", "no host"},
	        {"http://h:", "a port"},
	        {"http://h:0", "a port"},
	        {"http://h:65536", "a port"},
	        {"http://h:9000", "the port of the native protocol"},
	        {"http://::1", "no host"},
	        {"http://a b", "a host"},
	        {"http://h#x", "a host"},
	        {"http://[::1", "a host"},
	        {"http://[::1]8123", "a host"},
	        {"http://u:p/w@h", "a port"},
	        {"http://h/a/b", "more than a database"},
	        {"http://h/%zz", "a database with a %"},
	        {"http://u:%4@h", "a password with a %"},
	        {"http://u:%00@h", "a password with a %"},
	        {"http://%:p@h", "a user with a %"},
	        {"http://h?x", "not name=value"},
	        {"http://h?=x", "not name=value"},
	        {"http://h?a=1&", NULL},
	        {"http://h?a=1&&b=2", "not name=value"},
	        {"http://h?a=%", "value with a %"},
	        {"http://h?%=a", "name with a %"},
	        {"http://h?ca=/x", "ca without https"},
	        {"http://h?insecure=1", "insecure without https"},
	        {"https://h?insecure=yes", "neither 1 nor 0"},
	        {"http://h?user=me", "the parameter user (write http://"},
	        {"http://h?read%6fnly=0", "the parameter readonly"},
	        {"http://h?default_format=CSV", "the parameter default_format"},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct ch_url url;
		struct err e = ERR_INIT;
		enum err_code rc = ch_url_parse(wrong[i][0], &url, &e);
		if (!wrong[i][1]) {
			assert_int_equal(rc, ERR_OK);
			ch_url_fini(&url);
			continue;
		}
		if (rc != ERR_INVALID || !strstr(e.text, wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], e.text);
		assert_true(strncmp(e.text, "expected http", 13) == 0);
		assert_true(!url.host && !url.user && !url.password && !url.settings);
	}
}

static void test_ch_url_native_addresses_are_answered_with_the_one_to_write(void **state)
{
	(void)state;
	static const char *const native[][2] = {
	        {"tcp://ch:9000?username=u&password=hunter2&database=ledger",
	                "write http://USER:PASSWORD@ch:8123/ledger"},
	        {"tcp://ch:9000", "write http://USER:PASSWORD@ch:8123/"},
	        {"clickhouse://u:hunter2@ch/ledger?secure=true", "write https://USER:PASSWORD@ch:8443/ledger"},
	        {"clickhouse://ch1:9000,ch2:9000/d", "write http://USER:PASSWORD@ch1:8123/d"},
	        {"tcp://[::1]:9000/d?x", "write http://USER:PASSWORD@[::1]:8123/d"},
	        {"tcp://[hunter2]:9000/", "write http://USER:PASSWORD@HOST:8123/"},
	        {"tcp://", "write http://USER:PASSWORD@HOST:8123/"},
	        {"tcp://hun%ter2/a%20b", "write http://USER:PASSWORD@HOST:8123/DATABASE"},
	        {"tcp://u:a/hunter2?x@ch", "write http://USER:PASSWORD@HOST:8123/DATABASE"}, /* all that before the @ */
	        {"tcp://u:a?database=hunter2&b@ch", "write http://USER:PASSWORD@HOST:8123/DATABASE"},
	        {"native://[", "write http://USER:PASSWORD@HOST:8123/"},
	};
	for (size_t i = 0; i < sizeof native / sizeof *native; i++) {
		struct ch_url url;
		struct err e = ERR_INIT;
		assert_int_equal(ch_url_parse(native[i][0], &url, &e), ERR_INVALID);
		const char *tail = strstr(e.text, "write ");
		if (!tail || strcmp(tail, native[i][1]) != 0)
			fail_msg("%s: %s", native[i][0], e.text);
		assert_null(strstr(e.text, "hunter2"));
	}
}

static void test_ch_url_never_repeats_a_secret(void **state)
{
	(void)state;
	static const char *const wrong[] = {"http://u:hunter2@h:port", "hunter2://h", "http://u:hunter2%@h",
	        "http://u:hunter2/@h", "http://u:hunter2?@h", "http://u:hunter2#@ h", "http://h?password=hunter2",
	        "http://h:hunter2"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct ch_url url;
		struct err e = ERR_INIT;
		assert_int_equal(ch_url_parse(wrong[i], &url, &e), ERR_INVALID);
		assert_null(strstr(e.text, "hunter2"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ch_url_reads_every_part),
	        cmocka_unit_test(test_ch_url_parameters_are_settings_or_ours),
	        cmocka_unit_test(test_ch_url_refuses_what_it_cannot_mean),
	        cmocka_unit_test(test_ch_url_native_addresses_are_answered_with_the_one_to_write),
	        cmocka_unit_test(test_ch_url_never_repeats_a_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
