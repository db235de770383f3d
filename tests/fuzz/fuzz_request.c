/* A request as nginx hands it on, up to the commands for Redis or the answer without them. Input: method, REQUEST_URI,
 * request id and body, 0xff between them.
 * The path's segments, encoded anew, read as the same; an answer has a status of ours, is JSON in the envelope, and its head
 * has one line a field; commands are whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi/counters.h"
#include "fcgi/job_request.h"
#include "fcgi/router.h"
#include "tests/fuzz/exchange.h"
#include "tests/fuzz/fuzz.h"

/* Decodes as RFC 3986 says, by itself; false: it cannot be. */
static bool decode(const char *text, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		char hex[3] = {0};
		if (text[i] != '%') {
			buf_addc(out, text[i]);
			continue;
		}
		if (len - i < 3)
			return false;
		memcpy(hex, text + i + 1, 2);
		if (strspn(hex, "0123456789abcdefABCDEF") != 2 || strcmp(hex, "00") == 0)
			return false;
		buf_addc(out, (char)strtol(hex, NULL, 16));
		i += 2;
	}
	return true;
}

static void check_segments(const struct request *r)
{
	struct buf whole;
	const char *at = r->uri;
	size_t end = strcspn(at, "?");
	buf_init(&whole, 1 << 20);
	for (size_t i = 0; i < r->n_segments && i < REQUEST_SEGMENTS_MAX; i++) {
		FUZZ_CHECK(*at == '/', "segment %zu", i);
		size_t len = strcspn(at + 1, "/?");
		buf_reset(&whole);
		FUZZ_CHECK(decode(at + 1, len, &whole) && strcmp(buf_str(&whole), r->segments[i]) == 0, "%s is %s",
		        buf_str(&whole), r->segments[i]);
		at += len + 1;
	}
	FUZZ_CHECK(r->n_segments >= REQUEST_SEGMENTS_MAX || at == r->uri + end || *at == '/', "%s", at);
	/* encoded anew */
	if (r->n_segments > 0 && r->n_segments <= REQUEST_SEGMENTS_MAX) {
		struct request again;
		struct err e = ERR_INIT;
		buf_reset(&whole);
		for (size_t i = 0; i < r->n_segments; i++) {
			buf_addc(&whole, '/');
			for (const char *p = r->segments[i]; *p; p++)
				buf_addf(&whole, "%%%02X", (unsigned char)*p);
		}
		if (!r->segments[r->n_segments - 1][0])
			buf_addc(&whole, '/'); /* the one at the end counts for nothing */
		request_init(&again, 10);
		enum err_code rc = request_set(&again, "GET", buf_str(&whole), NULL, &e);
		FUZZ_CHECK(rc == ERR_OK || whole.len > 16384, "%s", e.text);
		FUZZ_CHECK(rc != ERR_OK || again.n_segments == r->n_segments, "%s: %zu, %zu", buf_str(&whole),
		        again.n_segments, r->n_segments);
		for (size_t i = 0; rc == ERR_OK && i < r->n_segments; i++)
			FUZZ_CHECK(strcmp(again.segments[i], r->segments[i]) == 0, "%s", r->segments[i]);
		request_fini(&again);
	}
	buf_fini(&whole);
}

static void check_query(const struct request *r)
{
	static const char *const names[] = {"purge", "sql", "limit", "after"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct err e = ERR_INIT;
		bool flag = false;
		int64_t n = 7;
		char text[16] = "x";
		enum err_code rc = request_query_flag(r, names[i], &flag, &e);
		fuzz_check_err(rc, &e, false);
		rc = request_query_i64(r, names[i], 5, 10, &n, &e);
		fuzz_check_err(rc, &e, false);
		FUZZ_CHECK(n >= 5 && n <= 10, "%lld", (long long)n);
		rc = request_query_text(r, names[i], text, sizeof text, &e);
		FUZZ_CHECK(rc == ERR_OK || rc == ERR_INVALID, "code %d", rc);
		FUZZ_CHECK(memchr(text, '\0', sizeof text) && text[0], "no end");
		rc = request_query_text(r, names[i], text, 1, &e);
		FUZZ_CHECK(rc == ERR_INVALID || text[0], "%s", text);
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	struct exchange *x = fuzz_exchange();
	struct err e = ERR_INIT;
	char *method = fuzz_text(&in), *uri = fuzz_text(&in), *id = fuzz_text(&in);
	size_t len;
	char *body = fuzz_rest(&in, &len);
	if (!buf_add(&x->req.body, body, len))
		x->req.body_too_large = true;
	enum err_code rc = request_set(&x->req, method, uri, id, &e);
	fuzz_check_err(rc, &e, false);
	if (rc == ERR_OK) {
		check_segments(&x->req);
		check_query(&x->req);
	}
	enum step step = rc == ERR_OK ? router_ask(x) : exchange_fail(x, &e);
	fuzz_check_exchange(x, step);
	fuzz_exchange_end(x);
	free(method);
	free(uri);
	free(id);
	free(body);
}
