/* Reading JSON (RFC 8259), in one pass and into memory that the reader keeps.
 *
 * Not json-c, which the worker uses: some 30 allocations and a locale a document cost a tenth of what the FastCGI process
 * has to do for a job, and json-c takes or bends silently what must be refused here (numbers that are no JSON, integers
 * beyond 64 bits, raw control characters, invalid UTF-8), so that the text had to be read twice; without memory json-c 0.16 may crash. It is what the fuzz
 * target and the unit tests compare this with.
 *
 * Of a name that comes twice the last one counts. An escaped surrogate without its other half becomes U+FFFD.
 * Thread rule: one reader per thread. Values are borrowed from their reader, until its next jin_read, jin_done or its end.
 */
#ifndef DB_FCGI_JSON_IN_H
#define DB_FCGI_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"

enum jin_kind { JIN_NULL, JIN_BOOL, JIN_INTEGER, JIN_DECIMAL, JIN_TEXT, JIN_ARRAY, JIN_OBJECT };

struct jin; /* a value; the document is its outermost one */
struct jin_reader;

/* max_depth: how many values may stand in one another, the document itself being the first. NULL: no memory. */
struct jin_reader *jin_reader_new(int max_depth);
void jin_reader_free(struct jin_reader *r);

/* Reads one document. text[len] must be NUL; nothing points into it afterwards. ERR_INVALID: e says what is wrong at which
 * byte. ERR_TRANSIENT: no memory. *out is borrowed, NULL after an error. */
enum err_code MUST_CHECK jin_read(
        struct jin_reader *r, const char *text, size_t len, const struct jin **out, struct err *e);
/* The document is not needed any more: gives back what a large one took. */
void jin_done(struct jin_reader *r);

/* A missing value (NULL) is a JIN_NULL. */
enum jin_kind jin_kind(const struct jin *v);
const char *jin_kind_name(enum jin_kind kind); /* "a string", ... */
const struct jin *jin_field(const struct jin *object, const char *name);

/* An array's items: jin_first, then jin_next, jin_count times in all. */
size_t jin_count(const struct jin *array);
const struct jin *jin_first(const struct jin *array);
const struct jin *jin_next(const struct jin *item);

/* The content of a JIN_TEXT (may hold NUL bytes); the digits of a number as they were written; else "". NUL-terminated. */
const char *jin_text(const struct jin *v, size_t *len);
bool jin_true(const struct jin *v);

#endif
