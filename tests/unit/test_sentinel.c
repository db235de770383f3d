/* The search for the master, with Sentinels and servers that say what a script tells them to. */
#include "shared/queue/sentinel.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/base/clock.h"
#include "shared/queue/redis.h"

static void pause_us(long us)
{
	const struct timespec t = {.tv_nsec = us * 1000};
	nanosleep(&t, NULL);
}

#define FAKES 3
#define CONNECT_MS 2000

/* A server on a port of its own. It says `says` to each command (a line that begins with '*' counts as one), or nothing. */
struct fake {
	int listener, port;
	char address[32];
	pthread_t thread;
	atomic_int connections;
	const char *_Atomic says; /* NULL: nothing, ever */
	atomic_bool drips;        /* a byte every 50 ms */
	atomic_bool stop;
};

static struct fake fakes[FAKES];
static struct config config;
static char *addresses[FAKES];

static void serve(struct fake *f, int fd)
{
	char bytes[4096];
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		while (poll(&p, 1, 20) == 0)
			if (atomic_load(&f->stop))
				return;
		ssize_t n = recv(fd, bytes, sizeof bytes, 0);
		if (n <= 0)
			return;
		const char *says = atomic_load(&f->says);
		for (ssize_t i = 0; says && i < n; i++) {
			if (bytes[i] != '*')
				continue;
			size_t step = atomic_load(&f->drips) ? 1 : strlen(says);
			for (const char *at = says; *at; at += step) {
				if (send(fd, at, step, MSG_NOSIGNAL) < 0)
					return;
				if (step == 1)
					pause_us(50000);
			}
		}
	}
}

static void *fake_main(void *arg)
{
	struct fake *f = arg;
	while (!atomic_load(&f->stop)) {
		struct pollfd p = {.fd = f->listener, .events = POLLIN};
		if (poll(&p, 1, 20) <= 0)
			continue;
		int fd = accept(f->listener, NULL, NULL);
		atomic_fetch_add(&f->connections, 1);
		if (fd >= 0) {
			serve(f, fd);
			close(fd);
		}
	}
	return NULL;
}

static void open_fake(struct fake *f)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	f->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)(void *)&in, sizeof in), 0);
	assert_int_equal(listen(f->listener, 16), 0);
	assert_int_equal(getsockname(f->listener, (struct sockaddr *)(void *)&in, &len), 0);
	f->port = ntohs(in.sin_port);
	snprintf(f->address, sizeof f->address, "127.0.0.1:%d", f->port);
	atomic_store(&f->connections, 0);
	atomic_store(&f->says, NULL);
	atomic_store(&f->drips, false);
	atomic_store(&f->stop, false);
	assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
}

static int setup(void **state)
{
	(void)state;
	static char nothing[] = "", prefix[] = "p:", master[] = "mymaster";
	memset(&config, 0, sizeof config);
	config.redis.url = config.redis.sentinel_username = config.redis.sentinel_password = nothing;
	config.redis.prefix = prefix;
	config.redis.master = master;
	config.redis.connect_timeout_ms = CONNECT_MS;
	config.redis.timeout_ms = 5000;
	for (size_t i = 0; i < FAKES; i++) {
		open_fake(&fakes[i]);
		addresses[i] = fakes[i].address;
	}
	config.redis.sentinels = addresses;
	config.redis.n_sentinels = FAKES;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < FAKES; i++) {
		atomic_store(&fakes[i].stop, true);
		pthread_join(fakes[i].thread, NULL);
		close(fakes[i].listener);
	}
	return 0;
}

