"""The types of the matrix: for each source engine every type, values at its extremes, and what becomes of both in each results
engine. The README's section on types says the same in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | bytes | None  # as the source's clients write it; bytes of a binary type

ALL_BYTES = bytes(range(256))
ODD_TEXT = "tab\t newline\n return\r backslash\\ \\. \\N quote' \" ` \x01\x7f \b\f\v %_?"
WORLD_TEXT = "ÄÖÜ€ 日本語 😀👩‍👩‍👧 𝄞 \u200b\u202e ﷽"


@dataclass(frozen=True)
class Type:
    """name: as a table of the source declares it. postgres, mysql: what the result's column is there (as format_type and
    COLUMN_TYPE say). values: what goes in and comes out, but for those that come out as something else."""

    name: str
    postgres: str
    mysql: str
    values: tuple[Value, ...]
    in_postgres: Mapping[Value, Value] = field(default_factory=dict)
    in_mysql: Mapping[Value, Value] = field(default_factory=dict)
    nullable: bool = True

    def declared(self, results: str) -> str:
        return self.postgres if results == "postgres" else self.mysql

    def expected(self, results: str, value: Value) -> Value:
        changed = self.in_postgres if results == "postgres" else self.in_mysql
        return changed.get(value, value)


def _same(name: str, mysql: str, *values: Value, **changes: Mapping[Value, Value]) -> Type:
    """A type of PostgreSQL, which is the same there."""
    return Type(name, name, mysql, values, **changes)


# MariaDB has neither, and no negative zero.
FLOATS_IN_MYSQL = {"-0": "0", "NaN": None, "Infinity": None, "-Infinity": None}
NONE_IN_MYSQL = {value: None for value in ("NaN", "Infinity", "-Infinity", "infinity", "-infinity")}

POSTGRES = (
    _same("boolean", "tinyint(1)", "1", "0"),
    _same("smallint", "smallint(6)", "-32768", "32767", "0"),
    _same("integer", "int(11)", "-2147483648", "2147483647", "0"),
    _same("bigint", "bigint(20)", "-9223372036854775808", "9223372036854775807", "0"),
    _same("oid", "int(10) unsigned", "0", "4294967295"),
    _same("real", "float", "-3.4028235e+38", "3.4028235e+38", "1.1754944e-38", "0.1", "-0", "16777216", "NaN", "Infinity", "-Infinity",
          in_mysql=FLOATS_IN_MYSQL),
    _same("double precision", "double", "-1.7976931348623157e+308", "1.7976931348623157e+308", "2.2250738585072014e-308", "5e-324",
          "0.1", "0.30000000000000004", "-0", "NaN", "Infinity", "-Infinity", in_mysql=FLOATS_IN_MYSQL),
    _same("numeric", "longtext", "9" * 100 + "." + "7" * 100, "-0.00000000000000000000000000000000000001", "0", "NaN", "Infinity"),
    _same("numeric(10,0)", "decimal(10,0)", "-9999999999", "9999999999", "0"),
    _same("numeric(18,4)", "decimal(18,4)", "-99999999999999.9999", "99999999999999.9999", "0.0001", "0.0000", "NaN", in_mysql=NONE_IN_MYSQL),
    _same("numeric(65,30)", "decimal(65,30)", "-" + "9" * 35 + "." + "9" * 30, "0." + "0" * 29 + "1"),
    _same("numeric(100,50)", "longtext", "9" * 50 + "." + "9" * 50, "-0." + "0" * 49 + "1", "NaN"),
    _same("numeric(3,-2)", "longtext", "-99900", "0"),
    _same("money", "longtext", "-$92,233,720,368,547,758.08", "$0.00"),
    _same("text", "longtext", "", ODD_TEXT, WORLD_TEXT, " padded ", "NULL", "\\N"),
    _same("character varying", "longtext", "", ODD_TEXT, WORLD_TEXT, "x" * 70000),
    _same("character varying(40)", "varchar(40)", "", " ", "ab  ", "😀" * 40, "\\\t\n\r'\"`"),
    _same("character varying(20000)", "longtext", "", "€" * 20000),
    _same("character(10)", "varchar(10)", "ab        ", "😀         ", "          "),
    _same('"char"', "longtext", "Z", ""),
    _same("name", "longtext", "n" * 63, ""),
    _same("bytea", "longblob", b"", ALL_BYTES, b"\x00", b"\\x41\\", b"\xff\xfe\x00\r\n\t'"),
    _same("date", "date", "0001-01-01", "9999-12-31", "2024-02-29", "1970-01-01", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity",
          in_mysql={**NONE_IN_MYSQL, "4713-01-01 BC": None, "5874897-12-31": None}),
    _same("time without time zone", "time(6)", "00:00:00", "23:59:59.999999", "24:00:00"),
    _same("time(2) without time zone", "time(2)", "00:00:00", "23:59:59.99"),
    _same("time with time zone", "longtext", "00:00:00+15:59", "23:59:59.999999-15:59"),
    _same("timestamp without time zone", "datetime(6)", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "2024-02-29 12:34:56.789",
          "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity", "-infinity",
          in_mysql={**NONE_IN_MYSQL, "4713-01-01 00:00:00 BC": None, "294276-12-31 23:59:59.999999": None}),
    _same("timestamp(0) without time zone", "datetime", "2024-02-29 12:34:56", "1970-01-01 00:00:00"),
    _same("timestamp with time zone", "datetime(6)", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1970-01-01 00:00:00",
          "2024-07-01 12:00:00.5", "infinity", in_mysql=NONE_IN_MYSQL),
    _same("timestamp(3) with time zone", "datetime(3)", "2024-07-01 12:00:00.123"),
    _same("interval", "longtext", "-1 mons +2 days -03:04:05.678901", "00:00:00", "1 year 2 mons"),
    _same("uuid", "char(36)", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    _same("json", "longtext", "{}", '{"a" : [1,  2.50, "\\u00e9", null], "a": 1e400}', "null", "[" * 50 + "]" * 50),
    _same("jsonb", "longtext", "{}", '{"a": [1, 2.50, "é", null], "n": 123456789012345678901234567890.5}', '"text"'),
    _same("jsonpath", "longtext", '$."a"[*]?(@ > 3)'),
    _same("xml", "longtext", '<a b="c">d &amp; e</a>'),
    _same("inet", "varchar(49)", "0.0.0.0/0", "10.1.2.3", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1/64"),
    _same("cidr", "varchar(49)", "10.0.0.0/8", "ffff::/16"),
    _same("macaddr", "longtext", "08:00:2b:01:02:03"),
    _same("macaddr8", "longtext", "08:00:2b:01:02:03:04:05"),
    _same("bit(1)", "bit(1)", "0", "1"),
    _same("bit(5)", "bit(5)", "00000", "10101"),
    _same("bit(64)", "bit(64)", "1" * 64, "0" * 63 + "1"),
    _same("bit(70)", "longtext", "10" * 35),
    _same("bit varying", "longtext", "", "1111000011110000111"),
    _same("point", "longtext", "(-1e+308,1e-308)"),
    _same("box", "longtext", "(3,4),(1,2)"),
    _same("circle", "longtext", "<(1.5,2.5),3.5>"),
    _same("tsvector", "longtext", "'a b':1A,2B 'c':3"),
    _same("int8range", "longtext", "empty", "[1,5)", "(,)"),
    _same("numrange", "longtext", "[-1.5,1.5]"),
    _same("int4multirange", "longtext", "{[1,3),[5,8)}", "{}"),
    _same("integer[]", "longtext", "{}", "[2:4]={1,NULL,3}", "{{1,2},{3,4}}"),
    _same("text[]", "longtext", "{}", '{"",NULL,"NULL","a,b","\\"q\\"","back\\\\slash"}'),
    _same("numeric(5,2)[]", "longtext", "{999.99,-999.99,NULL}"),
    Type("matrix_mood", "text", "longtext", ("sad", "it's \\ \"odd\"")),
    Type("matrix_mood[]", "text", "longtext", ("{sad,NULL}",)),
    Type("matrix_pair", "text", "longtext", ('(1,"a, ""b""")', "(,)")),
    Type("matrix_code", "character varying(8)", "varchar(8)", ("abcdefgh", "")),
)

