"""The result table: its shape, its rows, how it is replaced, how durable it is."""

import threading
import time

import pytest
from psycopg import sql
from support import SLOW, table_name, uid, wait_until


def storage(stack, job_id, db):
    """(relpersistence, has a TOAST table) of a result table."""
    return stack.query("SELECT relpersistence, reltoastrelid <> 0 FROM pg_class WHERE relname = %s", f"results_{job_id}", db=db)[0]


@pytest.mark.parametrize(("task", "args"), [("none_copied", []), ("none_of_them", [-1]), ("max_rows", [0])])
def test_zero_rows_make_an_empty_table_with_the_right_columns(stack, task, args):
    job_id = stack.submit(task, *args)
    job = stack.wait(job_id)
    assert (job["state"], job["count"]) == ("SUCCESS", 0)
    assert stack.count(job_id) == 0
    columns = stack.columns(job_id)
    if task == "none_copied":
        assert columns == [
            ("id", "bigint"),
            ("amount", "numeric(18,4)"),
            ("created_at", "timestamp with time zone"),
            ("currency", "character(3)"),
        ]
    else:
        assert columns[0][1] == "bigint"


def test_duplicate_names_are_made_unique(stack):
    job_id = stack.succeed("duplicate_names")
    names = [name for name, _ in stack.columns(job_id)]
    assert len(set(names)) == 7
    assert names[0] == "a"
    assert names[-1] == "A"
    assert stack.rows(job_id) == [(1, 2, 3, 4, 5, 6, 7)]


def test_names_with_quotes_and_other_characters_are_kept(stack):
    job_id = stack.succeed("odd_names")
    assert [name for name, _ in stack.columns(job_id)] == [
        'a"b',
        "select",
        "Ünï côdé",
        "a'; DROP TABLE dungbeetle_results; --",
        " ",
        "%s$1\\",
    ]
    assert stack.rows(job_id) == [(1, 2, 3, 4, 5, 6)]
    assert stack.registry(job_id)["row_count"] == 1


def test_names_of_the_greatest_length_stay_unique_and_valid(stack):
    job_id = stack.succeed("long_names")
    names = [name for name, _ in stack.columns(job_id)]
    assert len(set(names)) == 4
    assert all(len(name.encode()) <= 63 for name in names)
    assert stack.rows(job_id) == [(1, 2, 3, 4)]


def test_columns_named_like_a_system_column_are_kept_under_a_name_that_can_be(stack):
    """ctid, xmin ... are no names for a column of a table; their values still come."""
    job_id = stack.succeed("system_names")
    rows = stack.rows(job_id)
    assert len(rows) == 2
    assert str(rows[0][0]).startswith("(")
    assert rows[0][3] == 1


def test_all_null_rows(stack):
    job_id = stack.succeed("all_null", 1000)
    assert stack.columns(job_id) == [("a", "integer"), ("b", "text"), ("c", "numeric(5,2)"), ("d", "timestamp with time zone")]
    assert set(stack.rows(job_id)) == {(None, None, None, None)}
    assert stack.count(job_id) == 1000


def test_two_hundred_columns(stack):
    job_id = stack.succeed("columns_200")
    columns = stack.columns(job_id)
    assert [name for name, _ in columns] == [f"c{i}" for i in range(200)]
    assert [kind for _, kind in columns[:5]] == ["integer", "text", "numeric(12,3)", "timestamp with time zone", "boolean"]
    assert stack.count(job_id) == 50
    assert stack.query(
        sql.SQL("SELECT sum(c0), sum(c11::integer), sum(c197), count(c3), count(c199) FROM {}").format(table_name(job_id))
    ) == [(1275, 1275, 1275, 0, 0)]


