/* The loop with the real libfcgi and a client that speaks FastCGI by hand. Redis is not there. */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "fcgi/loop.h"
#include "tests/unit/test_fcgi_fixture.h"

static struct listener listener;
static struct loop *loop;
static pthread_t thread;
static int ended;
static char socket_path[96];

static int setup(void **state)
{
	struct err e = ERR_INIT;
	if (fixture_setup(state) != 0 || loop_library_init(&e) != ERR_OK)
		return -1;
	snprintf(socket_path, sizeof socket_path, "%s.sock", fx.dir);
	fx.config.redis.url = (char *)"unix:///nowhere/redis.sock";
	fx.config.redis.connect_timeout_ms = fx.config.redis.timeout_ms = 1000;
	fx.config.fcgi.socket = socket_path;
	fx.config.fcgi.socket_mode = (char *)"0600";
	fx.config.fcgi.socket_group = (char *)"";
	fx.app.tasks = task_holder_new(task_set_ref(fx.tasks));
	return fx.app.tasks ? 0 : -1;
}

static int teardown(void **state)
{
	task_holder_free(fx.app.tasks);
	return fixture_teardown(state);
}

static int start(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	memset(&fx.counters, 0, sizeof fx.counters);
	ended = eventfd(0, EFD_NONBLOCK);
	if (listener_open(&listener, &fx.config, &e) != ERR_OK)
		return -1;
	loop = loop_new(&fx.app, &fx.counters, &listener, ended, &e);
	return loop && pthread_create(&thread, NULL, loop_main, loop) == 0 ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	loop_phase(loop, LOOP_STOP);
	pthread_join(thread, NULL);
	loop_free(loop);
	listener_withdraw(&listener);
	listener_close(&listener);
	close(ended);
	return 0;
}

/* --- the client --- */

