"""Command lines: --check, --version, --help, wrong flags, wrong configuration; environment over file, flags over environment."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import BIN_DIR, ROOT, deep_merge, to_yaml, uid, wait_until

PROGRAMS = ["dungbeetle-fcgi", "dungbeetle-worker", "dungbeetle-expire"]
BIN = ROOT / BIN_DIR


def call(program, *args, env=None, cwd=None, timeout=60):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DUNGBEETLE_")}
    return subprocess.run(
        [BIN / program, *args], capture_output=True, text=True, check=False, timeout=timeout, env={**clean, **(env or {})}, cwd=cwd
    )


@pytest.fixture
def config(stack, tmp_path):
    """config(**changes): a configuration file like the stack's, with tasks of its own directory."""
    tasks = tmp_path / "sql"
    tasks.mkdir()
    (tasks / "a.sql").write_text("-- name: fine\n-- db: ledger\n-- results: reports\nSELECT $1::integer AS n;\n")

    def make(changes=None, text=None):
        path = tmp_path / "config.yml"
        base = {key: value for key, value in stack.config.items() if key != "worker"}
        base["sql_directories"] = [str(tasks)]
        path.write_text(text if text is not None else to_yaml(deep_merge(base, changes or {})))
        return path

    make.sql = tasks
    return make


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(program):
    done = call(program, "--version")
    assert done.returncode == 0
    assert re.fullmatch(rf"{program} \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_names_every_flag(program):
    done = call(program, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {program}")
    flags = {"--config", "--check", "--version", "--help"}
    flags |= {
        "dungbeetle-fcgi": {"--sql-directory", "--socket"},
        "dungbeetle-expire": {"--dry-run"},
        "dungbeetle-worker": {"--sql-directory", "--queue", "--worker-name", "--worker-concurrency"},
    }[program]
    assert set(re.findall(r"(?m)^  (--[a-z-]+)", done.stdout)) == flags


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("args", [["--nonsense"], ["-x"], ["word"], ["--config"], ["--version=1"]])
def test_a_wrong_flag_is_status_2_and_named(program, args):
    done = call(program, *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{program}: ")
    assert args[0].split("=")[0] in done.stderr


@pytest.mark.parametrize(
    ("program", "args"),
    [("dungbeetle-fcgi", ["--queue", "a"]), ("dungbeetle-expire", ["--sql-directory", "a"]), ("dungbeetle-worker", ["--dry-run"])],
)
def test_a_flag_of_another_program_is_status_2_and_says_so(program, args):
    done = call(program, *args)
    assert done.returncode == 2
    assert args[0] in done.stderr
    assert "another" in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--queue", "a b"], "--queue"),
        (["--queue", "a:0"], "--queue"),
        (["--queue", "a:99999"], "--queue"),
        (["--queue", ""], "--queue"),
        (["--worker-concurrency", "0"], "--worker-concurrency"),
        (["--worker-concurrency", "x"], "--worker-concurrency"),
        (["--sql-directory", "/no/such/directory"], "/no/such/directory"),
        (["--config", "/no/such/file.yml"], "/no/such/file.yml"),
    ],
)
def test_a_wrong_value_of_a_flag_is_status_2_and_named(config, args, says):
    more = [] if "--config" in args else ["--config", config()]
    done = call("dungbeetle-worker", "--check", *more, *args)
    assert done.returncode == 2
    assert says in done.stderr


def test_the_stacks_own_configuration_is_good(stack, config):
    for program in PROGRAMS:
        done = call(program, "--check", "--config", config())
        assert done.returncode == 0, done


def test_the_sample_configuration_is_read_by_every_program(tmp_path):
    """config.sample.yml as it stands: fails only by the servers that are not there, never by its text."""
    for program in PROGRAMS:
        done = call(program, "--check", "--config", ROOT / "config.sample.yml", cwd=ROOT)
        assert "config.sample.yml" not in done.stdout + done.stderr, done


def test_check_names_what_was_checked(config):
    done = call("dungbeetle-worker", "--check", "--config", config())
    assert done.returncode == 0
    for word in ("redis", "source ledger: ok", "results reports: ok", "1 tasks, 0 problems"):
        assert word in done.stdout, done


GOOD = 'redis:\n  url: redis://127.0.0.1:1\nsources:\n  a: {type: postgres, dsn: "x="}\nresults:\n  b: {type: postgres, dsn: "x="}\n'


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("nonsense: 1\n" + GOOD, 1, "nonsense"),
        (GOOD + "worker:\n  leese: 1s\n", 8, "leese"),
        (GOOD + "worker:\n  lease: 5\n", 8, "lease"),
        (GOOD + "worker:\n  lease: 5 parsecs\n", 8, "lease"),
        (GOOD + "worker:\n  concurrency: many\n", 8, "concurrency"),
        (GOOD + "worker:\n  concurrency: 0\n", 8, "concurrency"),
        (GOOD + "jobs:\n  reject_wrong_args: perhaps\n", 8, "reject_wrong_args"),
        (GOOD + "limits:\n  body: 1 parsec\n", 8, "body"),
        (GOOD + "limits: 5\n", 7, "limits"),
        (GOOD + "log:\n  level: loud\n", 8, "level"),
        (GOOD + 'worker:\n  queues: {"a b": 1}\n', 8, "queue"),
        (GOOD.replace("type: postgres", "type: oracle", 1), 4, "type"),
        (GOOD.replace(', dsn: "x="', "", 1), 4, "dsn"),
        (GOOD + "redis:\n  url: x\n", 7, "before"),
        (GOOD.replace("redis://127.0.0.1:1", "http://x"), 2, "redis.url"),
        (GOOD + "expire: {batch: -1}\n", 7, "batch"),
        (GOOD + "\tx: 1\n", 7, ""),
        (GOOD + "a: [1\n", None, ""),
        ("- a\n- b\n", 1, ""),
    ],
)
def test_a_wrong_configuration_is_status_2_with_file_line_and_key(program, config, text, line, says):
    path = config(text=text)
    done = call(program, "--check", "--config", path)
    assert done.returncode == 2, done
    match = re.search(rf"{re.escape(str(path))}:(\d+)", done.stderr)
    assert match, done
    assert says in done.stderr
    assert line is None or int(match[1]) == line, done


