/* Lets every allocation of a load fail in turn, by standing in for malloc. The sanitizers stand there themselves, so that
 * in their builds these tests are skipped. */
#include "tests/unit/test_config_fixture.h"

#include "shared/config/redis_url.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
static bool armed;
static long countdown, live, refusals;
#else
#define SANITIZED 0

/* glibc's own, behind its public names */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static bool armed;     /* between arm() and disarm(): count, and refuse the one whose turn it is */
static long countdown; /* allocations until the one that is refused */
static long live;      /* blocks that were made while armed and not freed */
static long refusals;

static bool refused_now(void)
{
	if (!armed)
		return false;
	if (countdown-- != 0)
		return false;
	refusals++;
	return true;
}

static void *counted(void *p)
{
	if (armed && p)
		live++;
	return p;
}

void *malloc(size_t size)
{
	return refused_now() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
	return refused_now() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t size)
{
	if (refused_now())
		return NULL;
	return p ? __libc_realloc(p, size) : counted(__libc_malloc(size));
}

void free(void *p)
{
	if (armed && p)
		live--;
	__libc_free(p);
}
#endif

static void arm(long n)
{
	countdown = n;
	live = refusals = 0;
	armed = true;
}

/* Loads with the nth allocation refused. True: there was no nth, and the load was right. */
static bool load_without(long n, char **env, const struct config_flags *flags)
{
	struct err e = ERR_INIT;
	struct config *c = NULL;
	arm(n);
	enum err_code rc = config_load(flags, env, &c, &e);
	config_free(c);
	armed = false;
	if (live != 0)
		fail_msg("with allocation %ld refused, %ld blocks are left", n, live);
	if (refusals == 0 && rc)
		fail_msg("%s", e.text);
	if (refusals == 0)
		return true;
	if (rc != ERR_NOMEM || strcmp(e.text, "out of memory") != 0)
		fail_msg("with allocation %ld refused: code %d, %s", n, rc, e.text);
	return false;
}

static void test_config_load_survives_the_failure_of_every_allocation(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
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
	for (long n = 0; !load_without(n, NULL, &plain); n++)
		assert_true(n < 100000);
	for (long n = 0; !load_without(n, env, &all); n++)
		assert_true(n < 100000);
}

static bool flags_without(long n)
{
	char *argv[] = {"prog", "--queue=a", "--queue=b:2", "--sql-directory=x", "--sql-directory=y", NULL};
	struct config_flags flags;
	struct err e = ERR_INIT;
	arm(n);
	enum err_code rc = config_flags_parse(PROGRAM_WORKER, 5, argv, &flags, &e);
	config_flags_fini(&flags);
	armed = false;
	assert_int_equal(live, 0);
	assert_int_equal(rc, refusals ? ERR_NOMEM : ERR_OK);
	return refusals == 0;
}

static bool url_without(long n)
{
	struct redis_url url;
	struct err e = ERR_INIT;
	arm(n);
	enum err_code rc = redis_url_parse("redis://u:p@h/1", &url, &e);
	redis_url_fini(&url);
	armed = false;
	assert_int_equal(live, 0);
	assert_int_equal(rc, refusals ? ERR_NOMEM : ERR_OK);
	return refusals == 0;
}

static void test_config_flags_and_url_survive_the_failure_of_every_allocation(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	for (long n = 0; !flags_without(n); n++)
		assert_true(n < 1000);
	for (long n = 0; !url_without(n); n++)
		assert_true(n < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_load_survives_the_failure_of_every_allocation),
	        cmocka_unit_test(test_config_flags_and_url_survive_the_failure_of_every_allocation),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
