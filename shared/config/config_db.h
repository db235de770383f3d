/* What can be said of a database's keys only together: whence its password, what its kind of database allows.
 */
#ifndef DB_CONFIG_CONFIG_DB_H
#define DB_CONFIG_CONFIG_DB_H

#include "shared/config/config.h"
#include "shared/config/yaml_tree.h"

/* Where a database stands, for messages. */
struct config_db_place {
	const char *file;
	const struct yaml_tree *map; /* its keys; may be a null node */
	const char *section;         /* "sources" or "results" */
	const char *name;
};

/* Checks a database whose keys have been set, and completes it. connects: the program will connect to it, so that its
 * password_file is read. ERR_INVALID: the text of e has the place and the key, and holds no secret. */
enum err_code MUST_CHECK config_db_source(
        const struct config_db_place *at, bool connects, struct cfg_source *db, struct err *e);
enum err_code MUST_CHECK config_db_results(
        const struct config_db_place *at, bool connects, struct cfg_results *db, struct err *e);

#endif
