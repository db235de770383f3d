/* Addresses of Redis, MySQL and ClickHouse. Input: a byte that chooses; the address, or, with a secret: a scheme's number,
 * user, password (byte 1 stands for the secret), and what stands behind the @.
 * What was read, written again with everything encoded, reads as the same; no message shows a part of the password, nor
 * what a person may have meant as one. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shared/config/ch_url.h"
#include "shared/config/mysql_dsn.h"
#include "shared/config/redis_url.h"
#include "tests/fuzz/fuzz.h"

#define SECRET "QZ7XKJ9V" /* in no message by itself */

static void add_encoded(struct buf *b, const char *text)
{
	for (; text && *text; text++)
		buf_addf(b, "%%%02x", (unsigned char)*text);
}

static void add_login(struct buf *b, const char *user, const char *password)
{
	if (!user && !password)
		return;
	add_encoded(b, user);
	if (password) {
		buf_addc(b, ':');
		add_encoded(b, password);
	}
	buf_addc(b, '@');
}

static bool same(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* --- Redis --- */

static void check_redis(const char *text)
{
	struct redis_url u, v;
	struct err e = ERR_INIT;
	struct buf b;
	enum err_code rc = redis_url_parse(text, &u, &e);
	fuzz_check_err(rc, &e, false);
	if (rc != ERR_OK) {
		FUZZ_CHECK(!u.host && !u.path && !u.user && !u.password, "something is left");
		return;
	}
	FUZZ_CHECK(!u.host != !u.path && u.db >= 0 && (u.port > 0) == (u.host != NULL), "port %d", u.port);
	buf_init(&b, 1 << 20);
	buf_addstr(&b, u.host ? "redis://" : "unix://");
	add_login(&b, u.user, u.password);
	if (u.host)
		buf_addf(&b, strchr(u.host, ':') ? "[%s]:%d/%d" : "%s:%d/%d", u.host, u.port, u.db);
	else
		buf_addc(&b, '/');
	add_encoded(&b, u.path ? u.path + 1 : NULL);
	if (u.path)
		buf_addf(&b, "?db=%d", u.db);
	FUZZ_CHECK(redis_url_parse(buf_str(&b), &v, &e) == ERR_OK, "%s: %s", e.text, buf_str(&b));
	FUZZ_CHECK(same(u.host, v.host) && u.port == v.port && same(u.path, v.path) && same(u.user, v.user) &&
	                same(u.password, v.password) && u.db == v.db,
	        "%s", buf_str(&b));
	redis_url_fini(&u);
	redis_url_fini(&v);
	buf_fini(&b);
}

/* --- MySQL --- */

static void check_mysql(const char *text)
{
	static const char *const tls[] = {"false", "preferred", "skip-verify", "true"};
	struct mysql_dsn u, v;
	struct err e = ERR_INIT;
	struct buf b;
	enum err_code rc = mysql_dsn_parse(text, &u, &e);
	fuzz_check_err(rc, &e, false);
	if (rc != ERR_OK) {
		FUZZ_CHECK(!u.host && !u.socket && !u.user && !u.password, "something is left");
		return;
	}
	FUZZ_CHECK(!u.host != !u.socket && u.user && u.password && u.database, "a part is missing");
	buf_init(&b, 1 << 20);
	buf_addstr(&b, "mysql://");
	add_login(&b, u.user, u.password);
	if (u.host)
		buf_addf(&b, strchr(u.host, ':') ? "[%s]:%d" : "%s:%d", u.host, u.port);
	buf_addc(&b, '/');
	add_encoded(&b, u.database);
	buf_addf(&b, "?tls=%s", tls[u.tls]);
	const struct {
		const char *name, *value;
	} params[] = {{"socket", u.socket}, {"ssl_ca", u.ca}, {"ssl_cert", u.cert}, {"ssl_key", u.key}};
	for (size_t i = 0; i < sizeof params / sizeof *params; i++)
		if (params[i].value) {
			buf_addf(&b, "&%s=", params[i].name);
			add_encoded(&b, params[i].value);
		}
	FUZZ_CHECK(mysql_dsn_parse(buf_str(&b), &v, &e) == ERR_OK, "%s: %s", e.text, buf_str(&b));
	FUZZ_CHECK(same(u.host, v.host) && u.port == v.port && same(u.socket, v.socket) && same(u.user, v.user) &&
	                same(u.password, v.password) && same(u.database, v.database) && u.tls == v.tls &&
	                same(u.ca, v.ca) && same(u.cert, v.cert) && same(u.key, v.key),
	        "%s", buf_str(&b));
	mysql_dsn_fini(&u);
	mysql_dsn_fini(&v);
	buf_fini(&b);
}

/* --- ClickHouse --- */

static void check_ch(const char *text)
{
	struct ch_url u, v;
	struct err e = ERR_INIT;
	struct buf b;
	enum err_code rc = ch_url_parse(text, &u, &e);
	fuzz_check_err(rc, &e, false);
	if (rc != ERR_OK) {
		FUZZ_CHECK(!u.host && !u.user && !u.password && !u.settings, "something is left");
		return;
	}
	buf_init(&b, 1 << 20);
	buf_addstr(&b, u.https ? "https://" : "http://");
	add_login(&b, u.user, u.password);
	buf_addf(&b, u.ipv6 ? "[%s]:%d/" : "%s:%d/", u.host, u.port);
	add_encoded(&b, u.database);
	const char *joint = "?";
	for (size_t i = 0; i < u.n_settings; i++, joint = "&") {
		buf_addstr(&b, joint);
		add_encoded(&b, u.settings[i].name);
		buf_addc(&b, '=');
		add_encoded(&b, u.settings[i].value);
	}
	if (u.https)
		buf_addf(&b, "%sinsecure=%d", joint, u.insecure);
	FUZZ_CHECK(ch_url_parse(buf_str(&b), &v, &e) == ERR_OK, "%s: %s", e.text, buf_str(&b));
	FUZZ_CHECK(u.https == v.https && same(u.host, v.host) && u.ipv6 == v.ipv6 && u.port == v.port &&
	                same(u.user, v.user) && same(u.password, v.password) && u.insecure == v.insecure &&
	                u.n_settings == v.n_settings,
	        "%s", buf_str(&b));
	FUZZ_CHECK(same(u.database, v.database) || (u.database && !u.database[0]), "%s", buf_str(&b));
	for (size_t i = 0; i < u.n_settings; i++)
		FUZZ_CHECK(
		        same(u.settings[i].name, v.settings[i].name) && same(u.settings[i].value, v.settings[i].value),
		        "%s", buf_str(&b));
	ch_url_fini(&u);
	ch_url_fini(&v);
	buf_fini(&b);
}

/* --- secrets --- */

static void check_secret(struct fuzz_in *in)
{
	static const char *const schemes[] = {"redis://", "rediss://", "unix://", "", "mysql://", "mariadb://",
	        "http://", "https://", "tcp://", "clickhouse://"};
	size_t scheme = fuzz_byte(in) % (sizeof schemes / sizeof *schemes);
	char *user = fuzz_text(in), *password = fuzz_text(in), *rest = fuzz_text(in);
	struct buf b;
	struct err e = ERR_INIT;
	enum err_code rc = ERR_OK;
	buf_init(&b, 1 << 20);
	buf_addstr(&b, schemes[scheme]);
	for (const char *p = user; *p; p++) /* else it is not known where the password begins */
		buf_addc(&b, isalnum((unsigned char)*p) ? *p : '_');
	buf_addc(&b, ':');
	for (const char *p = password; *p; p++)
		if (*p == 1)
			buf_addstr(&b, SECRET);
		else
			buf_addc(&b, *p);
	buf_addf(&b, "@%s", rest);
	if (scheme <= 2) {
		struct redis_url url;
		rc = redis_url_parse(buf_str(&b), &url, &e);
		redis_url_fini(&url);
	} else if (scheme <= 5) {
		struct mysql_dsn dsn;
		rc = mysql_dsn_parse(buf_str(&b), &dsn, &e);
		mysql_dsn_fini(&dsn);
	} else {
		struct ch_url url;
		rc = ch_url_parse(buf_str(&b), &url, &e);
		ch_url_fini(&url);
	}
	fuzz_check_err(rc, &e, false);
	bool astray = strstr(user, SECRET) || strstr(rest, SECRET);
	FUZZ_CHECK(astray || !strstr(e.text, SECRET), "%s: %s", buf_str(&b), e.text);
	buf_fini(&b);
	free(user);
	free(password);
	free(rest);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned what = fuzz_byte(&in) % 4;
	if (what == 3) {
		check_secret(&in);
		return;
	}
	char *text = fuzz_text(&in);
	if (what == 0)
		check_redis(text);
	else if (what == 1)
		check_mysql(text);
	else
		check_ch(text);
	free(text);
}
