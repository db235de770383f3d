#include "shared/db/driver.h"

#include "shared/db/ch_ops.h"
#include "shared/db/mysql_ops.h"
#include "shared/db/pg.h"

const struct source_ops *driver_source(enum db_engine engine)
{
	switch (engine) {
	case DB_POSTGRES:
		return &pg_source_ops;
	case DB_MYSQL:
		return &mysql_source_ops;
	case DB_CLICKHOUSE:
		return &ch_source_ops;
	}
	return NULL;
}

const struct sink_ops *driver_sink(enum db_engine engine)
{
	if (engine == DB_MYSQL)
		return &mysql_sink_ops;
	return engine == DB_POSTGRES ? &pg_sink_ops : NULL;
}

enum err_code driver_check(const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->n_sources; i++)
		if (!driver_source(c->sources[i].engine))
			return err_set(e, ERR_INVALID, "sources.%s.type: this build has no driver for %s sources",
			        c->sources[i].name, db_engine_name(c->sources[i].engine));
	for (size_t i = 0; i < c->n_results; i++)
		if (!driver_sink(c->results[i].engine))
			return err_set(e, ERR_INVALID, "results.%s.type: this build has no driver for %s results",
			        c->results[i].name, db_engine_name(c->results[i].engine));
	return ERR_OK;
}
