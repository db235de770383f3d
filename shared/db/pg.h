/* The PostgreSQL drivers (libpq is known to shared/db/pg_*.c only). */
#ifndef DB_DB_PG_H
#define DB_DB_PG_H

#include "shared/db/sink.h"
#include "shared/db/source.h"

extern const struct source_ops pg_source_ops;
extern const struct sink_ops pg_sink_ops;

#endif
