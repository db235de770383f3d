/* The one list of database drivers. To add one: write its source_ops and/or sink_ops, name them here. Constant. */
#ifndef DB_DB_DRIVER_H
#define DB_DB_DRIVER_H

#include "shared/db/sink.h"
#include "shared/db/source.h"

/* NULL: there is no driver for it. */
const struct source_ops *driver_source(enum db_engine engine);
const struct sink_ops *driver_sink(enum db_engine engine);

/* Does every database of the configuration have a driver? ERR_INVALID names the one that has not. */
enum err_code MUST_CHECK driver_check(const struct config *c, struct err *e);

#endif
