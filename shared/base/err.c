#include "shared/base/err.h"

#include <stdio.h>
#include <string.h>

#include "shared/base/utf8.h"

/* Makes text one printable line of UTF-8 and, if it filled the array, cuts it where a character begins. */
static void tidy(char *text, size_t size, int wanted)
{
	if (wanted >= 0 && (size_t)wanted >= size) {
		size_t at = size - 4;
		while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
			at--;
		memcpy(text + at, "...", 4);
	}
	size_t left = strlen(text);
	for (size_t n; left > 0; text += n, left -= n) {
		n = utf8_char(text, left);
		if (n == 0)
			*text = '?';
		else if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
		n = n ? n : 1;
	}
}

enum err_code err_vset(struct err *e, enum err_code code, const char *fmt, va_list args)
{
	if (!e)
		return code;
	e->code = code;
	e->quotes = false;
	int n = vsnprintf(e->text, sizeof e->text, fmt, args);
	tidy(e->text, sizeof e->text, n);
	return code;
}

enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	err_vset(e, code, fmt, args);
	va_end(args);
	return code;
}

enum err_code err_prefix(struct err *e, const char *fmt, ...)
{
	struct err prefix = ERR_INIT;
	va_list args;
	va_start(args, fmt);
	err_vset(&prefix, e->code, fmt, args);
	va_end(args);
	struct err old = *e;
	err_set(e, old.code, "%s: %s", prefix.text, old.text);
	e->quotes = old.quotes;
	return e->code;
}

const char *err_errno(int errnum, char *out, unsigned long size)
{
	/* the GNU form, which may return a text of its own and leave out alone */
	const char *text = strerror_r(errnum, out, size);
	if (text != out)
		snprintf(out, size, "%s", text);
	return out;
}
