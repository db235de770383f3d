#include "fcgi/request.h"

#include <inttypes.h>
#include <string.h>

#include "shared/base/parse.h"

#define PATH_MAX_BYTES 16384u
/* A buffer that has grown beyond this gives its memory back after the request. */
#define KEEP_BYTES 8192u

void request_init(struct request *r, size_t max_body)
{
	*r = (struct request){.method_name = "", .uri = "", .query = ""};
	buf_init(&r->path, PATH_MAX_BYTES);
	buf_init(&r->body, max_body);
}

void request_fini(struct request *r)
{
	buf_fini(&r->path);
	buf_fini(&r->body);
}

void request_reset(struct request *r)
{
	if (r->body.cap > KEEP_BYTES)
		buf_fini(&r->body);
	buf_reset(&r->body);
	buf_reset(&r->path);
	r->method = METHOD_OTHER;
	r->method_name = r->uri = r->query = "";
	r->id[0] = '\0';
	r->n_segments = 0;
	r->body_too_large = r->body_cut = false;
}

static enum method method_of(const char *name)
{
	static const struct {
		const char *name;
		enum method method;
	} names[] = {{"GET", METHOD_GET}, {"POST", METHOD_POST}, {"DELETE", METHOD_DELETE}, {"HEAD", METHOD_HEAD}};
	for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i].name) == 0)
			return names[i].method;
	return METHOD_OTHER;
}

/* An id that somebody sent goes into headers and logs only when it is harmless there. */
static void set_id(struct request *r, const char *id)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-";
	size_t len = id ? strlen(id) : 0;
	if (len == 0 || len > REQUEST_ID_MAX || strspn(id, allowed) != len)
		return;
	memcpy(r->id, id, len + 1);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes the percent-encoding of [from, to) into out; false when it is broken, or hides a NUL. */
static bool decode(const char *from, const char *to, bool plus_is_space, struct buf *out)
{
	for (const char *p = from, *plain; p < to; p++) {
		for (plain = p; p < to && *p != '%' && (*p != '+' || !plus_is_space); p++)
			;
		if (p > plain)
			buf_add(out, plain, (size_t)(p - plain));
		if (p == to)
			break;
		if (*p == '+') {
			buf_addc(out, ' ');
			continue;
		}
		int high = to - p > 2 ? hex_digit(p[1]) : -1;
		int low = high >= 0 ? hex_digit(p[2]) : -1;
		if (low < 0 || high + low == 0)
			return false;
		buf_addc(out, (char)(high << 4 | low));
		p += 2;
	}
	return buf_ok(out);
}

/* Cuts the path [from, to) into its decoded segments; a slash at its end counts for nothing. */
static bool split_path(struct request *r, const char *from, const char *to)
{
	size_t starts[REQUEST_SEGMENTS_MAX] = {0}, n = 0;
	if (to - from > 1 && to[-1] == '/')
		to--;
	r->n_segments = 0;
	for (const char *p = from; p < to;) {
		const char *begin = p + 1; /* behind the slash */
		const char *end = memchr(begin, '/', (size_t)(to - begin));
		if (!end)
			end = to;
		if (begin == to && n == 0)
			break; /* "/" */
		if (n < REQUEST_SEGMENTS_MAX)
			starts[n] = r->path.len;
		n++;
		if (!decode(begin, end, false, &r->path) || !buf_addc(&r->path, '\0'))
			return false;
		p = end;
	}
	r->n_segments = n;
	for (size_t i = 0; i < n && i < REQUEST_SEGMENTS_MAX; i++)
		r->segments[i] = r->path.data + starts[i];
	return true;
}

enum err_code request_set(struct request *r, const char *method, const char *uri, const char *id, struct err *e)
{
	r->method = method_of(method);
	r->method_name = method ? method : "";
	r->uri = uri ? uri : "";
	set_id(r, id);
	const char *mark = strchr(r->uri, '?');
	r->query = mark ? mark + 1 : "";
	const char *end = mark ? mark : r->uri + strlen(r->uri);
	if (r->uri[0] != '/')
		return err_set(e, ERR_INVALID, "the path of the URL must begin with /");
	if (split_path(r, r->uri, end))
		return ERR_OK;
	if (r->path.nomem)
		return err_nomem(e);
	if (!buf_ok(&r->path))
		return err_set(e, ERR_INVALID, "the path of the URL is longer than %u bytes", PATH_MAX_BYTES);
	return err_set(e, ERR_INVALID, "the percent-encoding of the URL's path is broken");
}

enum err_code request_query_text(const struct request *r, const char *name, char *out, size_t size, struct err *e)
{
	size_t name_len = strlen(name);
	for (const char *p = r->query; *p;) {
		const char *end = strchrnul(p, '&');
		const char *mark = memchr(p, '=', (size_t)(end - p));
		if (mark && (size_t)(mark - p) == name_len && memcmp(p, name, name_len) == 0) {
			struct buf value;
			buf_init(&value, size - 1);
			bool ok = decode(mark + 1, end, true, &value);
			if (ok && value.len > 0)
				memcpy(out, value.data, value.len + 1);
			bool nomem = value.nomem;
			buf_fini(&value);
			if (nomem)
				return err_nomem(e);
			return ok
			        ? ERR_OK
			        : err_set(e, ERR_INVALID, "parameter '%s' is too long or its encoding is broken", name);
		}
		p = *end ? end + 1 : end;
	}
	return ERR_OK;
}

enum err_code request_query_flag(const struct request *r, const char *name, bool *out, struct err *e)
{
	char text[8] = "";
	enum err_code rc = request_query_text(r, name, text, sizeof text, e);
	size_t len = strlen(text);
	if (rc != ERR_OK || len == 0)
		return rc;
	if (len == 1 && (text[0] == '1' || text[0] == '0')) {
		*out = text[0] == '1';
		return ERR_OK;
	}
	if (parse_bool(text, len, out))
		return ERR_OK;
	return err_set(e, ERR_INVALID, "parameter '%s': expected true or false", name);
}

enum err_code request_query_i64(
        const struct request *r, const char *name, int64_t min, int64_t max, int64_t *out, struct err *e)
{
	char text[24] = "";
	enum err_code rc = request_query_text(r, name, text, sizeof text, e);
	if (rc != ERR_OK || text[0] == '\0' || parse_i64(text, strlen(text), min, max, out))
		return rc;
	return err_set(
	        e, ERR_INVALID, "parameter '%s': expected a whole number from %" PRId64 " to %" PRId64, name, min, max);
}
