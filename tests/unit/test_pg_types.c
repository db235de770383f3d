/* How PostgreSQL's types are declared in a result table. (That the numbers are those of a running server:
 * tests/integration/test_pg_catalog.py.) */
#include "shared/db/pg_types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NUMERIC(precision, scale) ((((precision) << 16) | ((scale)&0x7ff)) + 4)
#define INTERVAL_FULL 0x7fff
#define NO_PRECISION 0xffff
#define OIDS 20000 /* built-in types are all below: FirstNormalObjectId is 16384 */

static const char *declared(uint32_t oid, int32_t typmod)
{
	static char text[128];
	struct column c = {.type = oid, .typmod = typmod};
	struct buf b;
	buf_init(&b, sizeof text - 1);
	pg_type_declare(&c, &b);
	assert_true(buf_ok(&b));
	snprintf(text, sizeof text, "%s", buf_str(&b));
	buf_fini(&b);
	return text;
}

static const struct {
	uint32_t oid, array_oid;
	const char *name;
	bool varlena;
} builtin[] = {
        {16, 1000, "boolean", false},
        {17, 1001, "bytea", true},
        {18, 1002, "\"char\"", false},
        {19, 1003, "name", false},
        {20, 1016, "bigint", false},
        {21, 1005, "smallint", false},
        {23, 1007, "integer", false},
        {25, 1009, "text", true},
        {26, 1028, "oid", false},
        {27, 1010, "tid", false},
        {28, 1011, "xid", false},
        {29, 1012, "cid", false},
        {1790, 2201, "refcursor", true},
        {3220, 3221, "pg_lsn", false},
        {114, 199, "json", true},
        {142, 143, "xml", true},
        {600, 1017, "point", false},
        {601, 1018, "lseg", false},
        {602, 1019, "path", true},
        {603, 1020, "box", false},
        {604, 1027, "polygon", true},
        {628, 629, "line", false},
        {650, 651, "cidr", true},
        {700, 1021, "real", false},
        {701, 1022, "double precision", false},
        {718, 719, "circle", false},
        {774, 775, "macaddr8", false},
        {790, 791, "money", false},
        {829, 1040, "macaddr", false},
        {869, 1041, "inet", true},
        {1042, 1014, "bpchar", true},
        {1043, 1015, "varchar", true},
        {1082, 1182, "date", false},
        {1083, 1183, "time", false},
        {1114, 1115, "timestamp", false},
        {1184, 1185, "timestamp with time zone", false},
        {1186, 1187, "interval", false},
        {1266, 1270, "time with time zone", false},
        {1560, 1561, "\"bit\"", true},
        {1562, 1563, "varbit", true},
        {1700, 1231, "numeric", true},
        {2950, 2951, "uuid", false},
        {3614, 3643, "tsvector", true},
        {3615, 3645, "tsquery", true},
        {3802, 3807, "jsonb", true},
        {3904, 3905, "int4range", true},
        {3906, 3907, "numrange", true},
        {3908, 3909, "tsrange", true},
        {3910, 3911, "tstzrange", true},
        {3912, 3913, "daterange", true},
        {3926, 3927, "int8range", true},
        {4072, 4073, "jsonpath", true},
        {4451, 6150, "int4multirange", true},
        {4532, 6151, "nummultirange", true},
        {4533, 6152, "tsmultirange", true},
        {4534, 6153, "tstzmultirange", true},
        {4535, 6155, "datemultirange", true},
        {4536, 6157, "int8multirange", true},
        {5069, 271, "xid8", false},
};
#define BUILTIN (sizeof builtin / sizeof *builtin)

static void test_pg_types_declares_every_builtin_and_its_array_without_modifiers(void **state)
{
	(void)state;
	for (size_t i = 0; i < BUILTIN; i++) {
		char array[64];
		snprintf(array, sizeof array, "%s[]", builtin[i].name);
		assert_string_equal(declared(builtin[i].oid, -1), builtin[i].name);
		assert_string_equal(declared(builtin[i].array_oid, -1), array);
		assert_true(pg_type_is_portable(builtin[i].oid));
		assert_true(pg_type_is_portable(builtin[i].array_oid));
		bool readable = strcmp(builtin[i].name, "tsquery") != 0;
		assert_int_equal(pg_type_is_readable_in_binary(builtin[i].oid), readable);
		assert_int_equal(pg_type_is_readable_in_binary(builtin[i].array_oid), readable);
		assert_int_equal(pg_type_is_varlena(builtin[i].oid), builtin[i].varlena);
		assert_true(pg_type_is_varlena(builtin[i].array_oid));
	}
}

static void test_pg_types_nothing_else_is_portable_and_travels_as_text(void **state)
{
	(void)state;
	size_t portable = 0;
	for (uint32_t oid = 0; oid < OIDS; oid++) {
		if (pg_type_is_portable(oid)) {
			portable++;
			continue;
		}
		assert_string_equal(declared(oid, -1), "text");
		assert_string_equal(declared(oid, 42), "text");
		assert_true(pg_type_is_varlena(oid));
	}
	assert_int_equal(portable, 2 * BUILTIN);
	assert_false(pg_type_is_portable(UINT32_MAX));
	static const uint32_t local[] = {2205 /* regclass */, 2249 /* record */, 2278 /* void */, 705 /* unknown */};
	for (size_t i = 0; i < sizeof local / sizeof *local; i++)
		assert_false(pg_type_is_portable(local[i])); /* their values mean something on one server only */
}

