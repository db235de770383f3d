#include "shared/db/ch_http.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/db/ch_error.h"

#define ROWS_AHEAD (512 << 10) /* bytes that are read ahead of whoever takes the rows */
#define LINE_MAX_BYTES ((size_t)1 << 30)
#define TEXT_MAX (16 << 10) /* bytes of an error's text that are kept */
#define READ_SIZE (128L << 10)
#define DEAD_PEER_MS 30000 /* a peer that confirms nothing for so long is gone */

struct ch_http {
	const struct ch_url *url;
	const char *password;
	int64_t connect_timeout_ms;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	bool added; /* easy is in multi: a request runs, or was the last */
	bool ended, paused, discarding, too_long;
	CURLcode result;
	char failure[CURL_ERROR_SIZE];
	struct ch_head head;
	struct ch_tsv rows;
	struct buf text, address;

	pthread_mutex_t lock; /* guards what is below, which ch_http_interrupt reads */
	int fd;               /* of the connection that was opened last; -1: none is open */
	bool answering;       /* the head of the answer has come, its end has not */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- what curl calls --- */

static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
	struct ch_http *h = ctx;
	n *= size;
	if (h->discarding)
		return n;
	if (h->head.status != 200) {
		size_t left = h->text.max - h->text.len;
		buf_add(&h->text, data, n < left ? n : left);
		return n;
	}
	if (ch_tsv_has_line(&h->rows) && h->rows.end - h->rows.at >= ROWS_AHEAD) {
		h->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	h->too_long = !ch_tsv_add(&h->rows, data, n);
	return h->too_long ? 0 : n;
}

/* Is it the header of that name? Then its value. */
static bool header_is(const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
	size_t n = strlen(name);
	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return false;
	const char *at = line + n + 1, *end = line + len;
	while (at < end && *at == ' ')
		at++;
	while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
		end--;
	*value = at;
	*value_len = (size_t)(end - at);
	return true;
}

static void set_answering(struct ch_http *h, bool on)
{
	pthread_mutex_lock(&h->lock);
	h->answering = on;
	pthread_mutex_unlock(&h->lock);
}

static size_t take_header(char *line, size_t size, size_t n, void *ctx)
{
	static const char tsv[] = "text/tab-separated-values";
	struct ch_http *h = ctx;
	const char *value;
	size_t len;
	n *= size;
	if (n > 5 && memcmp(line, "HTTP/", 5) == 0) {
		h->head = (struct ch_head){.status = 0};
		curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->head.status);
		set_answering(h, true);
	} else if (header_is(line, n, "Content-Type", &value, &len)) {
		h->head.tsv = len >= sizeof tsv - 1 && memcmp(value, tsv, sizeof tsv - 1) == 0;
	} else if (header_is(line, n, "X-ClickHouse-Exception-Tag", &value, &len)) {
		h->head.tagged = true;
	} else if (header_is(line, n, "X-ClickHouse-Format", &value, &len)) {
		h->head.names_format = true;
		h->head.right_format = len == strlen(CH_FORMAT) && memcmp(value, CH_FORMAT, len) == 0;
	}
	return n;
}

static int tune_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
	struct ch_http *h = ctx;
	(void)purpose;
	unsigned ms = DEAD_PEER_MS;
	pthread_mutex_lock(&h->lock);
	h->fd = fd;
	pthread_mutex_unlock(&h->lock);
	/* Where the system does not know it, the keepalives remain. */
	int ignored = setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
	(void)ignored;
	return CURL_SOCKOPT_OK;
}

static int close_socket(void *ctx, curl_socket_t fd)
{
	struct ch_http *h = ctx;
	pthread_mutex_lock(&h->lock);
	if (h->fd == fd)
		h->fd = -1;
	pthread_mutex_unlock(&h->lock);
	return close(fd);
}

/* --- life --- */

static bool add_header(struct ch_http *h, const char *name, const char *value)
{
	struct buf line;
	buf_init(&line, 64 << 10);
	/* With a semicolon curl sends a header that is empty; with a colon it would not send it. */
	buf_addf(&line, "%s%s%s", name, value[0] ? ": " : ";", value);
	struct curl_slist *more = buf_ok(&line) ? curl_slist_append(h->headers, buf_str(&line)) : NULL;
	buf_fini(&line);
	if (!more)
		return false;
	h->headers = more;
	return true;
}

