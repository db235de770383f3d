#include "fcgi/prom.h"

#include <inttypes.h>

#include "shared/base/utf8.h"

void prom_family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_value(struct buf *b, const char *value, size_t len)
{
	for (size_t i = 0, width; i < len; i += width ? width : 1) {
		width = utf8_char(value + i, len - i);
		if (value[i] == '\n') {
			buf_add(b, "\\n", 2);
			continue;
		}
		if (value[i] == '"' || value[i] == '\\')
			buf_addc(b, '\\');
		if (width)
			buf_add(b, value + i, width);
		else
			buf_addstr(b, "\xef\xbf\xbd"); /* one such byte and nobody would take the whole page */
	}
}

static void add_name(struct buf *b, const char *name, const struct prom_label *labels, size_t n)
{
	buf_addstr(b, name);
	for (size_t i = 0; i < n; i++) {
		buf_addc(b, i == 0 ? '{' : ',');
		buf_addstr(b, labels[i].name);
		buf_add(b, "=\"", 2);
		add_value(b, labels[i].value, labels[i].len);
		buf_addc(b, '"');
	}
	buf_addstr(b, n > 0 ? "} " : " ");
}

void prom_i64(struct buf *b, const char *name, const struct prom_label *labels, size_t n, int64_t v)
{
	add_name(b, name, labels, n);
	buf_addf(b, "%" PRId64 "\n", v);
}

void prom_seconds(struct buf *b, const char *name, const struct prom_label *labels, size_t n, double v)
{
	add_name(b, name, labels, n);
	buf_addf(b, "%.6g\n", v);
}

void prom_histogram(struct buf *b, const char *name, const char *help, const double *bounds_s, const uint64_t *counts,
        size_t n, double sum_s)
{
	uint64_t total = 0;
	prom_family(b, name, "histogram", help);
	for (size_t i = 0; i + 1 < n; i++) {
		total += counts[i];
		buf_addf(b, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds_s[i], total);
	}
	total += counts[n - 1];
	buf_addf(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, total);
	buf_addf(b, "%s_sum %.9g\n%s_count %" PRIu64 "\n", name, sum_s, name, total);
}
