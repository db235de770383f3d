/* A growing byte buffer with a ceiling that its maker declares.
 *
 *   data ──┬───────── len bytes used ─────────┬── spare ──┐ cap      cap <= max; data[len] is always NUL
 *
 * A failed add (ceiling reached, no memory) adds nothing and makes the buffer `failed`; later adds fail too, so a
 * row of adds is checked once at its end with buf_ok; nomem then tells which of the two it was. Nothing here ends the
 * process. Thread rule: one thread at a time.
 */
#ifndef DB_BASE_BUF_H
#define DB_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"

struct buf {
	char *data; /* owned; NULL until the first add */
	size_t len;
	size_t cap;
	size_t max; /* most bytes it may hold, without the NUL */
	bool failed;
	bool nomem; /* it has failed for want of memory */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
/* Forgets the content and any failure, keeps the memory. */
void buf_reset(struct buf *b);

bool buf_add(struct buf *b, const void *bytes, size_t len);
bool buf_addstr(struct buf *b, const char *text);
bool buf_addc(struct buf *b, char c);
bool buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Big-endian integers, as network protocols want them. */
bool buf_add_be16(struct buf *b, uint16_t v);
bool buf_add_be32(struct buf *b, uint32_t v);
/* Makes room for len bytes and returns where to write them (the caller then adds to b->len), or NULL. */
char *buf_room(struct buf *b, size_t len);

static inline bool buf_ok(const struct buf *b)
{
	return !b->failed;
}

/* The content as a C string, "" when empty. Borrowed: valid until the next change. */
const char *buf_str(const struct buf *b);
/* Returns the content, owned by the caller (free), and leaves b empty; NULL when failed or out of memory. */
char *buf_take(struct buf *b);

#endif
