/* Lets every allocation of a piece of work fail in its turn, by standing in for malloc: those of the libraries and of libc
 * too. Below it is glibc's malloc, or AddressSanitizer's, which then still sees each access. For one source file of a test
 * program. Thread rule: one thread.
 *
 *   static enum err_code load(void *ctx, struct err *e) { ... does it once, and frees what it made ... }
 *   nomem_each("a load", load, &ctx);
 *
 * With the nth allocation refused, for n = 0, 1, ... until there is no nth: the work ends well (whoever asked could do
 * without), or as ERR_NOMEM with its standing text; nothing that it made is left; and it can be done again right then, to
 * which nomem_each sees. No assertions within the work: it says what is wrong by nomem_wrong.
 */
#ifndef DB_TESTS_NOMEM_H
#define DB_TESTS_NOMEM_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/base/err.h"

/* --- in the place of malloc --- */

#if defined(__SANITIZE_ADDRESS__)
#define NOMEM_BELOW(name) __interceptor_##name
#else
#define NOMEM_BELOW(name) __libc_##name
#endif
void *NOMEM_BELOW(malloc)(size_t size);
void *NOMEM_BELOW(calloc)(size_t n, size_t size);
void *NOMEM_BELOW(realloc)(void *p, size_t size);
void NOMEM_BELOW(free)(void *p);

/* They are called before the sanitizer's runtime is ready. */
#define NOMEM_EARLY __attribute__((no_sanitize_thread))

static struct {
	bool armed;     /* count, and refuse the one whose turn it is */
	bool spared;    /* count, but refuse none */
	long countdown; /* allocations until the one that is refused; below 0: it has been */
	long live;      /* blocks that were made while armed and not freed */
	const char *wrong;
} nomem;

NOMEM_EARLY static bool nomem_refuses(void)
{
	if (!nomem.armed || nomem.spared || nomem.countdown-- != 0)
		return false;
	errno = ENOMEM;
	return true;
}

NOMEM_EARLY static void *nomem_counted(void *p)
{
	if (nomem.armed && p)
		nomem.live++;
	return p;
}

NOMEM_EARLY void *malloc(size_t size)
{
	return nomem_refuses() ? NULL : nomem_counted(NOMEM_BELOW(malloc)(size));
}

NOMEM_EARLY void *calloc(size_t n, size_t size)
{
	return nomem_refuses() ? NULL : nomem_counted(NOMEM_BELOW(calloc)(n, size));
}

NOMEM_EARLY void *realloc(void *p, size_t size)
{
	if (nomem_refuses())
		return NULL;
	return p ? NOMEM_BELOW(realloc)(p, size) : nomem_counted(NOMEM_BELOW(malloc)(size));
}

NOMEM_EARLY void *reallocarray(void *p, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, n * size);
}

NOMEM_EARLY void free(void *p)
{
	if (nomem.armed && p)
		nomem.live--;
	NOMEM_BELOW(free)(p);
}

/* The sanitizers have these two of their own, which would go round the ones above. */
NOMEM_EARLY char *strndup(const char *text, size_t most)
{
	size_t len = strnlen(text, most);
	char *copy = malloc(len + 1);
	if (copy) {
		memcpy(copy, text, len);
		copy[len] = '\0';
	}
	return copy;
}

NOMEM_EARLY char *strdup(const char *text)
{
	return strndup(text, SIZE_MAX);
}

/* --- the work --- */

typedef enum err_code (*nomem_work)(void *ctx, struct err *e);

/* Called within the work: what it sees is not as it should be. The text is static. */
static inline void nomem_wrong(const char *what)
{
	if (!nomem.wrong)
		nomem.wrong = what;
}

/* Around what is no part of the work, and neither counted nor refused. */
static inline bool nomem_pause(void)
{
	bool armed = nomem.armed;
	nomem.armed = false;
	return armed;
}

static inline void nomem_resume(bool armed)
{
	nomem.armed = armed;
}

/* The work once, undisturbed. */
static inline void nomem_once(const char *name, nomem_work work, void *ctx)
{
	struct err e = ERR_INIT;
	nomem.wrong = NULL;
	enum err_code rc = work(ctx, &e);
	if (rc != ERR_OK || nomem.wrong)
		fail_msg("%s: code %d, %s%s", name, (int)rc, e.text, nomem.wrong ? nomem.wrong : "");
}

static inline void nomem_each(const char *name, nomem_work work, void *ctx)
{
	nomem_once(name, work, ctx); /* what is made once for good is there */
	for (long n = 0;; n++) {
		struct err e = ERR_INIT;
		nomem.wrong = NULL;
		nomem.countdown = n;
		nomem.live = 0;
		nomem.armed = true;
		enum err_code rc = work(ctx, &e);
		nomem.armed = false;
		bool refused = nomem.countdown < 0;
		if (nomem.wrong)
			fail_msg("%s, allocation %ld refused: %s", name, n, nomem.wrong);
		if (nomem.live != 0)
			fail_msg("%s, allocation %ld refused: %ld blocks are left", name, n, nomem.live);
		if (!refused && rc == ERR_OK)
			return;
		if (rc != ERR_OK && (rc != ERR_NOMEM || strcmp(e.text, "out of memory") != 0))
			fail_msg("%s, allocation %ld refused: code %d, %s", name, n, (int)rc, e.text);
		nomem_once(name, work, ctx);
		assert_true(n < 100000);
	}
}

#endif
