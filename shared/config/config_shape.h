/* The shape of a configuration's tree: every key is one of the table, and every section is a map.
 */
#ifndef DB_CONFIG_CONFIG_SHAPE_H
#define DB_CONFIG_CONFIG_SHAPE_H

#include "shared/base/err.h"
#include "shared/config/yaml_tree.h"

/* An unknown key is told what it may have meant. file is for messages. */
enum err_code MUST_CHECK config_shape_check(const char *file, const struct yaml_tree *root, struct err *e);

/* Puts the place and the key before the text of e, when e is an ERR_INVALID: "file:line: path: ...". Returns its code. */
enum err_code config_shape_place(const char *file, const struct yaml_tree *node, const char *path, struct err *e);

#endif