ZERO_DATES = {"0000-00-00": None, "2024-00-00": None, "2024-02-00": None}

MYSQL = (
    Type("TINYINT", "smallint", "tinyint(4)", ("-128", "127", "0")),
    Type("TINYINT UNSIGNED", "smallint", "tinyint(3) unsigned", ("0", "255")),
    Type("SMALLINT", "smallint", "smallint(6)", ("-32768", "32767")),
    Type("SMALLINT UNSIGNED", "integer", "smallint(5) unsigned", ("0", "65535")),
    Type("MEDIUMINT", "integer", "mediumint(9)", ("-8388608", "8388607")),
    Type("MEDIUMINT UNSIGNED", "integer", "mediumint(8) unsigned", ("0", "16777215")),
    Type("INT", "integer", "int(11)", ("-2147483648", "2147483647", "0")),
    Type("INT UNSIGNED", "bigint", "int(10) unsigned", ("0", "4294967295")),
    Type("INT(8) UNSIGNED ZEROFILL", "bigint", "int(10) unsigned", ("42", "4294967295")),
    Type("BIGINT", "bigint", "bigint(20)", ("-9223372036854775808", "9223372036854775807")),
    Type("BIGINT UNSIGNED", "numeric(20,0)", "bigint(20) unsigned", ("0", "18446744073709551615")),
    Type("BOOLEAN", "smallint", "tinyint(4)", ("0", "1", "-128", "127")),
    Type("BIT(1)", "bit(1)", "bit(1)", ("0", "1")),
    Type("BIT(5)", "bit(5)", "bit(5)", ("00000", "10101")),
    Type("BIT(64)", "bit(64)", "bit(64)", ("1" * 64, "0" * 63 + "1")),
    Type("DECIMAL(10,0)", "numeric(10,0)", "decimal(10,0)", ("-9999999999", "9999999999", "0")),
    Type("DECIMAL(18,4)", "numeric(18,4)", "decimal(18,4)", ("-99999999999999.9999", "99999999999999.9999", "0.0001", "0.0000")),
    Type("DECIMAL(65,30)", "numeric(65,30)", "decimal(65,30)", ("-" + "9" * 35 + "." + "9" * 30, "0." + "0" * 29 + "1")),
    Type("FLOAT", "real", "float", ("-3.4028234663852886e+38", "3.4028234663852886e+38", "1.1754944e-38", "0.1", "16777216", "0")),
    Type("DOUBLE", "double precision", "double", ("-1.7976931348623157e+308", "1.7976931348623157e+308", "2.2250738585072014e-308", "0.1",
                                                  "0.30000000000000004", "0")),
    Type("YEAR", "smallint", "year(4)", ("1901", "2155", "0000"), in_postgres={"0000": "0"}),
    Type("DATE", "date", "date", ("0001-01-01", "9999-12-31", "2024-02-29", *ZERO_DATES), in_postgres=ZERO_DATES),
    Type("TIME", "interval(0)", "time", ("-838:59:59", "838:59:59", "00:00:00", "-00:00:01")),
    Type("TIME(6)", "interval(6)", "time(6)", ("-838:59:59.999999", "838:59:59.999999", "00:00:00.000001")),
    Type("DATETIME", "timestamp(0) without time zone", "datetime", ("0001-01-01 00:00:00", "9999-12-31 23:59:59", "0000-00-00 00:00:00"),
         in_postgres={"0000-00-00 00:00:00": None}),
    Type("DATETIME(6)", "timestamp(6) without time zone", "datetime(6)",
         ("0001-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999", "2024-00-00 12:00:00.5"), in_postgres={"2024-00-00 12:00:00.5": None}),
    Type("TIMESTAMP NULL", "timestamp(0) with time zone", "timestamp", ("1970-01-01 00:00:01", "2038-01-19 03:14:07", "0000-00-00 00:00:00"),
         in_postgres={"0000-00-00 00:00:00": None}),
    Type("TIMESTAMP(6) NULL", "timestamp(6) with time zone", "timestamp(6)", ("1970-01-01 00:00:01.5", "2038-01-19 03:14:07.999999")),
    Type("CHAR(10)", "character varying(10)", "char(10)", ("", "ab", "😀" * 10, "\\\t\n\r'\"`")),
    Type("VARCHAR(40)", "character varying(40)", "varchar(40)", ("", "ab  ", "😀" * 40, "\\\t\n\r'\"`", "NULL", "\\N")),
    Type("VARCHAR(40) CHARACTER SET latin1", "character varying(40)", "varchar(40)", ("", "ÄÖÜ€ý")),
    # The server tells the length as characters of four bytes: a size more is needed to be sure.
    Type("TINYTEXT", "text", "text", ("", "x" * 255)),
    Type("TEXT", "text", "mediumtext", ("", ODD_TEXT, WORLD_TEXT, "x" * 65535)),
    Type("MEDIUMTEXT", "text", "longtext", ("", "€" * 30000)),
    Type("LONGTEXT", "text", "longtext", ("", ODD_TEXT)),
    Type("TEXT CHARACTER SET latin1", "text", "mediumtext", ("", "ÄÖÜ€ý" * 13107)),
    Type("BINARY(8)", "bytea", "binary(8)", (b"\x00" * 8, b"\xff\x00\\x4\r\n'")),
    Type("VARBINARY(300)", "bytea", "varbinary(300)", (b"", ALL_BYTES)),
    Type("TINYBLOB", "bytea", "tinyblob", (b"", b"\x00\xff")),
    Type("BLOB", "bytea", "blob", (b"", ALL_BYTES)),
    Type("MEDIUMBLOB", "bytea", "mediumblob", (b"", ALL_BYTES)),
    Type("LONGBLOB", "bytea", "longblob", (b"", ALL_BYTES * 400)),
    Type("ENUM('a','it''s','é')", "text", "tinytext", ("a", "it's", "é")),
    Type("SET('x','y','z')", "text", "tinytext", ("", "x,z", "x,y,z")),
    Type("JSON", "json", "longtext", ("{}", '{"a" : [1,  2.50, "\\u00e9", null], "a": 1e400}', "null")),
    Type("UUID", "uuid", "char(36)", ("123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000")),
    Type("INET6", "inet", "varchar(49)", ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:192.0.2.1")),
    Type("INET4", "inet", "varchar(49)", ("0.0.0.0", "255.255.255.255")),
    Type("POINT", "bytea", "longblob", (b"\x00\x00\x00\x00\x01\x01\x00\x00\x00" + b"\x00" * 16,)),
)

CLICKHOUSE_FLOATS_IN_MYSQL = {"-0": "0", "nan": None, "inf": None, "-inf": None}

CLICKHOUSE = (
    Type("Int8", "smallint", "tinyint(4)", ("-128", "127", "0")),
    Type("UInt8", "smallint", "tinyint(3) unsigned", ("0", "255")),
    Type("Int16", "smallint", "smallint(6)", ("-32768", "32767")),
    Type("UInt16", "integer", "smallint(5) unsigned", ("0", "65535")),
    Type("Int32", "integer", "int(11)", ("-2147483648", "2147483647")),
    Type("UInt32", "bigint", "int(10) unsigned", ("0", "4294967295")),
    Type("Int64", "bigint", "bigint(20)", ("-9223372036854775808", "9223372036854775807")),
    Type("UInt64", "numeric(20,0)", "bigint(20) unsigned", ("0", "18446744073709551615")),
    Type("Float32", "real", "float", ("-3.4028235e38", "3.4028235e38", "1.1754944e-38", "0.1", "16777216", "1e-45", "-0", "nan", "inf", "-inf"),
         in_mysql=CLICKHOUSE_FLOATS_IN_MYSQL),
    Type("Float64", "double precision", "double", ("-1.7976931348623157e308", "1.7976931348623157e308", "2.2250738585072014e-308", "0.1",
                                                   "0.30000000000000004", "5e-324", "-0", "nan", "inf", "-inf"),
         in_mysql=CLICKHOUSE_FLOATS_IN_MYSQL),
    Type("Decimal(9,2)", "numeric(9,2)", "decimal(9,2)", ("-9999999.99", "9999999.99", "0.01", "0.00")),
    Type("Decimal(18,4)", "numeric(18,4)", "decimal(18,4)", ("-99999999999999.9999", "99999999999999.9999", "0.0001", "1.5000")),
    Type("Decimal(38,10)", "numeric(38,10)", "decimal(38,10)", ("-" + "9" * 28 + "." + "9" * 10, "0.0000000001")),
    Type("String", "text", "longtext", ("", ODD_TEXT, WORLD_TEXT, "NULL", "\\N", "x" * 70000)),
    Type("FixedString(4)", "text", "longtext", ("abcd", "é\\'")),
    Type("Enum8('a' = 1, 'it\\'s' = 2)", "text", "longtext", ("a", "it's")),
    Type("Enum16('x' = -1000, 'é' = 1000)", "text", "longtext", ("x", "é")),
    Type("Date", "date", "date", ("1970-01-02", "2105-12-31", "2024-02-29")),
    Type("DateTime", "timestamp(0) without time zone", "datetime", ("1970-01-01 00:00:01", "2024-02-29 12:34:56", "2105-12-31 23:59:59")),
    Type("DateTime('Asia/Kolkata')", "timestamp(0) without time zone", "datetime", ("2024-02-29 12:34:56",)),
    Type("UUID", "uuid", "char(36)", ("123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000")),
    Type("Array(Int32)", "text", "longtext", ("[]", "[1,-2,3]"), nullable=False),
    Type("Array(String)", "text", "longtext", ("[]", "['a','b,c']"), nullable=False),
    Type("Array(Nullable(String))", "text", "longtext", ("[NULL,'x']",), nullable=False),
    Type("Tuple(Int32, String)", "text", "longtext", ("(1,'x')",), nullable=False),
)

# The day 0 and the second 0 of the old server are its zero dates: it writes 0000-00-00, whatever was meant.
CLICKHOUSE_OLD = (
    *CLICKHOUSE,
    Type("Date", "date", "date", ("1970-01-01",), in_postgres={"1970-01-01": None}, in_mysql={"1970-01-01": "0000-00-00"}),
    Type("DateTime", "timestamp(0) without time zone", "datetime", ("1970-01-01 00:00:00",), in_postgres={"1970-01-01 00:00:00": None},
         in_mysql={"1970-01-01 00:00:00": "0000-00-00 00:00:00"}),
)

CLICKHOUSE_NEW = (
    *CLICKHOUSE,
    Type("Date", "date", "date", ("1970-01-01", "2149-06-06")),
    Type("DateTime", "timestamp(0) without time zone", "datetime", ("1970-01-01 00:00:00", "2106-02-07 06:28:15")),
    Type("Bool", "boolean", "tinyint(1)", ("0", "1")),
    Type("Int128", "numeric(39,0)", "decimal(39,0)", (str(-2**127), str(2**127 - 1))),
    Type("UInt128", "numeric(39,0)", "decimal(39,0)", ("0", str(2**128 - 1))),
    Type("Int256", "numeric(78,0)", "longtext", (str(-2**255), str(2**255 - 1))),
    Type("UInt256", "numeric(78,0)", "longtext", ("0", str(2**256 - 1))),
    Type("Decimal(76,38)", "numeric(76,38)", "longtext", ("-" + "9" * 38 + "." + "9" * 38, "1." + "0" * 37 + "1")),
    Type("LowCardinality(Nullable(String))", "text", "longtext", ("", WORLD_TEXT), nullable=False),
    Type("Date32", "date", "date", ("1900-01-01", "2299-12-31")),
    Type("DateTime64(3)", "timestamp(3) without time zone", "datetime(3)", ("1900-01-01 00:00:00.001", "2299-12-31 23:59:59.999")),
    Type("DateTime64(6, 'UTC')", "timestamp(6) without time zone", "datetime(6)", ("1970-01-01 00:00:00.000001", "2024-02-29 12:34:56.789")),
    Type("DateTime64(9)", "text", "longtext", ("2024-02-29 12:34:56.123456789",)),
    Type("IPv4", "inet", "varchar(49)", ("0.0.0.0", "255.255.255.255")),
    Type("IPv6", "inet", "varchar(49)", ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
    Type("Map(String, UInt64)", "text", "longtext", ("{}", "{'a':1,'b':18446744073709551615}"), nullable=False),
)

TYPES = {"postgres": POSTGRES, "mysql": MYSQL, "clickhouse18": CLICKHOUSE_OLD, "clickhouse26": CLICKHOUSE_NEW}
