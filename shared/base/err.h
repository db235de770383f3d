/* Errors: one code that names what to do next, and one bounded text for a person.
 *
 * A function that can fail returns an enum err_code and, where a person will read the reason, fills a caller-owned
 * struct err. Who returns an error does not log it: the boundary (a handler, the end of a run, main) logs it once.
 * Thread rule: no shared state; a struct err belongs to one thread.
 */
#ifndef DB_BASE_ERR_H
#define DB_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err_code {
	ERR_OK = 0,
	ERR_INVALID,     /* the input is wrong and nothing was changed: HTTP 400, exit 2 */
	ERR_NOT_FOUND,   /* no such thing: HTTP 404 */
	ERR_CONFLICT,    /* the thing is in a state that forbids this: HTTP 409 */
	ERR_UNAVAILABLE, /* a server cannot be used now; nothing is wrong with the job: HTTP 503, wait and run again */
	ERR_TRANSIENT,   /* this run failed, another may succeed: costs one of the job's retries */
	ERR_PERMANENT,   /* another run would fail in the same way */
	ERR_CANCELLED,   /* somebody asked for it to stop */
	ERR_LOST,        /* the run is no longer current: touch nothing any more */
	ERR_BUSY,        /* as many as may be are at it already: wait for your turn */
	ERR_NOMEM,       /* an allocation failed */
};

struct err {
	enum err_code code;
	bool quotes;    /* the text may quote the job's values: for the job's owner, not for a log */
	char text[600]; /* NUL-terminated UTF-8, one line, never holds a password; empty when code is ERR_OK */
};

#define ERR_INIT ((struct err){.code = ERR_OK})

/* Sets e (which may be NULL) and returns code, so that `return err_set(e, ERR_INVALID, "...")` is one line.
 * Control characters become spaces, what is no UTF-8 question marks; a text that is too long is cut at a character's
 * border and ends in "...". */
enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
enum err_code err_vset(struct err *e, enum err_code code, const char *fmt, va_list args);

/* Puts "prefix: " before the text that e holds already; keeps and returns its code. */
enum err_code err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ERR_NOMEM with its standing text. Inline, so that static analysis sees which code comes back. */
static inline enum err_code err_nomem(struct err *e)
{
	err_set(e, ERR_NOMEM, "out of memory");
	return ERR_NOMEM;
}

/* The text of an errno value, written into out (at least 64 bytes); thread-safe; returns out. */
const char *err_errno(int errnum, char *out, unsigned long size);

#endif
