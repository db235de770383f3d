#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "fcgi/socket.h"
#include "tests/unit/test_fcgi_fixture.h"

static char dir[32];
static char path[160];
static struct config config;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/dungbeetle-sock-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/fcgi.sock", dir);
	config.fcgi.socket = path;
	config.fcgi.socket_mode = (char *)"0640";
	config.fcgi.socket_group = (char *)"";
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir); /* nothing else was left in it */
}

static int can_connect(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	snprintf(to.sun_path, sizeof to.sun_path, "%s/fcgi.sock", dir);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int rc = connect(fd, (struct sockaddr *)&to, sizeof to);
	close(fd);
	return rc == 0;
}

static void test_socket_own(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct listener l;
	struct stat st;
	assert_int_equal(listener_open(&l, &config, &e), ERR_OK);
	assert_false(l.inherited);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_true(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
	assert_true(can_connect());
	listener_withdraw(&l);
	assert_int_equal(stat(path, &st), -1);
	int fd = accept(l.fd, NULL, NULL); /* what had connected before is still there */
	assert_true(fd >= 0);
	close(fd);
	listener_close(&l);
}

/* A second process takes the path over; the first one's end does not take it away. */
static void test_socket_takeover(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct listener old, fresh;
	assert_int_equal(listener_open(&old, &config, &e), ERR_OK);
	assert_int_equal(listener_open(&fresh, &config, &e), ERR_OK);
	listener_withdraw(&old);
	listener_close(&old);
	assert_true(can_connect());
	int fd = accept(fresh.fd, NULL, NULL);
	assert_true(fd >= 0);
	close(fd);
	/* A socket whose process has died is replaced too. */
	listener_close(&fresh);
	assert_false(can_connect());
	assert_int_equal(listener_open(&fresh, &config, &e), ERR_OK);
	assert_true(can_connect());
	listener_withdraw(&fresh);
	listener_close(&fresh);
}

static void test_socket_refuses(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct listener l;
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(listener_open(&l, &config, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "something that is not a socket is there"));
	assert_int_equal(l.fd, -1);
	unlink(path);
	char longest[160];
	memset(longest, 'a', sizeof longest);
	longest[0] = '/';
	longest[108] = '\0';
	config.fcgi.socket = longest;
	assert_int_equal(listener_open(&l, &config, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "more than 107 bytes"));
	snprintf(longest, sizeof longest, "%s/nowhere/x.sock", dir);
	assert_int_equal(listener_open(&l, &config, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "No such file or directory"));
	config.fcgi.socket = path;
	config.fcgi.socket_group = (char *)"no-such-group-here";
	assert_int_equal(listener_open(&l, &config, &e), ERR_INVALID);
	assert_string_equal(e.text, "fcgi.socket_group: no such group 'no-such-group-here'");
	config.fcgi.socket_group = (char *)"";
	assert_int_equal(access(path, F_OK), -1);
}

static void test_socket_inherited(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct listener mine, l;
	char pid[16];
	int saved = dup(3);
	assert_int_equal(listener_open(&mine, &config, &e), ERR_OK);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	if (mine.fd != 3)
		assert_int_equal(dup2(mine.fd, 3), 3);
	assert_int_equal(listener_open(&l, &config, &e), ERR_OK);
	assert_true(l.inherited);
	assert_int_equal(l.fd, 3);
	listener_withdraw(&l); /* not ours to remove */
	assert_true(can_connect());
	setenv("LISTEN_FDS", "2", 1);
	assert_int_equal(listener_open(&l, &config, &e), ERR_INVALID);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	listener_withdraw(&mine);
	listener_close(&mine);
	if (saved >= 0) {
		dup2(saved, 3);
		close(saved);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_socket_own),
	        cmocka_unit_test(test_socket_takeover),
	        cmocka_unit_test(test_socket_refuses),
	        cmocka_unit_test(test_socket_inherited),
	};
	return cmocka_run_group_tests_name("fcgi_socket", tests, setup, teardown);
}
