/* Writing JSON into a buffer. Commas come by themselves: a value or a name that follows another value gets one.
 *
 *   jout_open(b, '{'); jout_name(b, "id"); jout_text(b, id); jout_name(b, "n"); jout_i64(b, 3); jout_close(b, '}');
 *
 * Errors stay in the buffer (buf_ok). No state but the buffer; one thread at a time.
 */
#ifndef DB_FCGI_JSON_OUT_H
#define DB_FCGI_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"

void jout_open(struct buf *b, char bracket);
void jout_close(struct buf *b, char bracket);
/* name needs no escaping (it is ours) unless it is added by jout_name_text. */
void jout_name(struct buf *b, const char *name);
void jout_name_text(struct buf *b, const char *name);

/* Escapes; bytes that are no UTF-8 become U+FFFD. */
void jout_text(struct buf *b, const char *text);
void jout_text_len(struct buf *b, const char *text, size_t len);
void jout_i64(struct buf *b, int64_t v);
void jout_bool(struct buf *b, bool v);
void jout_null(struct buf *b);
/* A value that is JSON already. */
void jout_raw(struct buf *b, const char *json);

/* Name and value in one. */
void jout_field(struct buf *b, const char *name, const char *text);
void jout_field_i64(struct buf *b, const char *name, int64_t v);
/* RFC 3339; 0 is Go's zero time. */
void jout_field_time(struct buf *b, const char *name, int64_t ms);
/* RFC 3339; 0 is null. */
void jout_field_time_or_null(struct buf *b, const char *name, int64_t ms);

#endif