static const char *address_of(int port, char out[128])
{
	char digits[16];
	snprintf(digits, sizeof digits, "%d", port);
	snprintf(out, 128, "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(digits), digits);
	return out;
}

/* One question to the first Sentinel, which says so. */
static enum err_code ask(const char *says, struct sentinel_answer *out, struct err *e)
{
	struct sentinels *s = sentinels_new(&config);
	assert_non_null(s);
	atomic_store(&fakes[0].says, says);
	enum err_code rc = sentinels_ask(s, 0, clock_mono_ms() + CONNECT_MS, out, e);
	sentinels_free(s);
	return rc;
}

static void test_sentinel_answer_is_an_address(void **state)
{
	(void)state;
	struct sentinel_answer at;
	struct err e = ERR_INIT;
	assert_int_equal(ask("*2\r\n$8\r\n10.1.2.3\r\n$4\r\n6380\r\n", &at, &e), ERR_OK);
	assert_string_equal(at.host, "10.1.2.3");
	assert_int_equal(at.port, 6380);
	assert_int_equal(ask("*2\r\n$3\r\n::1\r\n$1\r\n1\r\n", &at, &e), ERR_OK);
	assert_string_equal(at.host, "::1");
}

static void test_sentinel_answers_that_are_no_address_are_told(void **state)
{
	(void)state;
	static char long_host[700];
	static const char *const wrong[][2] = {
	        {"*-1\r\n", "it knows no master 'mymaster'"},
	        {"$-1\r\n", "it knows no master 'mymaster'"},
	        {"*0\r\n", "it knows no master 'mymaster'"},
	        {"-IDONTKNOW I have not enough information\r\n", "IDONTKNOW"},
	        {"-NOAUTH Authentication required.\r\n", "NOAUTH"},
	        {"-LOADING\r\n", "LOADING"},
	        {"+OK\r\n", "no address"},
	        {":6379\r\n", "no address"},
	        {"$9\r\n127.0.0.1\r\n", "no address"},
	        {"*1\r\n$9\r\n127.0.0.1\r\n", "no address"},
	        {"*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n", "no address"},
	        {"*2\r\n$9\r\n127.0.0.1\r\n:6379\r\n", "no address"},
	        {"*2\r\n$-1\r\n$4\r\n6379\r\n", "no address"},
	        {"*2\r\n$0\r\n\r\n$4\r\n6379\r\n", "no address"},
	        {"*2\r\n$1\r\na\r\n$1\r\n0\r\n", "no address"},
	        {"*2\r\n$1\r\na\r\n$5\r\n65536\r\n", "no address"},
	        {"*2\r\n$1\r\na\r\n$4\r\n63x9\r\n", "no address"},
	        {"*2\r\n*1\r\n$1\r\na\r\n$1\r\n1\r\n", "no address"},
	        {long_host, "no address"},
	        {"HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error"},
	        {"\x16\x03\x01\x02\x03", "Protocol error"},
	};
	snprintf(long_host, sizeof long_host, "*2\r\n$300\r\n%0300d\r\n$1\r\n1\r\n", 7);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct sentinel_answer at;
		struct err e = ERR_INIT;
		assert_int_equal(ask(wrong[i][0], &at, &e), ERR_UNAVAILABLE);
		if (!strstr(e.text, wrong[i][1]) || strncmp(e.text, "Sentinel 127.0.0.1:", 19) != 0)
			fail_msg("%zu: %s", i, e.text);
	}
}

static void test_sentinel_that_says_nothing_costs_little_time(void **state)
{
	(void)state;
	struct sentinel_answer at;
	struct err e = ERR_INIT;
	int64_t before = clock_mono_ms();
	assert_int_equal(ask(NULL, &at, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "no answer in time"));
	assert_in_range(clock_mono_ms() - before, SENTINEL_LIMIT_MS - 50, 2 * SENTINEL_LIMIT_MS + 300);
}

static void test_sentinel_that_drips_costs_no_more(void **state)
{
	(void)state;
	struct sentinel_answer at;
	struct err e = ERR_INIT;
	int64_t before = clock_mono_ms();
	atomic_store(&fakes[0].drips, true);
	assert_int_equal(ask("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n", &at, &e), ERR_UNAVAILABLE);
	assert_in_range(clock_mono_ms() - before, SENTINEL_LIMIT_MS - 50, 2 * SENTINEL_LIMIT_MS + 300);
}

static void test_sentinels_are_not_asked_beyond_the_callers_time(void **state)
{
	(void)state;
	struct sentinels *s = sentinels_new(&config);
	struct sentinel_answer at;
	struct err e = ERR_INIT;
	assert_int_equal(sentinels_ask(s, 0, clock_mono_ms() - 1, &at, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "no time left"));
	assert_int_equal(atomic_load(&fakes[0].connections), 0);
	sentinels_free(s);
}

static void test_sentinel_that_is_preferred_is_asked_first(void **state)
{
	(void)state;
	struct sentinels *s = sentinels_new(&config);
	struct sentinel_answer at;
	sentinels_prefer(s, 2); /* 2 0 1 */
	sentinels_prefer(s, 0);
	sentinels_prefer(s, 2); /* 1 2 0 */
	const size_t order[] = {1, 2, 0};
	for (size_t i = 0; i < FAKES; i++) {
		atomic_store(&fakes[order[i]].says, "*0\r\n");
		assert_int_equal(sentinels_ask(s, i, clock_mono_ms() + CONNECT_MS, &at, NULL), ERR_UNAVAILABLE);
		assert_int_equal(atomic_load(&fakes[order[i]].connections), 1);
	}
	sentinels_free(s);
}

