"""A current ClickHouse server, out of the Python package chdb-core: python clickhouse_new.py DIRECTORY (with config.xml)

The package's extension holds clickhouse-local with the server's own HTTP and TCP handlers, and no official way to start
them; hence the pinned version. Imported as `chdb`, it opens a database that refuses to listen. Loaded by its path, its
query() is clickhouse-local: it reads config.xml of the current directory, `SYSTEM START LISTEN HTTP` starts the server,
and that lives as long as the statement after it.
"""

import importlib.util
import os
import sys
from pathlib import Path

FOREVER = """SELECT count() FROM system.numbers WHERE sleepEachRow(1) = 1
SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0"""


def main() -> None:
    package = importlib.util.find_spec("chdb")
    if package is None or not package.submodule_search_locations:
        sys.exit("chdb-core is not installed")
    file = Path(package.submodule_search_locations[0]) / "_chdb.abi3.so"
    spec = importlib.util.spec_from_file_location("_chdb", file)
    module = importlib.util.module_from_spec(spec)
    os.chdir(sys.argv[1])
    spec.loader.exec_module(module)
    module.query("SYSTEM START LISTEN HTTP; " + FOREVER)


main()
