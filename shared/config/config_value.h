/* One value of the tree into one field of the configuration, as its rule says. Messages are "expected ..., got ..."
 * without the place, which the caller puts in front.
 */
#ifndef DB_CONFIG_CONFIG_VALUE_H
#define DB_CONFIG_CONFIG_VALUE_H

#include <stddef.h>

#include "shared/base/err.h"
#include "shared/config/config_table.h"
#include "shared/config/yaml_tree.h"

#define CONFIG_SHOWN_SIZE 64

/* base is the struct that the key's offset counts from, and its field must be zero: it is not freed. */
enum err_code MUST_CHECK config_value_set(
        const struct config_key *key, const struct yaml_tree *node, void *base, struct err *e);

/* What a node is, for the "got" of a message: `"text"` (cut when it is long), "a list", "a map", "nothing". */
const char *config_value_shown(const struct yaml_tree *node, char out[CONFIG_SHOWN_SIZE]);
/* The same for a text. */
const char *config_text_shown(const char *text, char out[CONFIG_SHOWN_SIZE]);

#endif