def test_an_empty_configuration_is_status_2_and_says_what_is_missing(config):
    done = call("dungbeetle-worker", "--check", "--config", config(text=""))
    assert done.returncode == 2
    assert "redis.url" in done.stderr


@pytest.mark.parametrize("program", PROGRAMS[:2])
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("SELECT 1;\n", 1, "name"),
        ("-- name: a\n-- db: ledger\n", 1, "empty"),
        ("-- name: a\n-- db: nowhere\nSELECT 1;\n", 2, "nowhere"),
        ("-- name: a\n-- results: nowhere\nSELECT 1;\n", 2, "nowhere"),
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n", 3, "a"),
        ("-- name: a b\nSELECT 1;\n", 1, "name"),
        ("-- name: a\n-- timeout: soon\nSELECT 1;\n", 2, "timeout"),
        ("-- name: a\n-- colour: red\nSELECT 1;\n", 2, "colour"),
        ("-- name: a\n-- raw: perhaps\nSELECT 1;\n", 2, "raw"),
        ("-- name: a\nSELECT $1, $3;\n", 2, "$2"),
        ("-- name: a\n-- queue: a b\nSELECT 1;\n", 2, "queue"),
        ("-- name: a\n-- params: x, y\nSELECT $1;\n", 2, "params"),
        ("-- name: a\nSELECT 1; SELECT 2;\n", 2, ""),
        ("-- name: fine\nSELECT 1;\n", 1, "fine"),
        ("-- name: a\n-- name: b\nSELECT 1;\n", 1, ""),
        ("-- name: a\n-- retries: -1\nSELECT 1;\n", 2, "retries"),
        ("-- name: a\n-- db: ledger,\nSELECT 1;\n", 2, "list"),
        ("-- name: a\nSELECT 'open;\n", 2, ""),
        ("-- name: a\n-- ttl: 0\nSELECT 1;\n", 2, "ttl"),
        ("-- name: \nSELECT 1;\n", 1, "name"),
    ],
)
def test_a_wrong_task_is_status_2_with_file_and_line(program, config, text, line, says):
    path = config.sql / "b.sql"
    path.write_text(text)
    done = call(program, "--check", "--config", config())
    assert done.returncode == 2, done
    match = re.search(rf"{re.escape(str(path))}:(\d+)", done.stderr)
    assert match, done
    assert int(match[1]) == line, done
    assert says in done.stderr


@pytest.mark.parametrize("program", PROGRAMS[:2])
def test_a_directory_without_tasks_is_status_2(program, config, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = call(program, "--check", "--config", config({"sql_directories": [str(empty)]}))
    assert done.returncode == 2
    assert str(empty) in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELECT * FROM there_is_none;", "there_is_none"),
        ("SELEC 1;", "syntax"),
        ("SELECT FROM users;", "column"),
        ("SELECT nothing FROM users;", "nothing"),
    ],
)
def test_check_prepares_every_task_on_each_of_its_databases(config, text, says):
    (config.sql / "b.sql").write_text(f"\n-- name: wrong\n-- db: ledger, mirror\n-- results: reports\n{text}\n")
    done = call("dungbeetle-worker", "--check", "--config", config())
    assert done.returncode == 2
    for source in ("ledger", "mirror"):
        assert re.search(rf"{re.escape(str(config.sql / 'b.sql'))}:2: task wrong on source {source}: .*{says}", done.stdout), done


