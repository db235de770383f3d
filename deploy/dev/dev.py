"""make up, make down, make demo: a private DungBeetle stack that stays up, and a report from POST to rows.

    dev.py up   --run-dir .run --http-port 6060 [--db mysql] [--sql-directory DIR]... [--queues "default:10 reports:2"] [--config FILE]
    dev.py down --run-dir .run
    dev.py demo --run-dir .run [--db mysql]

What runs is known from the NAME.program files in the run directory (pid and start time), never by name. The run
directory keeps its data from one `up` to the next; remove it to begin anew.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

from stack import (ROOT, Nginx, Program, Stack, StackError, find_program, free_port, http_request, port_is_free, remove_place,
                   short_place, wait_until)

# The report of the demonstration, a sample task that reads the whole ledger, and what an application may ask of its table.
DEMO_TASK, DEMO_ARGS, DEMO_QUEUE = "top_users", ["25"], "reports"
DEMO_QUERIES = (
    "SELECT * FROM {table} ORDER BY balance DESC LIMIT 10",
    "SELECT country, count(*), sum(balance) FROM {table} WHERE entries > 1 GROUP BY country ORDER BY 3 DESC",
)


SERVERS = {"postgres": "PostgreSQL", "mysql": "MariaDB", "clickhouse": "ClickHouse (results: PostgreSQL)"}  # by --db


@dataclass
class Running:
    """What `up` tells a later `demo`: how to reach the parts. Parts of servers that ran before are None."""

    http_port: int
    queues: list[str]
    redis_socket: str | None = None
    redis_prefix: str = "dungbeetle:"
    results_client: list[str] | None = None  # the command that shows the rows of the statement behind it
    quote: str = '"'  # around identifiers of the results database

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def save(self, run_dir: Path) -> None:
        (run_dir / "running.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, run_dir: Path) -> "Running":
        return cls(**json.loads((run_dir / "running.json").read_text()))


def programs_in(run_dir: Path) -> tuple[list[Program], list[Program]]:
    """The programs that were started in run_dir and not stopped: those that run, last started first, and those that
    have ended by themselves."""
    place = run_dir / "place" if (run_dir / "place").is_dir() else run_dir
    programs = [Program.from_file(file) for pattern in ("*.program", "*/*.program") for file in place.glob(pattern)]
    running = [program for program in programs if program.alive()]
    running.sort(key=lambda program: (int(program.started), program.pid), reverse=True)
    return running, [program for program in programs if not program.alive()]


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """One `up` or `down` at a time in a run directory."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------------------------------------------------------------
# up


def up(args: argparse.Namespace) -> None:
    with locked(args.run_dir):
        running, ended = programs_in(args.run_dir)
        if running and ended:
            raise StackError(f"only a part of it is up: {_names(ended)} ended (see {ended[0].log}); first: {_make('down', args)}")
        if running:
            print(f"it is up already ({_names(running)}) at {Running.load(args.run_dir).url}; stop it: {_make('down', args)}")
            return
        if not port_is_free(args.http_port):
            raise StackError(f"port {args.http_port} is taken; choose another: make up HTTP_PORT={free_port()}")
        (_up_with_config if args.config else _up_whole)(args)


def _up_whole(args: argparse.Namespace) -> None:
    print(f"starting Redis, {SERVERS[args.db]} (with a ledger of {args.entries:,} entries), FastCGI, worker and nginx ...", flush=True)
    began = time.monotonic()
    stack = Stack(args.run_dir, engine=args.db, bin_dir=args.bin_dir, http_port=args.http_port, queues=args.queues,
                  sql_directories=args.sql_directory, load=args.entries, keep=True)
    stack.start()
    running_as(stack).save(args.run_dir)
    print(f"""DungBeetle answers at {stack.url} (after {time.monotonic() - began:.1f} s)
  its tasks       curl {stack.url}/tasks
  the queue       redis-cli -s {stack.redis.socket} XINFO STREAM {stack.redis_prefix}queue:{next(iter(args.queues))}
  source          {shlex.join(stack.source.client('ledger'))} 'SELECT count(*) FROM entries'
  results         {shlex.join(stack.results.client('reports'))} 'SELECT * FROM dungbeetle_results'
  configuration   {stack.config_path}
  logs            {stack.dir}/*.log
stop it: {_make('down', args)}""")


