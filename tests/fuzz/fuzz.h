/* What the fuzz targets share. A target is one file fuzz_<name>.c with fuzz_one; it says in its head how it reads its input
 * and what must hold. It is linked twice: with libFuzzer (make fuzz), and with standalone.c, whose main runs the kept
 * corpus and a few thousand mutations of it (make test, in every flavour).
 *
 * Thread rule: one thread. Nothing is kept from one input to the next but what a target makes once.
 */
#ifndef DB_TESTS_FUZZ_H
#define DB_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/config/config.h"

/* The target. Ends the process (FUZZ_CHECK) when something does not hold. */
void fuzz_one(const uint8_t *data, size_t size);

/* Says what does not hold and aborts, which libFuzzer and standalone.c take for a finding. */
#define FUZZ_CHECK(holds, ...) \
	do { \
		if (!(holds)) \
			fuzz_fail(__FILE__, __LINE__, #holds, __VA_ARGS__); \
	} while (0)
void fuzz_fail(const char *file, int line, const char *claim, const char *fmt, ...) PRINTF_LIKE(4, 5)
        __attribute__((noreturn));

/* --- the input, taken from its beginning --- */

struct fuzz_in {
	const uint8_t *at;
	size_t left;
};

unsigned fuzz_byte(struct fuzz_in *in); /* 0 behind the end */
int64_t fuzz_i64(struct fuzz_in *in);   /* eight bytes, fewer at the end */
/* The bytes up to the next byte 0xff, which is dropped (no UTF-8 has it), or all that is left. A copy of exactly these bytes
 * and a NUL, so that a sanitizer sees who reads beyond; owned by the caller. */
char *fuzz_part(struct fuzz_in *in, size_t *len);
/* All that is left, in the same way. */
char *fuzz_rest(struct fuzz_in *in, size_t *len);
/* A copy of len bytes without anything behind them. */
char *fuzz_copy(const void *bytes, size_t len);
/* The same for a text, which ends at the first NUL of the part. */
char *fuzz_text(struct fuzz_in *in);

/* --- what holds everywhere --- */

/* rc and e agree; the text is one line of UTF-8 without control characters, and not empty unless may_be_silent. */
void fuzz_check_err(enum err_code rc, const struct err *e, bool may_be_silent);
bool fuzz_is_utf8(const char *text, size_t len);
/* Reads JSON as RFC 8259 has it, on its own. */
struct fuzz_json {
	bool valid;
	int depth;      /* of arrays and objects in each other */
	bool huge;      /* an integer beyond 64 bits stands in it */
	size_t strings; /* names and texts */
};
struct fuzz_json fuzz_read_json(const char *text, size_t len);
/* Is it JSON for json-c too? Both must agree on what this project writes. */
void fuzz_check_json(const char *text, size_t len);

/* --- a configuration and tasks --- */

/* Three sources, one an engine: ledger, my, ch; results databases reports and more. Constant, never freed. */
const struct config *fuzz_config(void);
struct task_set;
/* A few tasks of that configuration, read from a file that is gone again. */
const struct task_set *fuzz_tasks(void);

#endif
