#include "shared/db/ch_types.h"

#include <string.h>

#include "shared/base/parse.h"
#include "shared/db/types.h"

#define FRACTION_MAX 6 /* digits that every results database holds; more would be rounded there */
#define DECIMAL_MAX 76

/* What the parameters of a type say. */
enum form {
	NOTHING,
	PRECISION_SCALE, /* Decimal(P, S) */
	SCALE,           /* Decimal32(S): the precision is the table's */
	FRACTION,        /* DateTime64(n): n digits, and perhaps a time zone */
	ANYTHING,        /* not read */
};

struct type {
	const char *name;
	enum kind kind;
	enum form form;
	int precision, scale;
	enum ch_fix fix;
	const char *samples[2]; /* for the list of types; the name itself when there is none */
};

static const struct type types[] = {
        {.name = "Int8", .kind = KIND_INT8},
        {.name = "UInt8", .kind = KIND_UINT8},
        {.name = "Int16", .kind = KIND_INT16},
        {.name = "UInt16", .kind = KIND_UINT16},
        {.name = "Int32", .kind = KIND_INT32},
        {.name = "UInt32", .kind = KIND_UINT32},
        {.name = "Int64", .kind = KIND_INT64},
        {.name = "UInt64", .kind = KIND_UINT64},
        {.name = "Int128", .kind = KIND_DECIMAL, .precision = 39},
        {.name = "UInt128", .kind = KIND_DECIMAL, .precision = 39},
        {.name = "Int256", .kind = KIND_DECIMAL, .precision = 78},
        {.name = "UInt256", .kind = KIND_DECIMAL, .precision = 78},
        {.name = "Decimal",
                .kind = KIND_DECIMAL,
                .form = PRECISION_SCALE,
                .precision = 10,
                .samples = {"Decimal(18, 4)", "Decimal(76, 38)"}},
        {.name = "Decimal32", .kind = KIND_DECIMAL, .form = SCALE, .precision = 9, .samples = {"Decimal32(4)"}},
        {.name = "Decimal64", .kind = KIND_DECIMAL, .form = SCALE, .precision = 18, .samples = {"Decimal64(4)"}},
        {.name = "Decimal128", .kind = KIND_DECIMAL, .form = SCALE, .precision = 38, .samples = {"Decimal128(4)"}},
        {.name = "Decimal256", .kind = KIND_DECIMAL, .form = SCALE, .precision = 76, .samples = {"Decimal256(4)"}},
        {.name = "Float32", .kind = KIND_FLOAT, .fix = CH_FLOAT},
        {.name = "Float64", .kind = KIND_DOUBLE, .fix = CH_DOUBLE},
        {.name = "BFloat16", .kind = KIND_FLOAT, .fix = CH_FLOAT},
        {.name = "Bool", .kind = KIND_BOOL, .fix = CH_BOOL},
        {.name = "Date", .kind = KIND_DATE},
        {.name = "Date32", .kind = KIND_DATE},
        {.name = "DateTime",
                .kind = KIND_TIMESTAMP,
                .form = ANYTHING,
                .samples = {"DateTime", "DateTime('Asia/Kolkata')"}},
        {.name = "DateTime64",
                .kind = KIND_TIMESTAMP,
                .form = FRACTION,
                .precision = 3,
                .samples = {"DateTime64(3)", "DateTime64(9)"}},
        {.name = "UUID", .kind = KIND_UUID},
        {.name = "IPv4", .kind = KIND_INET},
        {.name = "IPv6", .kind = KIND_INET},
        {.name = "JSON", .kind = KIND_JSON, .form = ANYTHING},
        {.name = "Object", .kind = KIND_JSON, .form = ANYTHING, .samples = {"Object('json')"}},
        {.name = "String", .kind = KIND_TEXT},
        {.name = "FixedString", .kind = KIND_TEXT, .form = ANYTHING, .fix = CH_FIXED, .samples = {"FixedString(16)"}},
        {.name = "Enum8", .kind = KIND_TEXT, .form = ANYTHING, .samples = {"Enum8('a' = 1)"}},
        {.name = "Enum16", .kind = KIND_TEXT, .form = ANYTHING, .samples = {"Enum16('a' = 1)"}},
        {.name = "Array", .kind = KIND_TEXT, .form = ANYTHING, .fix = CH_RAW, .samples = {"Array(String)"}},
        {.name = "Tuple", .kind = KIND_TEXT, .form = ANYTHING, .fix = CH_RAW, .samples = {"Tuple(String, UInt8)"}},
        {.name = "Map", .kind = KIND_TEXT, .form = ANYTHING, .fix = CH_RAW, .samples = {"Map(String, UInt8)"}},
        {.name = "Nested",
                .kind = KIND_TEXT,
                .form = ANYTHING,
                .fix = CH_RAW,
                .samples = {"Nested(a UInt8, b String)"}},
        {.name = "Variant", .kind = KIND_TEXT, .form = ANYTHING, .fix = CH_RAW, .samples = {"Variant(String, UInt8)"}},
        {.name = "Dynamic", .kind = KIND_TEXT, .form = ANYTHING, .fix = CH_RAW},
        {.name = "Time", .kind = KIND_TEXT, .form = ANYTHING},
        {.name = "Time64", .kind = KIND_TEXT, .form = ANYTHING, .samples = {"Time64(3)"}},
        {.name = "Point", .kind = KIND_TEXT, .fix = CH_RAW},
        {.name = "Ring", .kind = KIND_TEXT, .fix = CH_RAW},
        {.name = "LineString", .kind = KIND_TEXT, .fix = CH_RAW},
        {.name = "MultiLineString", .kind = KIND_TEXT, .fix = CH_RAW},
        {.name = "Polygon", .kind = KIND_TEXT, .fix = CH_RAW},
        {.name = "MultiPolygon", .kind = KIND_TEXT, .fix = CH_RAW},
        {.name = "Geometry", .kind = KIND_TEXT, .fix = CH_RAW},
        {.name = "QBit", .kind = KIND_TEXT, .form = ANYTHING, .fix = CH_RAW, .samples = {"QBit(Float32, 16)"}},
        {.name = "Nothing", .kind = KIND_TEXT},
        {.name = "IntervalNanosecond", .kind = KIND_INT64},
        {.name = "IntervalMicrosecond", .kind = KIND_INT64},
        {.name = "IntervalMillisecond", .kind = KIND_INT64},
        {.name = "IntervalSecond", .kind = KIND_INT64},
        {.name = "IntervalMinute", .kind = KIND_INT64},
        {.name = "IntervalHour", .kind = KIND_INT64},
        {.name = "IntervalDay", .kind = KIND_INT64},
        {.name = "IntervalWeek", .kind = KIND_INT64},
        {.name = "IntervalMonth", .kind = KIND_INT64},
        {.name = "IntervalQuarter", .kind = KIND_INT64},
        {.name = "IntervalYear", .kind = KIND_INT64},
};

