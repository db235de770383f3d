-- What the tests' tasks read beside the ledger.
SET client_min_messages = warning;

CREATE TYPE test_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE test_pair AS (a integer, b text);
CREATE DOMAIN test_positive AS numeric(12,3) CHECK (VALUE > 0);
CREATE DOMAIN test_code AS varchar(8);

-- A column for each built-in type, with its modifiers; rows with least, greatest, special and empty values, and NULLs.
CREATE TABLE test_types (
	row_id integer,
	c_bool boolean, c_int2 smallint, c_int4 integer, c_int8 bigint, c_oid oid,
	c_real real, c_double double precision,
	c_numeric numeric, c_numeric_10_0 numeric(10,0), c_numeric_18_4 numeric(18,4), c_numeric_38_30 numeric(38,30),
	c_numeric_3_m2 numeric(3,-2), c_numeric_2_5 numeric(2,5), c_money money,
	c_text text, c_varchar varchar, c_varchar_10 varchar(10), c_varchar_big varchar(10485760), c_bpchar bpchar, c_char char, c_char_10 char(10),
	c_char1 "char", c_name name, c_bytea bytea,
	c_date date, c_time time, c_time_2 time(2), c_timetz timetz, c_timetz_4 timetz(4),
	c_timestamp timestamp, c_timestamp_0 timestamp(0), c_timestamptz timestamptz, c_timestamptz_3 timestamptz(3),
	c_interval interval, c_interval_3 interval(3),
	c_uuid uuid, c_json json, c_jsonb jsonb, c_jsonpath jsonpath, c_xml xml,
	c_inet inet, c_cidr cidr, c_macaddr macaddr, c_macaddr8 macaddr8,
	c_bit bit, c_bit_5 bit(5), c_varbit varbit, c_varbit_7 varbit(7),
	c_point point, c_line line, c_lseg lseg, c_box box, c_path path, c_polygon polygon, c_circle circle,
	c_tsvector tsvector, c_tsquery tsquery, c_xid8 xid8,
	c_int4range int4range, c_int8range int8range, c_numrange numrange, c_tsrange tsrange, c_tstzrange tstzrange, c_daterange daterange,
	c_int4multirange int4multirange, c_nummultirange nummultirange, c_tstzmultirange tstzmultirange,
	c_bool_a boolean[], c_int4_a integer[], c_int8_a bigint[], c_text_a text[], c_varchar_5_a varchar(5)[], c_numeric_5_2_a numeric(5,2)[],
	c_timestamptz_3_a timestamptz(3)[], c_uuid_a uuid[], c_jsonb_a jsonb[], c_bytea_a bytea[], c_double_a double precision[],
	c_int4range_a int4range[], c_bit_3_a bit(3)[], c_char_4_a char(4)[]
);

