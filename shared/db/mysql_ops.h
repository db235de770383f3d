/* The MySQL and MariaDB drivers (libmariadb is known to shared/db/mysql_*.[ch] only). */
#ifndef DB_DB_MYSQL_OPS_H
#define DB_DB_MYSQL_OPS_H

#include "shared/db/sink.h"
#include "shared/db/source.h"

extern const struct source_ops mysql_source_ops;
extern const struct sink_ops mysql_sink_ops;

/* Calls fn for each native type with a column of it, in the order of a matrix for people. */
void mysql_types_each(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx);

#endif