/* A part of the type's text. */
struct span {
	const char *at;
	size_t len;
};

static struct span trim(struct span s)
{
	while (s.len && s.at[0] == ' ')
		s = (struct span){s.at + 1, s.len - 1};
	while (s.len && s.at[s.len - 1] == ' ')
		s.len--;
	return s;
}

/* Parts "Name(parameters)"; without parentheses the parameters are empty. */
static void unpack(struct span s, struct span *name, struct span *inside)
{
	const char *paren = s.len && s.at[s.len - 1] == ')' ? memchr(s.at, '(', s.len) : NULL;
	*name = *inside = (struct span){s.at, s.len};
	inside->len = 0;
	if (!paren)
		return;
	name->len = (size_t)(paren - s.at);
	*inside = (struct span){paren + 1, s.len - name->len - 2};
}

/* The length of the first parameter: up to a comma outside quotes and parentheses. */
static size_t first_length(struct span s)
{
	int depth = 0;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];
		if (c == '\'' || c == '`' || c == '"')
			for (i++; i < s.len && s.at[i] != c; i++)
				i += s.at[i] == '\\';
		else if (c == '(')
			depth++;
		else if (c == ')')
			depth--;
		else if (c == ',' && depth == 0)
			return i;
	}
	return s.len;
}

static bool is(struct span s, const char *name)
{
	return s.len == strlen(name) && memcmp(s.at, name, s.len) == 0;
}

/* Takes off what only says that a value may be missing, or how it is stored. */
static struct span unwrap(struct span type)
{
	for (;;) {
		struct span name, inside;
		type = trim(type);
		unpack(type, &name, &inside);
		if (is(name, "Nullable") || is(name, "LowCardinality")) {
			type = inside;
		} else if (is(name, "SimpleAggregateFunction")) {
			size_t skip = first_length(inside);
			if (skip == inside.len)
				return type;
			type = (struct span){inside.at + skip + 1, inside.len - skip - 1};
		} else {
			return type;
		}
	}
}