@pytest.mark.parametrize(("task", "db"), [("wide_rows", "reports"), ("in_relaxed", "relaxed"), ("in_unlogged", "unlogged")])
@pytest.mark.parametrize(
    ("rows", "size"), [(1, 7000), (1, 7800), (1, 7900), (1, 8200), (3, 20_000), (1, 1 << 20), (5, 1 << 20), (20_000, 10), (20_000, 0)]
)
def test_rows_of_any_size(stack, task, db, rows, size):
    """From rows that just fit a page without TOAST to values of a megabyte, small results and streamed ones."""
    job_id = stack.succeed(task, rows, size)
    found = stack.query(
        sql.SQL("SELECT count(*), min(length(filler)), max(length(filler)), sum(n) FROM {}").format(table_name(job_id)), db=db
    )
    assert found == [(rows, size, size, rows * (rows + 1) // 2)]


def test_a_value_that_does_not_compress_and_is_larger_than_a_page(stack):
    job_id = stack.succeed("random_hex", 1000)
    want = stack.query("SELECT md5(string_agg(md5(i::text), '')) FROM generate_series(1, 1000) AS i", db="ledger")
    assert stack.query(sql.SQL("SELECT md5(hex) FROM {}").format(table_name(job_id))) == want


@pytest.mark.parametrize(
    ("task", "args", "rows"), [("raw_show", [], [("UTF8",)]), ("with_first", [], [("$1; -- name: no",)]), ("timed_raw", [0], [(0.0,)])]
)
def test_raw_tasks_and_odd_texts_of_tasks(stack, task, args, rows):
    assert stack.rows(stack.succeed(task, *args)) == rows


def test_count_and_registry_say_what_is_there(stack):
    job_id = stack.submit("numbers", 123, ttl=600)
    job = stack.wait(job_id)
    assert job["count"] == 123
    row = stack.registry(job_id)
    assert {"table_name": f"results_{job_id}", "task": "numbers", "row_count": 123}.items() <= row.items()
    assert 595 <= (row["expires_at"] - row["created_at"]).total_seconds() <= 605


def test_a_result_lives_as_long_as_its_ttl_says(stack):
    def ttl(job_id):
        row = stack.registry(job_id)
        return round((row["expires_at"] - row["created_at"]).total_seconds())

    assert ttl(stack.succeed("nothing_asked")) == 3600  # jobs.result_ttl
    assert ttl(stack.succeed("nothing_asked", ttl=77)) == 77
    assert ttl(stack.succeed("ledger_export", queue="default")) == 7200  # the task's


def test_the_result_goes_to_one_of_the_tasks_results_databases_and_always_to_the_same(stack):
    used = set()
    for _ in range(12):
        job_id = stack.submit("in_three", "one")
        db = stack.wait(job_id)["results"]["db"]
        used.add(db)
        assert [name for name in ("reports", "relaxed", "unlogged") if stack.has_table(job_id, name)] == [db]
        assert stack.wait(stack.submit("in_three", "two", job_id=job_id))["results"]["db"] == db
        assert stack.rows(job_id, db=db) == [("two",)]
    assert len(used) > 1


def test_no_staging_table_stays(stack):
    for task, args in (("numbers", [100_000]), ("breaks_late_copied", []), ("numbers", [1])):
        stack.run(task, *args)
    assert not {name for name in stack.tables() if not name.startswith("results_")}


# --- durability


@pytest.mark.parametrize("rows", [1, 50_000])
def test_unlogged_true_makes_unlogged_tables(stack, rows):
    job_id = stack.succeed("in_unlogged", rows, 10)
    assert storage(stack, job_id, "unlogged")[0] == "u"
    assert stack.registry(job_id, "unlogged")["unlogged"] is True


def test_relaxed_small_results_are_logged_and_without_toast_large_ones_unlogged(stack):
    small = stack.succeed("in_relaxed", 10, 10)
    assert storage(stack, small, "relaxed") == ("p", False)
    assert stack.registry(small, "relaxed")["unlogged"] is False
    large = stack.succeed("in_relaxed", 50_000, 10)
    assert storage(stack, large, "relaxed")[0] == "u"
    assert stack.registry(large, "relaxed")["unlogged"] is True


def test_a_small_result_whose_row_does_not_fit_a_page_gets_toast(stack):
    job_id = stack.succeed("in_relaxed", 1, 20_000)
    assert storage(stack, job_id, "relaxed") == ("p", True)
    assert stack.query(sql.SQL("SELECT length(filler) FROM {}").format(table_name(job_id)), db="relaxed") == [(20_000,)]


@pytest.mark.parametrize("rows", [1, 50_000])
def test_full_durability_makes_logged_tables(stack, rows):
    assert storage(stack, stack.succeed("numbers", rows), "reports")[0] == "p"


def test_an_application_can_work_on_with_its_result(stack):
    """It is an ordinary table: wider values, indexes and columns can be added."""
    job_id = stack.succeed("numbers", 3)
    for statement in (
        "UPDATE {} SET name = repeat('x', 5000) WHERE n = 1",
        "CREATE INDEX ON {} (n)",
        "ALTER TABLE {} ADD COLUMN more text",
        "DELETE FROM {} WHERE n = 2",
        "INSERT INTO {} (n) VALUES (9)",
    ):
        stack.query(sql.SQL(statement).format(table_name(job_id)))
    assert stack.count(job_id) == 3
    assert stack.delete(f"/jobs/{job_id}?purge=true").status == 200
    wait_until(lambda: not stack.has_table(job_id), 5, "drop of the table")


# --- replacing


@pytest.mark.parametrize("rows", [10, 30_000])
def test_a_reader_sees_the_whole_old_result_and_then_the_whole_new_one(stack, rows):
    """While a reader's transaction holds the old table, the new result waits; the reader is not disturbed."""
    job_id = stack.succeed("versioned", rows, "old")
    read = sql.SQL("SELECT count(*), min(version), max(version) FROM {}").format(table_name(job_id))
    with stack.db("reports") as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert reader.execute(read).fetchall() == [(rows, "old", "old")]
        stack.submit("versioned", rows, "new", job_id=job_id)
        wait_until(lambda: stack.query("SELECT 1 FROM pg_locks WHERE NOT granted"), 10 * SLOW, "the worker waits for the lock")
        assert stack.job(job_id)["state"] == "STARTED"
        assert reader.execute(read).fetchall() == [(rows, "old", "old")]
        reader.execute("COMMIT")
    assert stack.wait(job_id)["state"] == "SUCCESS"
    assert stack.query(read) == [(rows, "new", "new")]


def test_readers_that_come_and_go_see_only_whole_results(stack):
    job_id = stack.succeed("versioned", 2000, "v0")
    read = sql.SQL("SELECT count(*), count(DISTINCT version) FROM {}").format(table_name(job_id))
    stop = threading.Event()
    seen, problems = set(), []

    def look():
        with stack.db("reports") as connection:
            while not stop.is_set():
                try:
                    seen.add(connection.execute(read).fetchone())
                except Exception as problem:  # noqa: BLE001
                    problems.append(problem)
                    return

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for i in range(1, 11):
            stack.succeed("versioned", 2000, f"v{i}", job_id=job_id)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert seen == {(2000, 1)}


def test_a_replaced_result_may_have_other_columns(stack):
    job_id = stack.succeed("numbers", 3)
    stack.succeed("echo", "a", "b", job_id=job_id)
    assert [name for name, _ in stack.columns(job_id)] == ["a", "b", "a_is_null", "b_is_null"]
    stack.succeed("numbers", 50_000, job_id=job_id)
    stack.succeed("numbers", 2, job_id=job_id)
    assert stack.count(job_id) == 2
    assert stack.registry(job_id)["row_count"] == 2


def test_a_new_result_for_an_id_whose_table_was_dropped_by_hand(stack):
    job_id = stack.succeed("numbers", 3)
    stack.query(sql.SQL("DROP TABLE {}").format(table_name(job_id)))
    stack.succeed("numbers", 4, job_id=job_id)
    assert stack.count(job_id) == 4


def test_a_stranger_table_of_the_same_name_is_replaced(stack):
    """A table without a row in the registry, as the original DungBeetle leaves them."""
    job_id = uid()
    stack.query(sql.SQL("CREATE TABLE {} (x integer)").format(table_name(job_id)))
    stack.succeed("numbers", 4, job_id=job_id)
    assert stack.count(job_id) == 4


def test_a_dropped_registry_is_made_again(stack, make_stack):
    own = make_stack(pg=stack.pg_source)
    own.succeed("numbers", 1)
    own.query("DROP TABLE dungbeetle_results")
    job_id = own.succeed("numbers", 2)
    assert own.count(job_id) == 2
    assert own.registry(job_id)["row_count"] == 2


def test_dropped_templates_are_made_again(stack, make_stack):
    own = make_stack(pg=stack.pg_source, queues={"default": 1})
    first = own.succeed("numbers", 1)
    templates = [name for (name,) in own.query("SELECT relname FROM pg_class WHERE relname LIKE 'dungbeetle_template_%' AND relkind = 'r'")]
    assert templates
    for name in templates:
        own.query(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    for _ in range(2):
        assert own.count(own.succeed("numbers", 2)) == 2
    assert own.count(first) == 1


# --- sessions


def test_an_administrator_sees_which_job_and_task_runs_a_query(stack):
    """application_name in pg_stat_activity holds job id and task, on the source's server."""
    for task, args in (("session", ["x", 30]), ("timed_raw", [0.25])):
        job_id = stack.submit(task, *args)
        (session,) = wait_until(lambda: stack.running_query(job_id), 10 * SLOW, "the query")
        assert session["application_name"] == f"{job_id} {task}"[:63]
        stack.delete(f"/jobs/{job_id}")


def test_source_sessions_are_read_only_and_know_their_time_limit(stack):
    job_id = stack.succeed("session", "x", 0, timeout=33)
    (row,) = stack.rows(job_id)
    assert row[2] == "on"
    assert row[3] == "33s"
    assert row[1] == f"{job_id} session"


def test_the_next_job_of_a_slot_does_not_inherit_the_time_limit(stack):
    stack.succeed("session", "x", 0, timeout=33, queue="one")
    (row,) = stack.rows(stack.succeed("session", "x", 0, queue="one"))
    assert row[3] == "0"


def test_the_connection_of_a_slot_is_kept(stack):
    pids = {stack.rows(stack.succeed("session", "x", 0, queue="one", db="ledger"))[0][0] for _ in range(3)}
    assert len(pids) == 1


def test_a_changed_source_table_is_noticed_by_prepared_statements(stack, make_stack):
    """ALTER TABLE between two jobs: the new columns come, by COPY and with arguments."""
    stack.query("CREATE TABLE test_changing (a integer); INSERT INTO test_changing VALUES (1)", db="ledger")
    directory = stack.dir / uid("sql")
    directory.mkdir()
    (directory / "t.sql").write_text(
        "-- name: changing\n-- db: ledger\n-- results: reports\nSELECT * FROM test_changing\n;\n"
        "-- name: changing_args\n-- db: ledger\n-- results: reports\nSELECT * FROM test_changing WHERE $1::boolean;\n"
    )
    own = make_stack(pg=stack.pg_source, queues={"default": 1}, sql_directories=[directory])
    for columns, change in (
        (1, "ALTER TABLE test_changing ADD b text DEFAULT 'new'"),
        (2, "ALTER TABLE test_changing ALTER a TYPE bigint"),
        (2, "ALTER TABLE test_changing DROP a"),
        (1, "DROP TABLE test_changing"),
    ):
        for task, args in (("changing", []), ("changing_args", [True])):
            job_id = own.succeed(task, *args)
            assert len(own.columns(job_id)) == columns
            assert own.count(job_id) == 1
        own.query(change, db="ledger")
    assert "test_changing" in own.fail("changing")["error"]


def test_a_streamed_result_needs_no_more_memory_than_a_short_one(stack):
    """Peak memory of the worker does not grow with the rows."""

    def peak():
        return int(next(line for line in open(f"/proc/{stack.workers[0].pid}/status") if line.startswith("VmHWM")).split()[1])

    stack.succeed("numbers", 100_000)
    before = peak()
    began = time.monotonic()
    stack.succeed("numbers", 1_000_000)
    assert peak() - before < 4096 * SLOW, time.monotonic() - began