static void test_pg_types_a_column_that_travels_as_text_is_text(void **state)
{
	(void)state;
	struct column c = {.type = 1700, .typmod = NUMERIC(10, 2), .as_text = true};
	struct buf b;
	buf_init(&b, 100);
	pg_type_declare(&c, &b);
	assert_string_equal(buf_str(&b), "text");
	buf_fini(&b);
}

static void test_pg_types_keeps_lengths(void **state)
{
	(void)state;
	assert_string_equal(declared(1043, 10 + 4), "varchar(10)");
	assert_string_equal(declared(1043, 10485760 + 4), "varchar(10485760)");
	assert_string_equal(declared(1042, 1 + 4), "bpchar(1)");
	assert_string_equal(declared(1015, 7 + 4), "varchar(7)[]");
	assert_string_equal(declared(1014, 7 + 4), "bpchar(7)[]");
}

static void test_pg_types_bit_without_length_means_any_length(void **state)
{
	(void)state;
	assert_string_equal(declared(1560, 3), "bit(3)");
	assert_string_equal(declared(1560, 1), "bit(1)");
	assert_string_equal(declared(1560, -1), "\"bit\""); /* bare bit would be bit(1) */
	assert_string_equal(declared(1561, 3), "bit(3)[]");
	assert_string_equal(declared(1561, -1), "\"bit\"[]");
	assert_string_equal(declared(1562, 8), "varbit(8)");
	assert_string_equal(declared(1563, 8), "varbit(8)[]");
}

static void test_pg_types_keeps_precision_and_scale_of_numeric(void **state)
{
	(void)state;
	assert_string_equal(declared(1700, NUMERIC(18, 4)), "numeric(18,4)");
	assert_string_equal(declared(1700, NUMERIC(10, 0)), "numeric(10,0)");
	assert_string_equal(declared(1700, NUMERIC(1, 1)), "numeric(1,1)");
	assert_string_equal(declared(1700, NUMERIC(1000, 1000)), "numeric(1000,1000)");
	assert_string_equal(declared(1231, NUMERIC(18, 4)), "numeric(18,4)[]");
}

static void test_pg_types_keeps_negative_scale_of_numeric(void **state)
{
	(void)state;
	assert_string_equal(declared(1700, NUMERIC(5, -2)), "numeric(5,-2)");
	assert_string_equal(declared(1700, NUMERIC(1, -1)), "numeric(1,-1)");
	assert_string_equal(declared(1700, NUMERIC(1000, -1000)), "numeric(1000,-1000)");
}

static void test_pg_types_writes_precision_before_the_time_zone(void **state)
{
	(void)state;
	assert_string_equal(declared(1114, 0), "timestamp(0)");
	assert_string_equal(declared(1114, 6), "timestamp(6)");
	assert_string_equal(declared(1184, 3), "timestamp(3) with time zone");
	assert_string_equal(declared(1185, 3), "timestamp(3) with time zone[]");
	assert_string_equal(declared(1083, 2), "time(2)");
	assert_string_equal(declared(1266, 2), "time(2) with time zone");
	assert_string_equal(declared(1270, 0), "time(0) with time zone[]");
}

static void test_pg_types_interval_keeps_its_precision_and_loses_its_fields(void **state)
{
	(void)state;
	const int year_to_month = 1 << 2 | 1 << 1, second = 1 << 12; /* INTERVAL_MASK(...) of utils/datetime.h */
	assert_string_equal(declared(1186, INTERVAL_FULL << 16 | 3), "interval(3)");
	assert_string_equal(declared(1186, INTERVAL_FULL << 16), "interval(0)");
	assert_string_equal(declared(1187, INTERVAL_FULL << 16 | 6), "interval(6)[]");
	assert_string_equal(declared(1186, INTERVAL_FULL << 16 | NO_PRECISION), "interval");
	assert_string_equal(declared(1186, year_to_month << 16 | NO_PRECISION), "interval");
	assert_string_equal(declared(1186, second << 16 | 3), "interval");
}

static void test_pg_types_without_modifiers_a_typmod_changes_nothing(void **state)
{
	(void)state;
	for (int32_t typmod = -1; typmod < 10; typmod++) {
		assert_string_equal(declared(23, typmod), "integer");
		assert_string_equal(declared(25, typmod), "text");
		assert_string_equal(declared(2951, typmod), "uuid[]");
	}
}

/* --- kinds --- */

static struct column described(uint32_t oid, int32_t typmod)
{
	struct column c = {.type = oid, .typmod = typmod, .precision = 99, .scale = 99, .length = 99};
	pg_type_set_kind(&c);
	return c;
}