def test_check_does_not_prepare_raw_tasks(config):
    (config.sql / "b.sql").write_text("-- name: rawly\n-- db: ledger\n-- results: reports\n-- raw: true\nVACUUM users;\n")
    assert call("dungbeetle-worker", "--check", "--config", config()).returncode == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sources": {"ledger": {"dsn": "postgresql://u:very-secret@127.0.0.1:1/x"}}}, "source ledger"),
        ({"results": {"relaxed": {"dsn": "postgresql://u:very-secret@127.0.0.1:1/x"}}}, "results relaxed"),
        ({"sources": {"mirror": {"dsn": "nonsense=very-secret"}}}, "source mirror"),
        ({"redis": {"url": "redis://:very-secret@127.0.0.1:1"}}, "redis"),
    ],
)
def test_check_names_the_server_that_cannot_be_reached_and_no_password(config, changes, says):
    done = call("dungbeetle-worker", "--check", "--config", config(changes))
    assert done.returncode == 2
    assert re.search(rf"{says}.*: (?!ok)", done.stdout), done
    assert "very-secret" not in done.stdout + done.stderr


def test_check_of_expire_says_which_database_cannot_be_reached(config):
    done = call(
        "dungbeetle-expire", "--check", "--config", config({"results": {"relaxed": {"dsn": "postgresql://u:very-secret@127.0.0.1:1/x"}}})
    )
    assert done.returncode != 0, done
    assert "relaxed" in done.stdout + done.stderr
    assert "very-secret" not in done.stdout + done.stderr


def test_check_of_fcgi_says_when_redis_cannot_take_jobs(config):
    done = call("dungbeetle-fcgi", "--check", "--config", config({"redis": {"url": "redis://:very-secret@127.0.0.1:1"}}))
    assert done.returncode != 0
    assert "very-secret" not in done.stdout + done.stderr


def test_the_environment_comes_before_the_file_and_flags_before_it(config):
    path = config({"sources": {"ledger": {"dsn": "nonsense"}}})
    done = call("dungbeetle-worker", "--check", "--config", path)
    assert "source ledger: ok" not in done.stdout
    good = yaml_value(config(), "ledger")
    config({"sources": {"ledger": {"dsn": "nonsense"}}})
    done = call("dungbeetle-worker", "--check", "--config", path, env={"DUNGBEETLE_SOURCES__LEDGER__DSN": good})
    assert "source ledger: ok" in done.stdout, done
    done = call(
        "dungbeetle-worker",
        "--check",
        "--config",
        path,
        env={"DUNGBEETLE_SOURCES__LEDGER__DSN": good, "DUNGBEETLE_SQL_DIRECTORIES": "/no/such"},
    )
    assert "/no/such" in done.stderr
    done = call(
        "dungbeetle-worker",
        "--check",
        "--config",
        path,
        "--sql-directory",
        config.sql,
        env={"DUNGBEETLE_SOURCES__LEDGER__DSN": good, "DUNGBEETLE_SQL_DIRECTORIES": "/no/such"},
    )
    assert "source ledger: ok" in done.stdout, done


def yaml_value(path, name):
    return re.search(rf"{name}:\n +type: postgres\n +dsn: \"?([^\"\n]+)", path.read_text())[1]


@pytest.mark.parametrize(
    ("name", "value"), [("DUNGBEETLE_WORKER__LEASE", "soon"), ("DUNGBEETLE_REDIS_URL", "redis://a"), ("DUNGBEETLE_REDIS__NONSENSE", "1")]
)
def test_a_wrong_environment_variable_is_status_2_and_named(config, name, value):
    done = call("dungbeetle-worker", "--check", "--config", config(), env={name: value})
    assert done.returncode == 2, done
    assert name in done.stderr


def test_the_worker_refuses_a_redis_that_may_evict_jobs(stack, make_stack):
    own = make_stack(pg=stack.pg_source, workers=0)
    own.redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    worker = own.worker("refused", start=False)
    worker.start()
    assert worker.wait(10) == 2
    assert "noeviction" in worker.log_text()