/* --- redis_connect: fakes 0 and 1 are Sentinels, the last one is a server --- */

#define MASTER_SAYS "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define REPLICA_SAYS "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:0\r\n"

static struct redis *client(void)
{
	config.redis.n_sentinels = 2;
	struct redis *r = redis_new(&config);
	assert_non_null(r);
	return r;
}

/* A port where nobody listens. */
static int dead_port(void)
{
	struct fake f = {.listener = -1};
	open_fake(&f);
	atomic_store(&f.stop, true);
	pthread_join(f.thread, NULL);
	close(f.listener);
	return f.port;
}

static void test_redis_connects_to_whom_a_sentinel_names(void **state)
{
	(void)state;
	char text[128];
	struct err e = ERR_INIT;
	struct redis *r = client();
	assert_string_equal(redis_peer(r), "");
	atomic_store(&fakes[0].says, "$-1\r\n"); /* this one knows nothing: the next one is asked */
	atomic_store(&fakes[1].says, address_of(fakes[2].port, text));
	atomic_store(&fakes[2].says, MASTER_SAYS);
	assert_int_equal(redis_connect(r, &e), ERR_OK);
	assert_string_equal(redis_peer(r), fakes[2].address);
	/* Who has answered comes first the next time, and is asked anew. */
	redis_disconnect(r);
	assert_int_equal(redis_connect(r, &e), ERR_OK);
	assert_int_equal(atomic_load(&fakes[0].connections), 1);
	assert_int_equal(atomic_load(&fakes[1].connections), 2);
	redis_free(r);
}

static void test_redis_takes_nobody_for_the_master_who_does_not_say_so(void **state)
{
	(void)state;
	char text[128];
	struct err e = ERR_INIT;
	struct redis *r = client();
	address_of(fakes[2].port, text);
	atomic_store(&fakes[0].says, text);
	atomic_store(&fakes[1].says, text);
	atomic_store(&fakes[2].says, REPLICA_SAYS);
	assert_int_equal(redis_connect(r, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "its role is 'slave', not master"));
	assert_false(redis_connected(r));
	assert_string_equal(redis_peer(r), "");
	assert_int_equal(atomic_load(&fakes[2].connections), 1); /* both Sentinels name it: it is tried once */
	redis_free(r);
}

static void test_redis_asks_another_sentinel_when_one_still_names_the_old_master(void **state)
{
	(void)state;
	char old[128], new[128];
	struct err e = ERR_INIT;
	struct redis *r = client();
	atomic_store(&fakes[0].says, address_of(dead_port(), old));
	atomic_store(&fakes[1].says, address_of(fakes[2].port, new));
	atomic_store(&fakes[2].says, MASTER_SAYS);
	assert_int_equal(redis_connect(r, &e), ERR_OK);
	assert_string_equal(redis_peer(r), fakes[2].address);
	redis_free(r);
}

static void test_redis_rests_after_a_vain_search(void **state)
{
	(void)state;
	struct err first = ERR_INIT, second = ERR_INIT;
	struct redis *r = client();
	atomic_store(&fakes[0].says, "*-1\r\n");
	atomic_store(&fakes[1].says, "*-1\r\n");
	for (int i = 0; i < 6; i++) { /* each pause is longer than the last */
		while (redis_connect(r, &first) != ERR_OK && atomic_load(&fakes[0].connections) == i)
			pause_us(1000);
	}
	int asked = atomic_load(&fakes[0].connections);
	assert_int_equal(redis_connect(r, &second), ERR_UNAVAILABLE);
	assert_int_equal(atomic_load(&fakes[0].connections), asked);
	assert_string_equal(second.text, first.text);
	assert_non_null(strstr(first.text, "it knows no master 'mymaster'"));
	redis_free(r);
}