static bool add_headers(struct ch_http *h)
{
	struct curl_slist *bare = curl_slist_append(NULL, "Expect:"); /* no waiting for "100 Continue" */
	if (!bare)
		return false;
	h->headers = bare;
	const char *password = h->password ? h->password : h->url->password;
	return add_header(h, "Content-Type", "text/plain; charset=UTF-8") &&
	        (!h->url->user || add_header(h, "X-ClickHouse-User", h->url->user)) &&
	        (!password || add_header(h, "X-ClickHouse-Key", password));
}

static void set_up(struct ch_http *h)
{
	CURL *c = h->easy;
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, h->url->https ? "https" : "http");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, h->url->insecure ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, h->url->insecure ? 0L : 2L);
	if (h->url->ca)
		curl_easy_setopt(c, CURLOPT_CAINFO, h->url->ca);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)h->connect_timeout_ms);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPIDLE, 10L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPINTVL, 5L);
	curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, tune_socket);
	curl_easy_setopt(c, CURLOPT_SOCKOPTDATA, h);
	curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, h);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, READ_SIZE);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->failure);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
}

struct ch_http *ch_http_new(const struct ch_url *url, const char *password, int64_t connect_timeout_ms)
{
	pthread_once(&once, init_curl);
	struct ch_http *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->url = url;
	h->password = password;
	h->connect_timeout_ms = connect_timeout_ms;
	h->fd = -1;
	pthread_mutex_init(&h->lock, NULL);
	ch_tsv_init(&h->rows, LINE_MAX_BYTES);
	buf_init(&h->text, TEXT_MAX);
	buf_init(&h->address, 64 << 10);
	h->ended = true;
	h->multi = curl_multi_init();
	h->easy = curl_easy_init();
	if (!h->multi || !h->easy || !add_headers(h)) {
		ch_http_free(h);
		return NULL;
	}
	set_up(h);
	return h;
}

