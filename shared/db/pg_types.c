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
	enum kind kind; /* with the size that the modifiers say: pg_type_set_kind */
};

static const struct pg_type types[] = {
        {16, 1000, "boolean", "", PLAIN, false, KIND_BOOL},
        {17, 1001, "bytea", "", PLAIN, true, KIND_BYTES},
        {18, 1002, "\"char\"", "", PLAIN, false, KIND_TEXT},
        {19, 1003, "name", "", PLAIN, false, KIND_TEXT},
        {20, 1016, "bigint", "", PLAIN, false, KIND_INT64},
        {21, 1005, "smallint", "", PLAIN, false, KIND_INT16},
        {23, 1007, "integer", "", PLAIN, false, KIND_INT32},
        {PG_TEXT_OID, 1009, "text", "", PLAIN, true, KIND_TEXT},
        {26, 1028, "oid", "", PLAIN, false, KIND_UINT32},
        {27, 1010, "tid", "", PLAIN, false, KIND_TEXT},
        {28, 1011, "xid", "", PLAIN, false, KIND_TEXT},
        {29, 1012, "cid", "", PLAIN, false, KIND_TEXT},
        {114, 199, "json", "", PLAIN, true, KIND_JSON},
        {142, 143, "xml", "", PLAIN, true, KIND_TEXT},
        {600, 1017, "point", "", PLAIN, false, KIND_TEXT},
        {601, 1018, "lseg", "", PLAIN, false, KIND_TEXT},
        {602, 1019, "path", "", PLAIN, true, KIND_TEXT},
        {603, 1020, "box", "", PLAIN, false, KIND_TEXT},
        {604, 1027, "polygon", "", PLAIN, true, KIND_TEXT},
        {628, 629, "line", "", PLAIN, false, KIND_TEXT},
        {650, 651, "cidr", "", PLAIN, true, KIND_INET},
        {700, 1021, "real", "", PLAIN, false, KIND_FLOAT},
        {701, 1022, "double precision", "", PLAIN, false, KIND_DOUBLE},
        {718, 719, "circle", "", PLAIN, false, KIND_TEXT},
        {774, 775, "macaddr8", "", PLAIN, false, KIND_TEXT},
        {790, 791, "money", "", PLAIN, false, KIND_TEXT},
        {829, 1040, "macaddr", "", PLAIN, false, KIND_TEXT},
        {869, 1041, "inet", "", PLAIN, true, KIND_INET},
        {1042, 1014, "bpchar", "", LENGTH, true, KIND_VARCHAR},
        {1043, 1015, "varchar", "", LENGTH, true, KIND_VARCHAR},
        {1082, 1182, "date", "", PLAIN, false, KIND_DATE},
        {1083, 1183, "time", "", PRECISION, false, KIND_TIME},
        {1114, 1115, "timestamp", "", PRECISION, false, KIND_TIMESTAMP},
        {1184, 1185, "timestamp", " with time zone", PRECISION, false, KIND_INSTANT},
        {1186, 1187, "interval", "", INTERVAL, false, KIND_TEXT},
        {1266, 1270, "time", " with time zone", PRECISION, false, KIND_TEXT},
        {1560, 1561, "\"bit\"", "", BITS, true, KIND_BIT},
        {1562, 1563, "varbit", "", BITS, true, KIND_TEXT},
        {1700, 1231, "numeric", "", NUMERIC, true, KIND_DECIMAL},
        {1790, 2201, "refcursor", "", PLAIN, true, KIND_TEXT},
        {2950, 2951, "uuid", "", PLAIN, false, KIND_UUID},
        {3220, 3221, "pg_lsn", "", PLAIN, false, KIND_TEXT},
        {3614, 3643, "tsvector", "", PLAIN, true, KIND_TEXT},
        {3615, 3645, "tsquery", "", PLAIN, true, KIND_TEXT},
        {3802, 3807, "jsonb", "", PLAIN, true, KIND_JSON},
        {3904, 3905, "int4range", "", PLAIN, true, KIND_TEXT},
        {3906, 3907, "numrange", "", PLAIN, true, KIND_TEXT},
        {3908, 3909, "tsrange", "", PLAIN, true, KIND_TEXT},
        {3910, 3911, "tstzrange", "", PLAIN, true, KIND_TEXT},
        {3912, 3913, "daterange", "", PLAIN, true, KIND_TEXT},
        {3926, 3927, "int8range", "", PLAIN, true, KIND_TEXT},
        {4072, 4073, "jsonpath", "", PLAIN, true, KIND_TEXT},
        {4451, 6150, "int4multirange", "", PLAIN, true, KIND_TEXT},
        {4532, 6151, "nummultirange", "", PLAIN, true, KIND_TEXT},
        {4533, 6152, "tsmultirange", "", PLAIN, true, KIND_TEXT},
        {4534, 6153, "tstzmultirange", "", PLAIN, true, KIND_TEXT},
        {4535, 6155, "datemultirange", "", PLAIN, true, KIND_TEXT},
        {4536, 6157, "int8multirange", "", PLAIN, true, KIND_TEXT},
        {5069, 271, "xid8", "", PLAIN, false, KIND_TEXT},
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

bool pg_type_is_readable_in_binary(uint32_t oid)
{
	return oid != 3615 && oid != 3645; /* tsquery and its array */
}

bool pg_type_is_varlena(uint32_t oid)
{
	bool array;
	const struct pg_type *t = find(oid, &array);
	return !t || array || t->varlena;
}

static int precision_of(int32_t typmod)
{
	return ((typmod - 4) >> 16) & 0xffff;
}

static int scale_of(int32_t typmod)
{
	return (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
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
		buf_addf(out, "(%d,%d)", precision_of(typmod), scale_of(typmod));
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

/* --- kinds --- */

static void set_decimal(struct column *c)
{
	if (c->typmod < 0)
		return;
	c->precision = precision_of(c->typmod);
	c->scale = scale_of(c->typmod);
	if (c->scale < 0 || c->scale > c->precision) /* PostgreSQL alone has these */
		c->kind = KIND_TEXT;
}

void pg_type_set_kind(struct column *c)
{
	bool array = false;
	const struct pg_type *t = c->as_text ? NULL : find(c->type, &array);
	c->kind = t && !array ? t->kind : KIND_TEXT;
	c->precision = c->scale = 0;
	c->length = 0;
	switch (c->kind) {
	case KIND_DECIMAL:
		set_decimal(c);
		break;
	case KIND_VARCHAR:
		c->length = (int64_t)c->typmod - 4;
		break;
	case KIND_BIT:
		c->length = c->typmod;
		break;
	case KIND_TIME:
	case KIND_TIMESTAMP:
	case KIND_INSTANT:
		c->precision = c->typmod < 0 ? 6 : c->typmod;
		break;
	default:
		break;
	}
	if ((c->kind == KIND_VARCHAR || c->kind == KIND_BIT) && c->length < 1) {
		c->kind = KIND_TEXT;
		c->length = 0;
	}
}

/* The modifiers that pg_types_each shows beside none. */
static int32_t sample_typmod(enum typmod_form form)
{
	switch (form) {
	case LENGTH:
		return 10 + 4;
	case BITS:
		return 8;
	case PRECISION:
		return 3;
	case NUMERIC:
		return (18 << 16 | 4) + 4;
	default:
		return -1;
	}
}

static void show(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx, const char *native,
        struct column *c)
{
	struct buf b;
	buf_init(&b, 256);
	pg_type_declare(c, &b);
	pg_type_set_kind(c);
	fn(ctx, native ? native : buf_str(&b), c);
	buf_fini(&b);
}

void pg_types_each(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		const struct pg_type *t = &types[i];
		int32_t typmod = sample_typmod(t->form);
		if (typmod >= 0)
			show(fn, ctx, NULL, &(struct column){.type = t->oid, .typmod = typmod});
		if (typmod < 0 || t->oid != 1560) /* bit is bit(1) */
			show(fn, ctx, NULL, &(struct column){.type = t->oid, .typmod = -1});
	}
	show(fn, ctx, "numeric(100,50)", &(struct column){.type = 1700, .typmod = (100 << 16 | 50) + 4});
	show(fn, ctx, "numeric(3,-2)", &(struct column){.type = 1700, .typmod = (3 << 16 | (-2 & 0x7ff)) + 4});
	show(fn, ctx, "integer[]", &(struct column){.type = 1007, .typmod = -1});
	show(fn, ctx, "enums, composites, others", &(struct column){.as_text = true, .typmod = -1});
}
