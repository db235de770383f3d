/* Is it UTF-8? Pure; any thread. */
#ifndef DB_BASE_UTF8_H
#define DB_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character at p (1 to 4), or 0 when no valid one stands there: an overlong form, a surrogate, a value above
 * U+10FFFF, or one that left bytes do not complete. */
size_t utf8_char(const char *p, size_t left);

#endif