void ch_http_free(struct ch_http *h)
{
	if (!h)
		return;
	ch_http_drop(h);
	curl_easy_cleanup(h->easy);
	curl_multi_cleanup(h->multi);
	curl_slist_free_all(h->headers);
	ch_tsv_fini(&h->rows);
	buf_fini(&h->text);
	buf_fini(&h->address);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* --- a request --- */

void ch_http_param(struct buf *params, const char *name, const char *value)
{
	const char *const parts[] = {name, value};
	for (int i = 0; i < 2; i++) {
		buf_addc(params, i ? '=' : '&');
		for (const char *p = parts[i]; *p; p++) {
			char c = *p;
			bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
			        c == '-' || c == '.';
			if (plain)
				buf_addc(params, c);
			else
				buf_addf(params, "%%%02X", (unsigned)(unsigned char)c);
		}
	}
}

void ch_http_drop(struct ch_http *h)
{
	if (h->added)
		curl_multi_remove_handle(h->multi, h->easy);
	h->added = false;
	h->ended = true;
	set_answering(h, false);
	ch_tsv_reset(&h->rows);
}

enum err_code ch_http_send(struct ch_http *h, const struct buf *params, const char *body, size_t len, struct err *e)
{
	ch_http_drop(h);
	buf_reset(&h->address);
	buf_addf(&h->address, "%s://%s%s%s:%d/?default_format=" CH_FORMAT "%s", h->url->https ? "https" : "http",
	        h->url->ipv6 ? "[" : "", h->url->host, h->url->ipv6 ? "]" : "", h->url->port, buf_str(params));
	if (h->address.nomem || params->nomem)
		return err_nomem(e);
	if (!buf_ok(&h->address) || !buf_ok(params))
		return err_set(e, ERR_PERMANENT, "the dsn's parameters are too long");
	buf_reset(&h->text);
	h->head = (struct ch_head){.status = 0};
	h->failure[0] = '\0';
	h->result = CURLE_OK;
	h->ended = h->paused = h->discarding = h->too_long = false;
	curl_easy_setopt(h->easy, CURLOPT_URL, buf_str(&h->address));
	curl_easy_setopt(h->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(h->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	if (curl_multi_add_handle(h->multi, h->easy) != CURLM_OK) {
		h->ended = true;
		return err_nomem(e);
	}
	h->added = true;
	return ERR_OK;
}

static void perform(struct ch_http *h)
{
	int running = 0, left = 0;
	if (h->paused) {
		h->paused = false;
		curl_easy_pause(h->easy, CURLPAUSE_CONT);
	}
	CURLMcode rc = curl_multi_perform(h->multi, &running);
	const CURLMsg *m = curl_multi_info_read(h->multi, &left);
	if (m && m->msg == CURLMSG_DONE) {
		h->ended = true;
		h->result = m->data.result;
	} else if (rc != CURLM_OK) {
		h->ended = true;
		h->result = CURLE_OUT_OF_MEMORY;
	}
	if (h->ended)
		set_answering(h, false);
}

void ch_http_move(struct ch_http *h, int timeout_ms)
{
	if (h->ended)
		return;
	perform(h);
	if (h->ended || ch_tsv_has_line(&h->rows))
		return;
	curl_multi_poll(h->multi, NULL, 0, timeout_ms < 0 ? 60000 : timeout_ms, NULL);
	perform(h);
}

bool ch_http_ended(const struct ch_http *h)
{
	return h->ended;
}

enum err_code ch_http_result(const struct ch_http *h, struct err *e)
{
	const char *why = h->failure[0] ? h->failure : curl_easy_strerror(h->result);
	switch (h->result) {
	case CURLE_OK:
		return ERR_OK;
	case CURLE_OUT_OF_MEMORY:
		return err_nomem(e);
	case CURLE_WRITE_ERROR:
		if (h->rows.nomem)
			return err_nomem(e);
		if (h->too_long)
			return err_set(e, ERR_PERMANENT, "a row of the result is longer than 1 GiB");
		return err_set(e, ERR_TRANSIENT, "connection lost: %s", why);
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
		return err_set(e, ERR_UNAVAILABLE, "cannot connect: %s", why);
	default:
		return err_set(e, ERR_TRANSIENT, "connection lost: %s", why);
	}
}

struct ch_tsv *ch_http_rows(struct ch_http *h)
{
	return &h->rows;
}

const struct buf *ch_http_text(const struct ch_http *h)
{
	return &h->text;
}

const struct ch_head *ch_http_head(const struct ch_http *h)
{
	return &h->head;
}

void ch_http_discard(struct ch_http *h)
{
	h->discarding = true;
	ch_tsv_reset(&h->rows);
}

bool ch_http_alive(const struct ch_http *h)
{
	curl_socket_t fd = CURL_SOCKET_BAD;
	if (!h->added || !h->ended || h->result != CURLE_OK ||
	        curl_easy_getinfo(h->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
		return false;
	/* An idle connection has nothing to say, unless it is to say good-bye. */
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
	return poll(&p, 1, 0) == 0;
}

/* Resets the connection (connect(2): AF_UNSPEC dissolves it). After a shutdown a server whose answer has filled the window
 * would go on waiting for room, deaf to KILL QUERY, until the descriptor's owner, who may wait for a sink, closes it. */
static void cut(int fd)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	if (connect(fd, &nobody, sizeof nobody) != 0)
		shutdown(fd, SHUT_RDWR);
}

void ch_http_interrupt(struct ch_http *h)
{
	curl_multi_wakeup(h->multi);
	pthread_mutex_lock(&h->lock);
	if (h->answering && h->fd >= 0)
		cut(h->fd);
	pthread_mutex_unlock(&h->lock);
}

enum err_code ch_http_run(
        struct ch_http *h, const struct buf *params, const char *sql, int64_t timeout_ms, struct err *e)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	enum err_code rc = ch_http_send(h, params, sql, strlen(sql), e);
	while (rc == ERR_OK && !h->ended) {
		int64_t left = deadline - clock_mono_ms();
		if (left <= 0) {
			ch_http_drop(h);
			return err_set(e, ERR_TRANSIENT, "no answer within %lld ms", (long long)timeout_ms);
		}
		perform(h);
		if (!h->ended)
			curl_multi_poll(h->multi, NULL, 0, (int)left, NULL);
	}
	if (rc == ERR_OK)
		rc = ch_http_result(h, e);
	if (rc == ERR_OK && h->head.status != 200)
		rc = ch_error_set(e, h->head.status, buf_str(&h->text), h->text.len);
	return rc;
}