def _up_with_config(args: argparse.Namespace) -> None:
    """For servers that run already: only FastCGI, one worker and nginx, with the configuration given."""
    place = short_place(args.run_dir)
    config = ["--config", args.config.absolute()]
    for directory in args.sql_directory:
        config += ["--sql-directory", Path(directory).absolute()]
    queues = [word for name, slots in args.queues.items() for word in ("--queue", f"{name}:{slots}")]
    listen = place / "fcgi.sock"
    fcgi = Program("fcgi", [args.bin_dir / "dungbeetle-fcgi", *config, "--socket", listen], place / "fcgi.log", keep=True)
    worker = Program("worker", [args.bin_dir / "dungbeetle-worker", *config, *queues], place / "worker.log", keep=True)
    nginx = Nginx(place / "nginx", args.http_port, [listen], keep=True)
    running = Running(args.http_port, list(args.queues))
    try:
        _start_notified(fcgi)
        _start_notified(worker)
        nginx.start()
        wait_until(lambda: http_request(args.http_port, "GET", "/health")[0] == 200, 30, "200 of GET /health", [fcgi, nginx.program])
    except BaseException:
        for program in (nginx.program, fcgi, worker):
            program.stop()
        raise
    running.save(args.run_dir)
    print(f"DungBeetle answers at {nginx.url}, on the servers of {args.config}; logs: {place}/*.log\nstop it: {_make('down', args)}")


def _start_notified(program: Program, timeout: float = 30.0) -> None:
    """Starts it and waits until it says that it is ready, as it does to systemd: on servers that we know nothing of,
    there is no other way to see that a worker is."""
    path = program.log.with_suffix(".notify")
    path.unlink(missing_ok=True)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.bind(str(path))
            notifications.setblocking(False)
            program.env["NOTIFY_SOCKET"] = str(path)
            program.start()
            wait_until(lambda: b"READY=1" in _received(notifications), timeout, f"readiness of {program.name}", [program])
    finally:
        path.unlink(missing_ok=True)


def _received(notifications: socket.socket) -> bytes:
    try:
        return notifications.recv(4096)
    except BlockingIOError:
        return b""


def running_as(stack: Stack) -> Running:
    return Running(stack.nginx.port, list(stack.queues), str(stack.redis.socket), stack.redis_prefix, stack.results.client("reports"),
                   "`" if stack.results.ENGINE == "mysql" else '"')


def _names(programs: list[Program]) -> str:
    return ", ".join(program.name for program in programs)


def _make(target: str, args: argparse.Namespace) -> str:
    inside = args.run_dir.is_relative_to(ROOT)
    run_dir = str(args.run_dir.relative_to(ROOT) if inside else args.run_dir)
    return f"make {target}" + ("" if run_dir == ".run" else f" RUN_DIR={shlex.quote(run_dir)}")


# ---------------------------------------------------------------------------------------------------------------------
# down


def down(args: argparse.Namespace) -> None:
    if not args.run_dir.is_dir():
        print(f"nothing runs in {args.run_dir}")
        return
    with locked(args.run_dir):
        running, ended = programs_in(args.run_dir)
        for program in running + ended:
            program.stop()
        (args.run_dir / "running.json").unlink(missing_ok=True)
        print(f"stopped {_names(running)}" if running else f"nothing runs in {args.run_dir}")


# ---------------------------------------------------------------------------------------------------------------------
# demo


def demo(args: argparse.Namespace) -> None:
    """A report from POST to rows, on the stack that is up or else on one of its own, stopped and removed at the end."""
    if (args.run_dir / "running.json").exists() and programs_in(args.run_dir)[0]:
        show(Running.load(args.run_dir))
        return
    own_dir = Path(tempfile.mkdtemp(prefix="dungbeetle-demo-", dir="/tmp"))
    own_dir.chmod(0o755)
    port = args.http_port if port_is_free(args.http_port) else free_port()
    print(f"# starting a stack of its own, with a ledger of {args.entries:,} entries in {SERVERS[args.db]} ...", flush=True)
    try:
        with Stack(own_dir, engine=args.db, bin_dir=args.bin_dir, http_port=port, load=args.entries) as stack:
            show(running_as(stack))
    finally:
        remove_place(own_dir)
    print("# stopped what was started")


def show(running: Running) -> None:
    job_id = _post_report(running)
    job = _poll(running, job_id)
    if job["state"] != "SUCCESS":
        raise StackError(f"the report ended as {job['state']}: {job['error']}")
    _show_rows(running, job)
    _show_queue(running, job["queue"])