/* Is AggregateFunction( somewhere in it, outside quotes and not a part of a longer word? */
static bool is_aggregate(struct span s)
{
	static const char word[] = "AggregateFunction(";
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];
		bool begins = i == 0 || s.at[i - 1] == '(' || s.at[i - 1] == ',' || s.at[i - 1] == ' ';
		if (c == '\'' || c == '`' || c == '"')
			for (i++; i < s.len && s.at[i] != c; i++)
				i += s.at[i] == '\\';
		else if (begins && s.len - i >= sizeof word - 1 && memcmp(s.at + i, word, sizeof word - 1) == 0)
			return true;
	}
	return false;
}

/* The first parameter as a number, and what is behind it. */
static bool take_number(struct span *s, int *out)
{
	size_t len = first_length(*s);
	struct span first = trim((struct span){s->at, len});
	int64_t v;
	if (!parse_i64(first.at, first.len, 0, DECIMAL_MAX, &v))
		return false;
	*out = (int)v;
	*s = len < s->len ? (struct span){s->at + len + 1, s->len - len - 1} : (struct span){s->at + s->len, 0};
	return true;
}

static bool read_parameters(const struct type *t, struct span inside, struct column *c)
{
	c->precision = t->precision;
	c->scale = t->scale;
	switch (t->form) {
	case NOTHING:
		return inside.len == 0;
	case PRECISION_SCALE:
		return inside.len == 0 ||
		        (take_number(&inside, &c->precision) && (inside.len == 0 || take_number(&inside, &c->scale)) &&
		                c->precision > 0);
	case SCALE:
		return take_number(&inside, &c->scale);
	case FRACTION:
		if (inside.len > 0 && !take_number(&inside, &c->precision))
			return false;
		if (c->precision > FRACTION_MAX)
			*c = (struct column){.kind = KIND_TEXT};
		return true;
	case ANYTHING:
		break;
	}
	return true;
}

static const struct type *find(struct span name)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (is(name, types[i].name))
			return &types[i];
	return NULL;
}

enum err_code ch_type_read(const char *type, size_t len, struct column *c, enum ch_fix *fix, bool *known, struct err *e)
{
	struct span whole = {type, len}, name, inside;
	struct column as = {.kind = KIND_TEXT};
	unpack(unwrap(whole), &name, &inside);
	if (is_aggregate(whole))
		return err_set(e, ERR_PERMANENT,
		        "type %.*s has no text form: finish the aggregation in the query (sumMerge, "
		        "finalizeAggregation)",
		        len < 100 ? (int)len : 100, type);
	const struct type *t = find(name);
	*fix = CH_AS_IS;
	*known = t != NULL;
	if (t) {
		as.kind = t->kind;
		if (read_parameters(t, inside, &as))
			*fix = t->fix;
		else
			as = (struct column){.kind = KIND_TEXT};
	}
	c->kind = as.kind;
	c->precision = as.precision;
	c->scale = as.scale;
	c->length = 0;
	return ERR_OK;
}

static void put(struct cell *cell, const char *text)
{
	*cell = (struct cell){text, (int)strlen(text)};
}

static void fix_float(struct cell *cell, bool single)
{
	static const char *const forms[][2] = {{"nan", "NaN"}, {"-nan", "NaN"}, {"inf", "Infinity"},
	        {"-inf", "-Infinity"}, {"3.4028235e38", TYPES_FLOAT_MAX}, {"-3.4028235e38", "-" TYPES_FLOAT_MAX}};
	char last = cell->data[cell->len - 1];
	if (last != 'n' && last != 'f' && !(single && last == '8'))
		return;
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		if (is((struct span){cell->data, (size_t)cell->len}, forms[i][0])) {
			put(cell, forms[i][1]);
			return;
		}
}

void ch_type_fix(enum ch_fix fix, struct cell *cell)
{
	if (cell->len <= 0)
		return;
	if (fix == CH_FLOAT || fix == CH_DOUBLE)
		fix_float(cell, fix == CH_FLOAT);
	else if (fix == CH_BOOL)
		put(cell, cell->data[0] == 't' || cell->data[0] == '1' ? "1" : "0");
	else if (fix == CH_FIXED)
		while (cell->len > 0 && cell->data[cell->len - 1] == '\0')
			cell->len--;
}

void ch_types_each(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		for (size_t k = 0; k < 2 && (k == 0 || types[i].samples[k]); k++) {
			const char *native = types[i].samples[k] ? types[i].samples[k] : types[i].name;
			struct column c = {.name = ""};
			enum ch_fix fix;
			bool known;
			if (ch_type_read(native, strlen(native), &c, &fix, &known, NULL) == ERR_OK)
				fn(ctx, native, &c);
		}
}
