#include "shared/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/clock.h"

static enum log_level least_level = LOG_INFO; /* written by main before threads start */
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level least)
{
	least_level = least;
}

bool log_level_parse(const char *name, enum log_level *out)
{
	for (int i = 0; i < 4; i++)
		if (strcmp(name, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	return false;
}

/* Copies text to out with control characters as \n, \t or \xNN; returns the bytes written, at most size. */
static size_t escape(char *out, size_t size, const char *text)
{
	size_t n = 0;
	for (const char *p = text; *p && n + 4 < size; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '\n' || c == '\t') {
			out[n++] = '\\';
			out[n++] = c == '\n' ? 'n' : 't';
		} else if (c < 0x20 || c == 0x7f) {
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
		} else {
			out[n++] = *p;
		}
	}
	return n;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	if (level < least_level)
		return;
	char text[2048];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);

	char line[3072];
	char stamp[CLOCK_RFC3339_SIZE];
	clock_rfc3339(clock_wall_ms(), stamp);
	size_t n = (size_t)snprintf(line, sizeof line, "%s %s ", stamp, level_names[level]);
	n += escape(line + n, sizeof line - n - 1, text);
	line[n++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, n);
	(void)ignored;
}
