#include "shared/db/pg_types.h"

#include <stddef.h>

enum typmod_form {
	PLAIN,     /* the type has no modifiers */
	LENGTH,    /* typmod = length + 4 */
	BITS,      /* typmod = length */
	PRECISION, /* typmod = digits of the fraction; stands before " with time zone" */
	NUMERIC,   /* typmod = (precision << 16 | scale) + 4, the scale a signed number of 11 bits */
	INTERVAL,  /* typmod = range << 16 | digits; only the full range has a declaration worth keeping */
};

struct pg_type {
	uint32_t oid, array_oid;
	const char *name; /* the declaration without modifiers, such that it means "any length" */
	const char *tail; /* what follows the modifiers */
	enum typmod_form form;
	bool varlena;
};

static const struct pg_type types[] = {
        {16, 1000, "boolean", "", PLAIN, false},
        {17, 1001, "bytea", "", PLAIN, true},
        {18, 1002, "\"char\"", "", PLAIN, false},
        {19, 1003, "name", "", PLAIN, false},
        {20, 1016, "bigint", "", PLAIN, false},
        {21, 1005, "smallint", "", PLAIN, false},
        {23, 1007, "integer", "", PLAIN, false},
        {PG_TEXT_OID, 1009, "text", "", PLAIN, true},
        {26, 1028, "oid", "", PLAIN, false},
        {27, 1010, "tid", "", PLAIN, false},
        {28, 1011, "xid", "", PLAIN, false},
        {29, 1012, "cid", "", PLAIN, false},
        {114, 199, "json", "", PLAIN, true},
        {142, 143, "xml", "", PLAIN, true},
        {600, 1017, "point", "", PLAIN, false},
        {601, 1018, "lseg", "", PLAIN, false},
        {602, 1019, "path", "", PLAIN, true},
        {603, 1020, "box", "", PLAIN, false},
        {604, 1027, "polygon", "", PLAIN, true},
        {628, 629, "line", "", PLAIN, false},
        {650, 651, "cidr", "", PLAIN, true},
        {700, 1021, "real", "", PLAIN, false},
        {701, 1022, "double precision", "", PLAIN, false},
        {718, 719, "circle", "", PLAIN, false},
        {774, 775, "macaddr8", "", PLAIN, false},
        {790, 791, "money", "", PLAIN, false},
        {829, 1040, "macaddr", "", PLAIN, false},
        {869, 1041, "inet", "", PLAIN, true},
        {1042, 1014, "bpchar", "", LENGTH, true},
        {1043, 1015, "varchar", "", LENGTH, true},
        {1082, 1182, "date", "", PLAIN, false},
        {1083, 1183, "time", "", PRECISION, false},
        {1114, 1115, "timestamp", "", PRECISION, false},
        {1184, 1185, "timestamp", " with time zone", PRECISION, false},
        {1186, 1187, "interval", "", INTERVAL, false},
        {1266, 1270, "time", " with time zone", PRECISION, false},
        {1560, 1561, "\"bit\"", "", BITS, true},
        {1562, 1563, "varbit", "", BITS, true},
        {1700, 1231, "numeric", "", NUMERIC, true},
        {1790, 2201, "refcursor", "", PLAIN, true},
        {2950, 2951, "uuid", "", PLAIN, false},
        {3220, 3221, "pg_lsn", "", PLAIN, false},
        {3614, 3643, "tsvector", "", PLAIN, true},
        {3615, 3645, "tsquery", "", PLAIN, true},
        {3802, 3807, "jsonb", "", PLAIN, true},
        {3904, 3905, "int4range", "", PLAIN, true},
        {3906, 3907, "numrange", "", PLAIN, true},
        {3908, 3909, "tsrange", "", PLAIN, true},
        {3910, 3911, "tstzrange", "", PLAIN, true},
        {3912, 3913, "daterange", "", PLAIN, true},
        {3926, 3927, "int8range", "", PLAIN, true},
        {4072, 4073, "jsonpath", "", PLAIN, true},
        {4451, 6150, "int4multirange", "", PLAIN, true},
        {4532, 6151, "nummultirange", "", PLAIN, true},
        {4533, 6152, "tsmultirange", "", PLAIN, true},
        {4534, 6153, "tstzmultirange", "", PLAIN, true},
        {4535, 6155, "datemultirange", "", PLAIN, true},
        {4536, 6157, "int8multirange", "", PLAIN, true},
        {5069, 271, "xid8", "", PLAIN, false},
};

static const struct pg_type *find(uint32_t oid, bool *array)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].oid == oid || types[i].array_oid == oid) {
			*array = types[i].array_oid == oid;
			return &types[i];
		}
	return NULL;
}

bool pg_type_is_portable(uint32_t oid)
{
	bool array;
	return find(oid, &array) != NULL;
}

bool pg_type_is_varlena(uint32_t oid)
{
	bool array;
	const struct pg_type *t = find(oid, &array);
	return !t || array || t->varlena;
}

static void modifiers(const struct pg_type *t, int32_t typmod, struct buf *out)
{
	if (typmod < 0)
		return;
	switch (t->form) {
	case PLAIN:
		break;
	case LENGTH:
		buf_addf(out, "(%d)", typmod - 4);
		break;
	case BITS:
	case PRECISION:
		buf_addf(out, "(%d)", typmod);
		break;
	case NUMERIC:
		buf_addf(out, "(%d,%d)", ((typmod - 4) >> 16) & 0xffff, (((typmod - 4) & 0x7ff) ^ 1024) - 1024);
		break;
	case INTERVAL:
		if (typmod >> 16 == 0x7fff && (typmod & 0xffff) <= 6)
			buf_addf(out, "(%d)", typmod & 0xffff);
		break;
	}
}

void pg_type_declare(const struct column *column, struct buf *out)
{
	bool array = false;
	const struct pg_type *t = column->as_text ? NULL : find(column->type, &array);
	if (!t) {
		buf_addstr(out, "text");
		return;
	}
	/* bit without a length means bit(1), "bit" means any length; with a length only bit will do. */
	buf_addstr(out, t->oid == 1560 && column->typmod >= 0 ? "bit" : t->name);
	modifiers(t, column->typmod, out);
	buf_addstr(out, t->tail);
	if (array)
		buf_addstr(out, "[]");
}