INSERT INTO test_types VALUES (
	1,
	false, -32768, -2147483648, -9223372036854775808, 0,
	'-3.4028235e38', '-1.7976931348623157e308',
	'NaN', -9999999999, -99999999999999.9999, '-99999999.999999999999999999999999999999',
	-99900, -0.00099, '-92233720368547758.08',
	'', '', '', '', '', '', '', '', '', '',
	'4713-01-01 BC', '00:00:00', '00:00:00', '00:00:00+15:59', '00:00:00+15:59',
	'4713-01-01 00:00:00 BC', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '4713-01-01 00:00:00+00 BC',
	'-178000000 years', '-178000000 years',
	'00000000-0000-0000-0000-000000000000', '{}', '{}', '$', '<a/>',
	'0.0.0.0/0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00',
	B'0', B'00000', B'', B'',
	'(-1e308,1e-308)', '{1,-1,0}', '[(0,0),(0,0)]', '((0,0),(0,0))', '[(0,0)]', '((0,0))', '<(0,0),0>',
	'', '', '0',
	'empty', 'empty', 'empty', 'empty', 'empty', 'empty',
	'{}', '{}', '{}',
	'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'
), (
	2,
	true, 32767, 2147483647, 9223372036854775807, 4294967295,
	'3.4028235e38', '1.7976931348623157e308',
	repeat('9', 1000)::numeric + ('0.' || repeat('7', 1000))::numeric, 9999999999, 99999999999999.9999, '99999999.999999999999999999999999999999',
	99900, 0.00099, '92233720368547758.07',
	E'tab\t newline\n return\r backslash\\ \\. \\N quote'' "', E'\x01\x7f', 'ÄÖÜ€日本語😀ab', repeat('long ', 2000), 'trailing  ', 'x', 'padded',
	'Z', repeat('n', 63), (SELECT decode(string_agg(lpad(to_hex(i), 2, '0'), '' ORDER BY i), 'hex') FROM generate_series(0, 255) AS i),
	'5874897-12-31', '24:00:00', '23:59:59.99', '24:00:00-15:59', '23:59:59.9999-15:59',
	'294276-12-31 23:59:59.999999', '294276-12-31 23:59:59', '294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999+00',
	'178000000 years 11 mons 2147483647 days 2147483647 hours 59 minutes 59.999999 seconds', '1 day 00:00:01.123',
	'ffffffff-ffff-ffff-ffff-ffffffffffff', '{"a" : [1,  2.50, "\u00e9", null], "a": 1e400}', '{"a": [1, 2.50, "é", null], "n": 123456789012345678901234567890.5}',
	'$."a"[*] ? (@ > 3)', '<a b="c">d &amp; e</a>',
	'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/64', 'ffff::/16', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff',
	B'1', B'10101', B'1111000011110000111', B'1010101',
	'(Infinity,-Infinity)', '{0.1,0.2,0.3}', '[(1.1,2.2),(3.3,4.4)]', '((3,4),(1,2))', '((1,2),(3,4))', '((1,2),(3,4),(5,6))', '<(1.5,2.5),3.5>',
	'''a b'':1A,2B c:3', '''a b'' & ( c | !d:AB ) <-> e', '18446744073709551615',
	'[-2147483648,2147483647)', '(,)', '[-1.5,1e50]', '[2020-01-01,2020-02-01)', '(2020-01-01 00:00+00,infinity)', '[2020-01-01,)',
	'{[1,3),[5,8)}', '{(,1.5),[2.5,)}', '{[2020-01-01 00:00+00,2021-01-01 00:00+00)}',
	'{t,f,NULL}', '[2:4]={1,NULL,3}', '{{1,2},{3,4}}', ARRAY['', 'NULL', NULL, 'a,b', '"q"', E'back\\slash', '{}', ' '], '{abcde,é}', '{999.99,-999.99,NULL}',
	'{2020-01-01 00:00:00.123+00}', '{00000000-0000-0000-0000-000000000001}', ARRAY['{"a": "\"x\""}'::jsonb, 'null'], ARRAY['\x00ff'::bytea, ''],
	'{NaN,Infinity,-0}', '{"[1,5)",empty}', '{101,010}', '{ab,NULL}'
), (
	3,
	NULL, 0, 0, 0, 1,
	'NaN', '-Infinity',
	'Infinity', 0, 0.0001, '0.000000000000000000000000000001',
	0, 0, '0',
	E'𝄞 \u200b', 'v', 'v', 'v', '', ' ', E'\t', ' ', 'n', '\x00',
	'infinity', '12:34:56.123456', '12:34:56.12', '12:34:56.123456+05:30', '12:34:56.1234-03:30',
	'infinity', '-infinity', '-infinity', 'infinity',
	'-1 mons +2 days -03:04:05.678901', '00:00:00',
	'123e4567-e89b-12d3-a456-426614174000', 'null', '"text"', 'strict $', 'text',
	'::1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
	B'1', B'00001', B'0', B'1',
	'(-0,0)', '{1,0,0}', '[(-0,0),(1e-300,1e300)]', '((1,1),(-1,-1))', '[(1,2),(3,4)]', '((1,2),(3,4))', '<(0,0),1e-10>',
	'word', 'word:*', '1',
	'[1,1]', '[1,1]', '[1.10,1.1000]', '[infinity,infinity]', '[-infinity,infinity]', '(-infinity,infinity)',
	'{[1,2)}', '{[1,1]}', '{(,)}',
	'{NULL}', '{{{1}}}', '{9223372036854775807}', ARRAY[E'\t\n\\'], '{NULL}', '{NULL}',
	'{infinity}', '{NULL}', '{NULL}', '{NULL}', '{1e-307}', '{NULL}', '{NULL}', '{NULL}'
);

-- All of a row NULL.
INSERT INTO test_types DEFAULT VALUES;

-- All of these may go from server to server in the binary form; tsquery may not.
CREATE TABLE test_binary_types AS SELECT * FROM test_types;
ALTER TABLE test_binary_types DROP COLUMN c_tsquery;

-- What a results server may not have, or not in the same form: it becomes TEXT.
CREATE TABLE test_foreign_types (
	row_id integer, mood test_mood, moods test_mood[], pair test_pair, pairs test_pair[], class regclass, lsn pg_lsn, item tid,
	snapshot pg_snapshot, positives test_positive[], anything test_types
);
INSERT INTO test_foreign_types VALUES
	(1, 'sad', '{sad,NULL,happy}', '(1,"a, ""b"" \\")', ARRAY['(1,x)'::test_pair, NULL, '(,)'], 'pg_class', 'FFFFFFFF/0', '(4294967295,65535)',
	 '10:20:10,14,15', '{1.5,2.125}', (SELECT t FROM test_types t WHERE row_id = 2)),
	(2, 'happy', '{}', '(,)', '{}', 'test_types', '0/0', '(0,0)', '1:1:', '{}', NULL),
	(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- Domains come as the type below them.
CREATE TABLE test_domains (row_id integer, positive test_positive, code test_code);
INSERT INTO test_domains VALUES (1, 123456789.125, 'abcdefgh'), (2, NULL, '');

-- Tests lock it to make a query wait.
CREATE TABLE test_gate ();
