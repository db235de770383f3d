/* Writing Prometheus' text format 0.0.4 into a buffer. No state but the buffer; one thread at a time.
 *
 *   prom_family(b, "x_total", "counter", "What x is."); prom_sample(b, "x_total", 3, "queue", q, qlen, NULL);
 */
#ifndef DB_FCGI_PROM_H
#define DB_FCGI_PROM_H

#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"

struct prom_label {
	const char *name;
	const char *value; /* escaped here; what is no UTF-8 becomes U+FFFD */
	size_t len;
};

void prom_family(struct buf *b, const char *name, const char *type, const char *help);
void prom_i64(struct buf *b, const char *name, const struct prom_label *labels, size_t n, int64_t v);
void prom_seconds(struct buf *b, const char *name, const struct prom_label *labels, size_t n, double v);
/* A whole histogram: counts[i] are those in the bucket that bounds_s[i] is the upper end of (not cumulative); the last
 * bound is infinity. */
void prom_histogram(struct buf *b, const char *name, const char *help, const double *bounds_s, const uint64_t *counts,
        size_t n, double sum_s);

#endif
