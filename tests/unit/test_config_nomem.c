/* Configuration and addresses without memory. */
#include "tests/unit/nomem.h"
#include "tests/unit/test_config_fixture.h"

#include "shared/config/ch_url.h"
#include "shared/config/mysql_dsn.h"
#include "shared/config/redis_url.h"

struct load {
	char **env;
	const struct config_flags *flags;
};

static enum err_code load(void *ctx, struct err *e)
{
	const struct load *l = ctx;
	struct config *c = NULL;
	enum err_code rc = config_load(l->flags, l->env, &c, e);
	if ((rc == ERR_OK) != (c != NULL))
		nomem_wrong("a configuration in spite of an error, or none");
	config_free(c);
	return rc;
}

static void test_config_load_survives_the_failure_of_every_allocation(void **state)
{
	(void)state;
	static const char text[] =
	        "redis: {url: 'redis://:p@/1', sentinels: [a, 'b:1'], master: m, sentinel_password: x}\n"
	        "sources:\n"
	        "  ledger: {type: postgres, dsn: 'host=a'}\n"
	        "  my: {type: mariadb, dsn: 'u:p@tcp(h:1)/d?tls=true&ssl_ca=/ca'}\n"
	        "  ch: {type: clickhouse, dsn: 'https://u:p@h:1/d?ca=/ca&a=b'}\n"
	        "results:\n"
	        "  reports: {type: mysql, dsn: 'mysql://u:p@h/d'}\n"
	        "worker: {queues: {a: 1, b: 2}}\n";
	char *env[] = {"DUNGBEETLE_SOURCES__LEDGER__DSN=host=x", "DUNGBEETLE_SOURCES__LEDGER__PASSWORD_FILE=t.yml",
	        "DUNGBEETLE_SQL_DIRECTORIES=a:b", "DUNGBEETLE_REDIS__SENTINELS=c:1,d", "DUNGBEETLE_LOG__LEVEL=warn",
	        NULL};
	const char *directories[] = {"x", "y"};
	struct cfg_queue queues[] = {{(char[]){"q"}, 1}};
	struct config_flags plain = {.program = PROGRAM_WORKER, .config_path = "t.yml"}, all = plain;
	all.sql_directories = directories;
	all.n_sql_directories = 2;
	all.queues = queues;
	all.n_queues = 1;
	all.worker_name = all.socket = "w";
	fixture_write("t.yml", text, strlen(text));
	nomem_each("a load", load, &(struct load){NULL, &plain});
	nomem_each("a load with variables and flags", load, &(struct load){env, &all});
}

static enum err_code read_flags(void *ctx, struct err *e)
{
	char *argv[] = {"prog", "--queue=a", "--queue=b:2", "--sql-directory=x", "--sql-directory=y", NULL};
	struct config_flags flags;
	(void)ctx;
	enum err_code rc = config_flags_parse(PROGRAM_WORKER, 5, argv, &flags, e);
	config_flags_fini(&flags);
	return rc;
}

static void test_config_flags_survive_the_failure_of_every_allocation(void **state)
{
	(void)state;
	nomem_each("flags", read_flags, NULL);
}

static enum err_code read_redis(void *ctx, struct err *e)
{
	struct redis_url url;
	enum err_code rc = redis_url_parse(ctx, &url, e);
	if (rc != ERR_OK && (url.host || url.path || url.user || url.password))
		nomem_wrong("a part in spite of an error");
	redis_url_fini(&url);
	return rc;
}

static enum err_code read_mysql(void *ctx, struct err *e)
{
	struct mysql_dsn dsn;
	enum err_code rc = mysql_dsn_parse(ctx, &dsn, e);
	if (rc != ERR_OK && (dsn.host || dsn.user || dsn.password || dsn.ca))
		nomem_wrong("a part in spite of an error");
	mysql_dsn_fini(&dsn);
	return rc;
}

static enum err_code read_ch(void *ctx, struct err *e)
{
	struct ch_url url;
	enum err_code rc = ch_url_parse(ctx, &url, e);
	if (rc != ERR_OK && (url.host || url.user || url.password || url.n_settings))
		nomem_wrong("a part in spite of an error");
	ch_url_fini(&url);
	return rc;
}

static void test_addresses_survive_the_failure_of_every_allocation(void **state)
{
	(void)state;
	nomem_each("redis://", read_redis, (void *)"redis://u:p%20@[::1]:1/1");
	nomem_each("unix://", read_redis, (void *)"unix://u:p@/a/b.sock?db=2");
	nomem_each("go-sql-driver", read_mysql, (void *)"u:p@tcp(h:1)/d?tls=true&ssl_ca=a&ssl_cert=b&ssl_key=c");
	nomem_each("a socket", read_mysql, (void *)"/d?socket=/a");
	nomem_each("mysql://", read_mysql, (void *)"mysql://u:p@h:1/d?socket=%20a");
	nomem_each("https://", read_ch, (void *)"https://u:p@h:1/d?ca=/ca&a=b&c=d&e=%20");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_load_survives_the_failure_of_every_allocation),
	        cmocka_unit_test(test_config_flags_survive_the_failure_of_every_allocation),
	        cmocka_unit_test(test_addresses_survive_the_failure_of_every_allocation),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
