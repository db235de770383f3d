/* The grammar of a FastCGI request, as nginx sends it: looked at before libfcgi sees the bytes.
 *
 *   BEGIN_REQUEST (responder)  PARAMS ... PARAMS(empty)  STDIN ... STDIN(empty)      all of one request id
 *
 * libfcgi 2.4.2 trusts its peer: lengths of a parameter near 2^31 abort the process, and a GET_VALUES record that names a
 * variable often writes beyond a buffer on the stack. So whatever is not of the form above is refused: management
 * records, ABORT, other roles, records of another request (libfcgi cannot interleave them either), parameters of more than
 * GUARD_PARAMS_MAX bytes, padding behind an empty record (libfcgi would take it for a header).
 * Pure; one thread at a time.
 */
#ifndef DB_FCGI_GUARD_H
#define DB_FCGI_GUARD_H

#include <stddef.h>

#define GUARD_PARAMS_MAX (1u << 20) /* of one request; nginx sends some hundred bytes, and the client's headers */

enum guard_state { GUARD_BEGIN, GUARD_PARAMS, GUARD_STDIN, GUARD_DONE, GUARD_REFUSED };

struct guard {
	enum guard_state state;
	const char *why; /* it is refused; static */

	unsigned char head[8]; /* of the record */
	size_t n_head;
	unsigned id;             /* of the request */
	size_t content, padding; /* bytes of the record still to come */

	unsigned char lengths[8]; /* of a parameter's name and value: one or four bytes each */
	size_t n_lengths;
	size_t pair;   /* bytes of name and value still to come */
	size_t params; /* bytes of all */
};

/* Ready for a request. */
void guard_reset(struct guard *g);

/* Takes the next n bytes of the connection. Returns how many of them belong to the request: less than n only when
 * it has ended within them (GUARD_DONE); 0 when they break the grammar (GUARD_REFUSED), now and from then on. */
size_t guard_feed(struct guard *g, const unsigned char *bytes, size_t n);

#endif
