/* Reading JSON: json-c and nothing else of the FastCGI process knows it.
 *
 * Stricter than json-c: before it sees the text, what it would take or bend silently is refused: numbers that are no JSON
 * or integers beyond 64 bits (it saturates them), NaN, raw control characters, invalid UTF-8. Of a name that comes twice
 * the last one counts.
 * Thread rule: one reader per thread; values are borrowed from their document, which jin_free frees.
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

struct jin_reader *jin_reader_new(int max_depth); /* NULL: no memory */
void jin_reader_free(struct jin_reader *r);

/* Reads one document. text[len] must be NUL. ERR_INVALID: e says what is wrong at which byte. *out is owned. */
enum err_code MUST_CHECK jin_read(struct jin_reader *r, const char *text, size_t len, struct jin **out, struct err *e);
void jin_free(struct jin *document);

/* A missing value (NULL) is a JIN_NULL. */
enum jin_kind jin_kind(const struct jin *v);
const char *jin_kind_name(enum jin_kind kind); /* "a string", ... */
const struct jin *jin_field(const struct jin *object, const char *name);
size_t jin_count(const struct jin *array);
const struct jin *jin_item(const struct jin *array, size_t i);

/* The content of a JIN_TEXT (may hold NUL bytes); the digits of a number as they were written. NUL-terminated. NULL: no
 * memory, but not of a JIN_TEXT or a JIN_NULL. */
const char *jin_text(const struct jin *v, size_t *len);
bool jin_true(const struct jin *v);

#endif