static void assert_kind(uint32_t oid, int32_t typmod, enum kind kind, int precision, int scale, int64_t length)
{
	struct column c = described(oid, typmod);
	assert_int_equal(c.kind, kind);
	assert_int_equal(c.precision, precision);
	assert_int_equal(c.scale, scale);
	assert_int_equal(c.length, length);
}

static void test_pg_types_kinds_with_their_sizes(void **state)
{
	(void)state;
	assert_kind(16, -1, KIND_BOOL, 0, 0, 0);
	assert_kind(21, -1, KIND_INT16, 0, 0, 0);
	assert_kind(23, -1, KIND_INT32, 0, 0, 0);
	assert_kind(20, -1, KIND_INT64, 0, 0, 0);
	assert_kind(26, -1, KIND_UINT32, 0, 0, 0);
	assert_kind(700, -1, KIND_FLOAT, 0, 0, 0);
	assert_kind(701, -1, KIND_DOUBLE, 0, 0, 0);
	assert_kind(17, -1, KIND_BYTES, 0, 0, 0);
	assert_kind(114, -1, KIND_JSON, 0, 0, 0);
	assert_kind(3802, -1, KIND_JSON, 0, 0, 0);
	assert_kind(2950, -1, KIND_UUID, 0, 0, 0);
	assert_kind(869, -1, KIND_INET, 0, 0, 0);
	assert_kind(650, -1, KIND_INET, 0, 0, 0);
	assert_kind(1082, -1, KIND_DATE, 0, 0, 0);
	assert_kind(1083, -1, KIND_TIME, 6, 0, 0);
	assert_kind(1083, 0, KIND_TIME, 0, 0, 0);
	assert_kind(1114, 3, KIND_TIMESTAMP, 3, 0, 0);
	assert_kind(1184, -1, KIND_INSTANT, 6, 0, 0);
	assert_kind(1700, -1, KIND_DECIMAL, 0, 0, 0);
	assert_kind(1700, NUMERIC(18, 4), KIND_DECIMAL, 18, 4, 0);
	assert_kind(1700, NUMERIC(1000, 1000), KIND_DECIMAL, 1000, 1000, 0);
	assert_kind(1043, 10 + 4, KIND_VARCHAR, 0, 0, 10);
	assert_kind(1042, 3 + 4, KIND_VARCHAR, 0, 0, 3);
	assert_kind(1560, 8, KIND_BIT, 0, 0, 8);
}

static void test_pg_types_what_no_other_engine_has_is_text(void **state)
{
	(void)state;
	assert_int_equal(described(1700, NUMERIC(5, -2)).kind, KIND_TEXT);
	assert_int_equal(described(1700, NUMERIC(3, 5)).kind, KIND_TEXT);
	static const uint32_t oids[] = {18, 19, 25, 28, 142, 600, 790, 1042, 1043, 1186, 1266, 1560, 1562, 3220, 3904,
	        4451, 1000, 1007, 1231, 2951, 2249, 12345};
	for (size_t i = 0; i < sizeof oids / sizeof *oids; i++)
		assert_kind(oids[i], -1, KIND_TEXT, 0, 0, 0);
	assert_int_equal(described(1007, 5).kind, KIND_TEXT);
	for (int32_t typmod = 0; typmod <= 4; typmod++) /* no server of ours says that */
		assert_kind(1043, typmod, KIND_TEXT, 0, 0, 0);
	assert_kind(1042, INT32_MIN, KIND_TEXT, 0, 0, 0);
	assert_kind(1560, 0, KIND_TEXT, 0, 0, 0);
	struct column c = {.type = 23, .typmod = -1, .as_text = true};
	pg_type_set_kind(&c);
	assert_int_equal(c.kind, KIND_TEXT);
}

static void count(void *ctx, const char *native, const struct column *c)
{
	assert_true(native[0]);
	assert_true(c->as_text || pg_type_is_portable(c->type));
	++*(size_t *)ctx;
}

static void test_pg_types_each_shows_every_type(void **state)
{
	(void)state;
	size_t n = 0;
	pg_types_each(count, &n);
	assert_true(n > BUILTIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pg_types_declares_every_builtin_and_its_array_without_modifiers),
	        cmocka_unit_test(test_pg_types_nothing_else_is_portable_and_travels_as_text),
	        cmocka_unit_test(test_pg_types_a_column_that_travels_as_text_is_text),
	        cmocka_unit_test(test_pg_types_keeps_lengths),
	        cmocka_unit_test(test_pg_types_bit_without_length_means_any_length),
	        cmocka_unit_test(test_pg_types_keeps_precision_and_scale_of_numeric),
	        cmocka_unit_test(test_pg_types_keeps_negative_scale_of_numeric),
	        cmocka_unit_test(test_pg_types_writes_precision_before_the_time_zone),
	        cmocka_unit_test(test_pg_types_interval_keeps_its_precision_and_loses_its_fields),
	        cmocka_unit_test(test_pg_types_without_modifiers_a_typmod_changes_nothing),
	        cmocka_unit_test(test_pg_types_kinds_with_their_sizes),
	        cmocka_unit_test(test_pg_types_what_no_other_engine_has_is_text),
	        cmocka_unit_test(test_pg_types_each_shows_every_type),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
