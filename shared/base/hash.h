/* uthash, which by itself ends the process when there is no memory. Here an element that could not be added is just not in
 * the table: after each HASH_ADD_... ask hash_has_added(element).
 */
#ifndef DB_BASE_HASH_H
#define DB_BASE_HASH_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define hash_has_added(element) ((element)->hh.tbl != NULL)

#endif
