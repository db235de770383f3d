#include "fcgi/response.h"

#include "fcgi/json_out.h"

#define BODY_MAX_BYTES (64u << 20)
#define KEEP_BYTES 8192u
#define LEAST_BYTES 256u /* kept for the day when there is no memory: a 500 has room */

static const char type_json[] = "application/json; charset=utf-8";

void response_init(struct response *res)
{
	*res = (struct response){.status = 500, .content_type = type_json, .why = ERR_INIT};
	buf_init(&res->body, BODY_MAX_BYTES);
	(void)buf_room(&res->body, LEAST_BYTES);
}

void response_fini(struct response *res)
{
	buf_fini(&res->body);
}

void response_reset(struct response *res)
{
	if (res->body.cap > KEEP_BYTES) {
		buf_fini(&res->body);
		(void)buf_room(&res->body, LEAST_BYTES);
	}
	buf_reset(&res->body);
	res->status = 500;
	res->content_type = type_json;
	res->allow = 0;
	res->why.code = ERR_OK;
}

struct buf *response_begin(struct response *res)
{
	buf_reset(&res->body);
	res->status = 200;
	res->content_type = type_json;
	buf_addstr(&res->body, "{\"status\":\"success\",\"data\":");
	return &res->body;
}

void response_end(struct response *res)
{
	buf_addc(&res->body, '}');
}

int response_status_of(enum err_code code)
{
	switch (code) {
	case ERR_INVALID:
		return 400;
	case ERR_NOT_FOUND:
		return 404;
	case ERR_CONFLICT:
		return 409;
	case ERR_UNAVAILABLE:
	case ERR_TRANSIENT:
		return 503;
	default:
		return 500;
	}
}

void response_error_status(struct response *res, int status, const struct err *e)
{
	const char *text = status == 500 ? "internal error; the log tells the reason under this request's id" : e->text;
	res->status = status;
	res->content_type = type_json;
	res->why = *e;
	buf_reset(&res->body);
	buf_addstr(&res->body, "{\"status\":\"error\",\"message\":");
	jout_text(&res->body, text);
	buf_addstr(&res->body, ",\"data\":null}");
}

void response_error(struct response *res, const struct err *e)
{
	response_error_status(res, response_status_of(e->code), e);
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {{200, "OK"}, {400, "Bad Request"}, {404, "Not Found"}, {405, "Method Not Allowed"},
	        {409, "Conflict"}, {413, "Content Too Large"}, {500, "Internal Server Error"},
	        {503, "Service Unavailable"}};
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Error";
}

static void add_allow(unsigned allow, struct buf *out)
{
	static const struct {
		enum method method;
		const char *name;
	} names[] = {{METHOD_GET, "GET"}, {METHOD_HEAD, "HEAD"}, {METHOD_POST, "POST"}, {METHOD_DELETE, "DELETE"}};
	const char *between = "Allow: ";
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!(allow & names[i].method))
			continue;
		buf_addstr(out, between);
		buf_addstr(out, names[i].name);
		between = ", ";
	}
	buf_addstr(out, "\r\n");
}

static void add_number(size_t v, struct buf *out)
{
	char digits[20];
	size_t at = sizeof digits;
	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	buf_add(out, digits + at, sizeof digits - at);
}

void response_head(const struct response *res, const struct request *req, struct buf *out)
{
	buf_reset(out);
	buf_addstr(out, "Status: ");
	add_number((size_t)res->status, out);
	buf_addc(out, ' ');
	buf_addstr(out, reason(res->status));
	buf_addstr(out, "\r\nContent-Type: ");
	buf_addstr(out, res->content_type);
	buf_addstr(out, "\r\nContent-Length: ");
	add_number(res->body.len, out);
	buf_addstr(out, "\r\nCache-Control: no-store\r\n");
	if (req->id[0]) {
		buf_addstr(out, "X-Request-Id: ");
		buf_addstr(out, req->id);
		buf_addstr(out, "\r\n");
	}
	if (res->status == 503)
		buf_addstr(out, "Retry-After: 1\r\n");
	if (res->allow)
		add_allow(res->allow, out);
	buf_addstr(out, "\r\n");
}
