/* PostgreSQL's built-in types: which OID is what, how its declaration reads, and whether its binary form may be handed
 * from one server to another. Numbers and typmods as in PostgreSQL 15's pg_type.dat and the types' typmodout functions;
 * OIDs of built-in types never change. Pure; any thread.
 */
#ifndef DB_DB_PG_TYPES_H
#define DB_DB_PG_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/db/column.h"

#define PG_TEXT_OID 25

/* The type, or an array of it, is one that every server has, with the same binary form. */
bool pg_type_is_portable(uint32_t oid);
/* What a server writes in the binary form, servers also read. Not so for tsquery: 15.18 was seen to refuse the binary form of an
 * empty one, which it writes: "malformed tsquery: operand not found". (Other releases were not tried.) */
bool pg_type_is_readable_in_binary(uint32_t oid);
/* Values may be long, so that a table with such a column gets a TOAST table. */
bool pg_type_is_varlena(uint32_t oid);
/* Writes the column's declared type: "numeric(18,4)", "text[]"; TEXT when the column travels as text. */
void pg_type_declare(const struct column *column, struct buf *out);
/* Sets kind, precision, scale and length from type, typmod and as_text. */
void pg_type_set_kind(struct column *column);
/* Calls fn with each type of the list, and with some with modifiers: its declaration and a column of it. */
void pg_types_each(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx);

#endif