def test_the_worker_warns_of_a_redis_without_an_append_only_file(stack, make_stack):
    own = make_stack(pg=stack.pg_source, redis={"appendonly": "no"})
    assert "append" in own.workers[0].log_text()
    own.succeed("nothing_asked")


def test_queue_flags_take_the_place_of_the_files_queues(stack, make_stack):
    own = make_stack(pg=stack.pg_source, workers=0)
    own.worker("flagged", ["--queue", "a:b:3", "--queue", "plain", "--worker-concurrency", "5"])
    assert '"queues":{"a:b":3,"plain":5}' in own.redis.cli("HVALS", own.key("workers"))
    own.succeed("nothing_asked", queue="a:b")
    own.succeed("nothing_asked", queue="plain")
    job = own.submit("nothing_asked")
    assert own.job(job)["state"] == "PENDING"


def test_without_named_queues_a_worker_serves_those_of_its_tasks_and_the_default_one(stack, make_stack):
    own = make_stack(pg=stack.pg_source, queues={}, config={"worker": {"concurrency": 2}})
    assert '"queues":{"default":2,"reports":2}' in own.redis.cli("HVALS", own.key("workers"))
    assert own.run("top_users", 2)["queue"] == "reports"


def test_concurrency_tags_of_tasks_give_their_queue_its_slots(stack, make_stack, tmp_path):
    (tmp_path / "a.sql").write_text(
        "-- name: a\n-- db: ledger\n-- queue: heavy\n-- conc: 3\nSELECT 1;\n-- name: b\n-- db: ledger\n-- queue: heavy\n-- concurrency: 2\nSELECT 1;\n"
    )
    own = make_stack(pg=stack.pg_source, queues={}, sql_directories=[tmp_path])
    assert '"heavy":3' in own.redis.cli("HVALS", own.key("workers"))


def test_a_new_fcgi_takes_the_socket_over_without_a_lost_request(stack, make_stack):
    """An upgrade: the second process puts its socket in the place of the first one's, which then drains and leaves it there."""
    own = make_stack(pg=stack.pg_source, workers=0)
    first, second = own.fcgi[0], own._program("second", "dungbeetle-fcgi", "--socket", own.fcgi_sockets[0])
    own.fcgi.append(second)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(lambda: own.post("/tasks/nothing_asked/jobs", {}).status) for _ in range(400)]
        second.start()
        wait_until(lambda: "ready" in second.log_text(), 10, "ready", [second])
        first.terminate()
        assert {future.result() for future in futures} == {200}
        assert first.wait(20) == 0
    assert own.get("/health").status == 200
    assert own.metric("dungbeetle_jobs_accepted_total") == 400


def test_a_socket_that_a_crash_left_is_no_obstacle_and_a_file_is_left_alone(stack, make_stack):
    own = make_stack(pg=stack.pg_source, workers=0)
    own.fcgi[0].kill()
    assert own.fcgi_sockets[0].exists()
    own.fcgi[0].start()
    wait_until(lambda: own.get("/health").status == 200, 10, "health")
    own.fcgi[0].stop()
    own.fcgi_sockets[0].write_text("precious")
    own.fcgi[0].start()
    assert own.fcgi[0].wait(10) == 2
    assert own.fcgi_sockets[0].read_text() == "precious"
    own.fcgi_sockets[0].unlink()


def test_fcgi_serves_with_two_event_loops(stack, make_stack):
    own = make_stack(pg=stack.pg_source, config={"fcgi": {"threads": 2}})
    for _ in range(5):
        own.succeed("nothing_asked")
    before = own.metric("dungbeetle_http_requests_total", route="/health")
    for _ in range(10):
        assert own.get("/health").status == 200
    assert own.metric("dungbeetle_http_requests_total", route="/health") - before == 10


def test_stopping_takes_the_socket_away_and_is_status_0(stack, make_stack):
    own = make_stack(pg=stack.pg_source)
    own.nginx.stop()
    for program in own.programs():
        program.terminate()
    assert [program.wait(15) for program in own.programs()] == [0, 0]
    assert not own.fcgi_sockets[0].exists()


def test_logs_hold_no_password_and_no_arguments(stack, make_stack):
    own = make_stack(pg=stack.pg_source, config={"log": {"level": "debug"}, "redis": {"url": None}}, start=False)
    own.config["redis"]["url"] = own.redis.url
    own.start_servers()
    own.write_config()
    for program in [*own.fcgi, *own.workers]:
        program.start()
    own.nginx.start()
    own.wait_ready()
    secret = uid("private-argument")
    own.succeed("echo", secret, secret)
    for program in own.programs():
        assert secret not in program.log_text()
        assert "postgresql://" not in program.log_text()