/* Sentinels that say nothing, a master that says nothing: the whole search takes no longer than redis.connect_timeout. */
static void test_redis_search_is_over_in_time(void **state)
{
	(void)state;
	char text[128];
	struct err e = ERR_INIT;
	struct redis *r = client();
	int64_t before = clock_mono_ms();
	assert_int_equal(redis_connect(r, &e), ERR_UNAVAILABLE);
	assert_in_range(clock_mono_ms() - before, 2 * SENTINEL_LIMIT_MS - 100, 4 * SENTINEL_LIMIT_MS + 500);
	redis_free(r);

	config.redis.connect_timeout_ms = 700;
	r = client();
	atomic_store(&fakes[0].says, address_of(fakes[2].port, text));
	before = clock_mono_ms();
	assert_int_equal(redis_connect(r, &e), ERR_UNAVAILABLE);
	assert_in_range(clock_mono_ms() - before, 600, 700 + 500);
	assert_int_equal(redis_connect(r, &e), ERR_UNAVAILABLE); /* at once: it rests */
	assert_in_range(clock_mono_ms() - before, 600, 700 + 500);
	redis_free(r);
}

static void test_redis_leaves_a_server_that_has_become_a_replica(void **state)
{
	(void)state;
	char text[128];
	struct err e = ERR_INIT;
	struct redis *r = client();
	struct cmd c;
	struct cmd *const one[] = {&c};
	struct reply *reply = NULL;
	cmd_init(&c);
	atomic_store(&fakes[0].says, address_of(fakes[2].port, text));
	static const char *const words[] = {"-READONLY You can't write against a read only replica.\r\n",
	        "-MASTERDOWN Link with MASTER is down\r\n", "-LOADING Redis is loading the dataset in memory\r\n",
	        "-NOREPLICAS Not enough good replicas to write.\r\n"};
	for (size_t i = 0; i < 4; i++) {
		atomic_store(&fakes[2].says, MASTER_SAYS);
		assert_int_equal(redis_connect(r, &e), ERR_OK);
		atomic_store(&fakes[2].says, words[i]);
		cmd_reset(&c);
		cmd_addstr(&c, "PING");
		assert_int_equal(redis_pipeline(r, one, 1, &reply, &e), ERR_OK);
		assert_int_equal(reply_error(reply, &e), ERR_UNAVAILABLE);
		reply_free(reply);
		assert_int_equal(redis_connected(r), i >= 2);
	}
	cmd_fini(&c);
	redis_free(r);
}

static void test_redis_takes_away_what_no_replica_has_confirmed(void **state)
{
	(void)state;
	char text[128];
	struct err e = ERR_INIT;
	config.redis.wait_replicas = 2;
	struct redis *r = client();
	struct cmd plain, durable;
	struct cmd *const both[] = {&plain, &durable};
	struct reply *replies[2];
	cmd_init(&plain);
	cmd_init(&durable);
	cmd_addstr(&plain, "GET");
	cmd_addstr(&durable, "SET");
	cmd_durable(&durable);
	atomic_store(&fakes[0].says, address_of(fakes[2].port, text));
	atomic_store(&fakes[2].says, MASTER_SAYS);
	assert_int_equal(redis_connect(r, &e), ERR_OK);
	atomic_store(&fakes[2].says, ":1\r\n"); /* of WAIT: one replica */
	assert_int_equal(redis_pipeline(r, both, 2, replies, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "1 of 2 replicas have confirmed it"));
	assert_int_equal(reply_i64(replies[0], 0), 1);
	assert_null(replies[1]);
	assert_true(redis_connected(r));
	reply_free(replies[0]);
	atomic_store(&fakes[2].says, ":2\r\n");
	assert_int_equal(redis_pipeline(r, both, 2, replies, &e), ERR_OK);
	assert_non_null(replies[1]);
	reply_free(replies[0]);
	reply_free(replies[1]);
	cmd_fini(&plain);
	cmd_fini(&durable);
	redis_free(r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_sentinel_answer_is_an_address),
	        TEST(test_sentinel_answers_that_are_no_address_are_told),
	        TEST(test_sentinel_that_says_nothing_costs_little_time),
	        TEST(test_sentinel_that_drips_costs_no_more),
	        TEST(test_sentinels_are_not_asked_beyond_the_callers_time),
	        TEST(test_sentinel_that_is_preferred_is_asked_first),
	        TEST(test_redis_connects_to_whom_a_sentinel_names),
	        TEST(test_redis_takes_nobody_for_the_master_who_does_not_say_so),
	        TEST(test_redis_asks_another_sentinel_when_one_still_names_the_old_master),
	        TEST(test_redis_rests_after_a_vain_search),
	        TEST(test_redis_search_is_over_in_time),
	        TEST(test_redis_leaves_a_server_that_has_become_a_replica),
	        TEST(test_redis_takes_away_what_no_replica_has_confirmed),
	};
	signal(SIGPIPE, SIG_IGN);
	alarm(60); /* rather than to wait for ever */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
