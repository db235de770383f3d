/* The ClickHouse driver (libcurl is known to shared/db/ch_*.[ch] only). */
#ifndef DB_DB_CH_OPS_H
#define DB_DB_CH_OPS_H

#include "shared/db/source.h"

extern const struct source_ops ch_source_ops;

#endif
