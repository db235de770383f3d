/* Reads ClickHouse's TabSeparated form as it arrives, in pieces of any size: lines, and the cells of a line. Memory is
 * bounded by the longest line and what the caller adds before it takes lines. Thread rule: one thread at a time.
 */
#ifndef DB_DB_CH_TSV_H
#define DB_DB_CH_TSV_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/err.h"
#include "shared/db/source.h"

struct ch_tsv {
	char *data;           /* owned */
	size_t at, end;       /* what has not been taken yet */
	size_t last_end;      /* behind the last line feed; not behind at: no whole line */
	size_t cap, max, low; /* allocated; most that it may be; what is kept when nothing is left to take */
	bool nomem;           /* an add has failed for want of memory */
};

/* max: bytes of the longest line, and of what is added at once. */
void ch_tsv_init(struct ch_tsv *t, size_t max);
void ch_tsv_fini(struct ch_tsv *t);
/* Forgets everything that was added. */
void ch_tsv_reset(struct ch_tsv *t);

/* False: no memory, or more than max. The lines that were taken before are gone. */
bool ch_tsv_add(struct ch_tsv *t, const char *bytes, size_t len);

/* Takes the next line that is whole, without its line feed; the caller may write to it until the next call of add. NULL:
 * there is none. */
char *ch_tsv_line(struct ch_tsv *t, size_t *len);
/* Is there a whole line to be taken? */
bool ch_tsv_has_line(const struct ch_tsv *t);
/* What is left behind the last whole line; NULL: nothing. */
char *ch_tsv_rest(struct ch_tsv *t, size_t *len);

/* Cuts a line into cells, whose escapes are resolved in place, but those of the columns that are raw (NULL: none is). False,
 * and the line as it was, when there are not n cells; false, too, when there is an escape that ClickHouse does not write.
 * *bytes: of all values together. */
bool ch_tsv_split(char *line, size_t len, const bool *raw, struct cell *cells, size_t n, size_t *bytes);
/* How many cells are in a line. */
size_t ch_tsv_count(const char *line, size_t len);

#endif