def _post_report(running: Running) -> str:
    body: dict[str, Any] = {"args": DEMO_ARGS}
    if DEMO_QUEUE not in running.queues:
        body["queue"] = running.queues[0]
    print(f"\n# A report is asked for: task {DEMO_TASK} with the argument {', '.join(DEMO_ARGS)}.")
    answer = _curl(running, "POST", f"/tasks/{DEMO_TASK}/jobs", body)
    return str(answer["data"]["job_id"])


def _curl(running: Running, method: str, path: str, body: Any = None) -> Any:
    """Sends a request, shows it as the curl command that does the same, and its answer."""
    words = ["curl", *(["-X", method] if method != "GET" else []), running.url + path]
    if body is not None:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    print("$ " + shlex.join(words))
    status, answer, _ = http_request(running.http_port, method, path, body)
    print(json.dumps(answer, separators=(",", ":"), ensure_ascii=False), flush=True)
    if status != 200:
        raise StackError(f"{method} {path} answered {status}")
    return answer


def _poll(running: Running, job_id: str) -> dict[str, Any]:
    print("\n# It is polled until it is done.")
    began, told = time.monotonic(), None
    while time.monotonic() - began < 60:
        status, answer, _ = http_request(running.http_port, "GET", f"/jobs/{job_id}")
        if status != 200:
            raise StackError(f"GET /jobs/{job_id} answered {status}: {answer}")
        job: dict[str, Any] = answer["data"]
        if (job["state"], job["count"]) != told:
            told = (job["state"], job["count"])
            print(f"  {1000 * (time.monotonic() - began):5.0f} ms  {job['state']:8} {job['count']} rows", flush=True)
        if job["state"] in ("SUCCESS", "FAILURE"):
            _curl(running, "GET", f"/jobs/{job_id}")
            return job
        time.sleep(0.005)
    raise StackError(f"job {job_id} is not done after 60 s")


def _show_rows(running: Running, job: dict[str, Any]) -> None:
    results = job["results"]
    print(f"\n# Its {job['count']} rows are in the table {results['table']} of the results database {results['db']}.")
    if running.results_client is None:
        return
    table = running.quote + results["table"] + running.quote
    if job["count"] < 1:
        raise StackError("the result is empty")
    for query in DEMO_QUERIES:
        _command([*running.results_client, query.format(table=table)])


def _show_queue(running: Running, queue: str) -> None:
    if running.redis_socket is None:
        return
    print("\n# The queue, as an operator sees it: length = jobs not finished, pending = running, lag = waiting.")
    stream = f"{running.redis_prefix}queue:{queue}"
    for view in (["STREAM", stream], ["GROUPS", stream], ["CONSUMERS", stream, "workers"]):
        _command(["redis-cli", "--no-raw", "-s", running.redis_socket, "XINFO", *view])


def _command(words: list[str]) -> None:
    """Shows a command and runs it."""
    print("$ " + shlex.join(words), flush=True)
    done = subprocess.run([find_program(words[0]), *words[1:]], check=False, text=True, capture_output=True)
    print(done.stdout, end="", flush=True)
    if done.returncode != 0 or done.stdout.startswith(("ERR", "(error)")):
        raise StackError(f"{words[0]} failed: {done.stderr or done.stdout}")


# ---------------------------------------------------------------------------------------------------------------------


def parse_queues(text: str) -> dict[str, int]:
    queues = {}
    for word in text.split():
        name, _, slots = word.partition(":")
        if not name or not slots.isdigit():
            raise argparse.ArgumentTypeError(f"{word!r} is not NAME:SLOTS")
        queues[name] = int(slots)
    return queues


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--run-dir", type=lambda text: Path(text).absolute(), default=ROOT / ".run")
    parser.add_argument("--bin-dir", type=lambda text: Path(text).absolute(), default=ROOT / "bin")
    parser.add_argument("--http-port", type=int, default=6060)
    parser.add_argument("--sql-directory", action="append", default=[])
    parser.add_argument("--queues", type=parse_queues, default="default:10 reports:2")
    parser.add_argument("--db", choices=SERVERS, default="postgres", help="the databases of the stack")
    parser.add_argument("--config", type=Path, help="servers that run already; only nginx, FastCGI and a worker are started")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the generated ledger")
    return parser.parse_args()


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"up": up, "down": down, "demo": demo}


def main() -> int:
    args = parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun is undone
    try:
        COMMANDS[args.command](args)
    except (StackError, OSError, KeyError) as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
