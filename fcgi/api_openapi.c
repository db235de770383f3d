#include "fcgi/handlers.h"
#include "fcgi/openapi.h"

enum step openapi_ask(struct exchange *x)
{
	buf_reset(&x->res.body);
	buf_addstr(&x->res.body, openapi_yaml);
	x->res.status = 200;
	x->res.content_type = "application/yaml"; /* UTF-8 without saying so (RFC 9512) */
	return STEP_DONE;
}
