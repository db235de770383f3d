/* Environment variables laid over the tree of the file: DUNGBEETLE_ and the key in upper case with __ for each dot
 * (DUNGBEETLE_REDIS__URL, DUNGBEETLE_SOURCES__LEDGER__DSN). Names compare without case; in a database's name `-` and
 * `:` stand as `_`. A variable changes a database that the file has; it makes none.
 */
#ifndef DB_CONFIG_CONFIG_ENV_H
#define DB_CONFIG_CONFIG_ENV_H

#include "shared/base/err.h"
#include "shared/config/yaml_tree.h"

/* environ_list is NULL-terminated. A variable that looks like ours and names no key is ERR_INVALID. */
enum err_code MUST_CHECK config_env_apply(char **environ_list, struct yaml_tree *root, struct err *e);

/* The map at key of root, made when there is none or nothing in it. *out is NULL when something else stands there
 * (which config_shape_check reports). */
enum err_code MUST_CHECK config_env_section(
        struct yaml_tree *root, const char *key, const char *origin, struct yaml_tree **out, struct err *e);

#endif