static int client(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	snprintf(to.sun_path, sizeof to.sun_path, "%s", socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static void add_record(struct buf *b, int type, const char *content, size_t len)
{
	buf_addc(b, 1);
	buf_addc(b, (char)type);
	buf_add_be16(b, 1);
	buf_add_be16(b, (uint16_t)len);
	buf_add_be16(b, 0);
	buf_add(b, content, len);
}

static void add_param(struct buf *b, const char *name, const char *value)
{
	buf_addc(b, (char)strlen(name));
	buf_addc(b, (char)strlen(value));
	buf_addstr(b, name);
	buf_addstr(b, value);
}

static void send_request(int fd, const char *method, const char *uri, const char *text, const char *length, bool keep)
{
	struct buf b, params;
	buf_init(&b, 65536);
	buf_init(&params, 4096);
	add_param(&params, "REQUEST_METHOD", method);
	add_param(&params, "REQUEST_URI", uri);
	add_param(&params, "CONTENT_LENGTH", length);
	add_record(&b, 1, keep ? "\0\1\1\0\0\0\0\0" : "\0\1\0\0\0\0\0\0", 8);
	add_record(&b, 4, params.data, params.len);
	add_record(&b, 4, "", 0);
	if (text[0])
		add_record(&b, 5, text, strlen(text));
	add_record(&b, 5, "", 0);
	assert_int_equal(write(fd, b.data, b.len), b.len);
	buf_fini(&b);
	buf_fini(&params);
}

/* Reads up to END_REQUEST; the STDOUT content is in `answered`. */
static char answered[8192];

static void read_all(int fd, void *to, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, (char *)to + got, len - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
}

static const char *read_answer(int fd)
{
	size_t len = 0;
	unsigned char head[8], trash[256];
	do {
		read_all(fd, head, sizeof head);
		size_t content = (size_t)head[4] << 8 | head[5];
		assert_true(len + content < sizeof answered);
		read_all(fd, answered + len, content);
		if (head[1] == 6)
			len += content;
		read_all(fd, trash, head[6]);
	} while (head[1] != 3);
	answered[len] = '\0';
	return answered;
}

static int is_closed(int fd)
{
	char c;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, 2000) == 1 && read(fd, &c, 1) == 0;
}

/* --- tests --- */

static void test_loop_keeps_connections(void **state)
{
	(void)state;
	int fd = client();
	for (int i = 0; i < 3; i++) {
		send_request(fd, "GET", "/", "", "", true);
		assert_non_null(strstr(read_answer(fd), "Status: 200 OK\r\n"));
	}
	send_request(fd, "GET", "/", "", "", false);
	assert_non_null(strstr(read_answer(fd), "\"dungbeetle "));
	assert_true(is_closed(fd));
	close(fd);
}

static void test_loop_body(void **state)
{
	(void)state;
	int fd = client();
	send_request(fd, "POST", "/tasks/plain/jobs", "{\"eta\":5}", "9", true);
	assert_non_null(strstr(read_answer(fd), "field 'eta': expected a string, got an integer"));
	send_request(fd, "POST", "/tasks/plain/jobs", "{\"eta\":5}", "10", true);
	assert_non_null(strstr(read_answer(fd), "ended before its Content-Length"));
	send_request(fd, "POST", "/tasks/plain/jobs", "{\"eta\":5}", "70000", true);
	assert_non_null(strstr(read_answer(fd), "Status: 413 "));
	send_request(fd, "HEAD", "/health", "", "", true); /* still in step */
	assert_non_null(strstr(read_answer(fd), "Status: 503 "));
	assert_null(strchr(answered, '{'));
	close(fd);
}

static void test_loop_redis_down(void **state)
{
	(void)state;
	int fd = client();
	send_request(fd, "POST", "/tasks/plain/jobs", "", "", true);
	read_answer(fd);
	assert_non_null(strstr(answered, "Status: 503 Service Unavailable\r\n"));
	assert_non_null(strstr(answered, "\r\nRetry-After: 1\r\n"));
	assert_non_null(strstr(answered, "\r\n\r\n{\"status\":\"error\",\"message\":\"Redis: "));
	close(fd);
}

/* Rubbish and connections that say nothing do no harm to others. */
static void test_loop_bad_peers(void **state)
{
	(void)state;
	int bad = client(), silent = client(), fd = client();
	assert_int_equal(write(bad, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	send_request(fd, "GET", "/", "", "", true);
	assert_non_null(strstr(read_answer(fd), "Status: 200 OK\r\n"));
	assert_true(is_closed(bad));
	close(bad);
	close(silent);
	send_request(fd, "GET", "/", "", "", true);
	assert_non_null(strstr(read_answer(fd), "Status: 200 OK\r\n"));
	close(fd);
}

/* What would abort libfcgi never gets there. */
static void test_loop_guards_libfcgi(void **state)
{
	(void)state;
	struct buf b;
	int bad = client(), fd = client();
	buf_init(&b, 4096);
	add_record(&b, 1, "\0\1\1\0\0\0\0\0", 8);
	add_record(&b, 4, "\xff\xff\xff\xfe\1", 5);
	assert_int_equal(write(bad, b.data, b.len), b.len);
	assert_true(is_closed(bad));
	close(bad);
	send_request(fd, "GET", "/", "", "", true);
	assert_non_null(strstr(read_answer(fd), "Status: 200 OK\r\n"));
	close(fd);
	buf_fini(&b);
}

/* A drain serves what has connected, also what only waits in the backlog, and ends with the last connection. */
static void test_loop_drain(void **state)
{
	(void)state;
	uint64_t n;
	int fd = client();
	send_request(fd, "GET", "/", "", "", true);
	read_answer(fd);
	listener_withdraw(&listener);
	loop_phase(loop, LOOP_DRAIN);
	send_request(fd, "GET", "/", "", "", true);
	assert_non_null(strstr(read_answer(fd), "Status: 200 OK\r\n"));
	assert_int_equal(read(ended, &n, sizeof n), -1);
	close(fd);
	struct pollfd p = {.fd = ended, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_int_equal(fx.counters.connections, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_loop_keeps_connections, start, stop),
	        cmocka_unit_test_setup_teardown(test_loop_body, start, stop),
	        cmocka_unit_test_setup_teardown(test_loop_redis_down, start, stop),
	        cmocka_unit_test_setup_teardown(test_loop_bad_peers, start, stop),
	        cmocka_unit_test_setup_teardown(test_loop_guards_libfcgi, start, stop),
	        cmocka_unit_test_setup_teardown(test_loop_drain, start, stop),
	};
	return cmocka_run_group_tests_name("fcgi_loop", tests, setup, teardown);
}
