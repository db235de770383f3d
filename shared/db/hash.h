/* uthash, such that want of memory is an answer and not, as by default, the end of the process: an element that was not
 * added has hh.tbl == NULL.
 */
#ifndef DB_DB_HASH_H
#define DB_DB_HASH_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#endif
