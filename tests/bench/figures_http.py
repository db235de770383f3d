"""Figures of the HTTP front, by wrk: post (with post-pool beside it) and status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

from rig import HERE, BenchError, Figure, Program, Rig, in_turn, median_of, run_tool
from figures_jobs import one_job
from stack import Nginx, find_program, free_port, wait_until

POST_LIMIT, STATUS_LIMIT, POOL_LIMIT = 0.65, 0.65, 1.8
BODY_BYTES = 200
POST_QUEUE = "posts"


class PoolNginx(Nginx):
    """The same site, but a connection for each request."""

    def _site(self) -> str:
        site = super()._site()
        if site.count("fastcgi_keep_conn on;") != 1:
            raise BenchError("fastcgi_keep_conn is not where it was in the nginx site")
        return site.replace("fastcgi_keep_conn on;", "fastcgi_keep_conn off;")


def post_body() -> str:
    job: dict[str, Any] = {"queue": POST_QUEUE, "eta": "", "retries": 2, "ttl": 3600, "db": "ledger",
                           "args": ["4711", "2024-01-01", "2024-12-31", "EUR", ""]}
    job["args"][4] = "x" * (BODY_BYTES - len(json.dumps(job)))
    return json.dumps(job)


class Front:
    """A FastCGI program of the benchmarks behind an nginx of its own."""

    def __init__(self, rig: Rig, name: str, nginx_class: type[Nginx], *args: str) -> None:
        directory = rig.stack.dir / name
        directory.mkdir(exist_ok=True)
        socket = directory / "fcgi.sock"
        self.program = Program(name, [rig.bench_dir / f"{name}_fcgi", socket, *args], directory / f"{name}.log")
        self.nginx = nginx_class(directory / "nginx", free_port(), [socket])
        self._socket = socket

    def __enter__(self) -> "Front":
        self.program.start()
        wait_until(self._socket.exists, 10, "the socket", [self.program])
        self.nginx.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.nginx.stop()
        self.program.stop()


def wrk(rig: Rig, nginx: Nginx, path: str, body: str | None = None) -> dict[str, Any]:
    """One run: {"rate", "p99_ms", ...}. Every answer must be a 200."""
    argv: list[str | Path] = [find_program("wrk"), "-t1", "-c32", "-d1s" if rig.quick else "-d5s", "-s", HERE / "load.lua",
                              nginx.url + path]
    output = run_tool(argv + (["--", body] if body is not None else []))
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    if result["not_2xx"] or result["broken"] or not result["requests"]:
        raise BenchError(f"wrk {path}: {output}")
    result["rate"] = result["requests"] / result["seconds"]
    if nginx.access_log:
        nginx.access_log.write_text("")
    return result


def post_run(rig: Rig, nginx: Nginx, body: str, enqueues: bool) -> dict[str, Any]:
    rig.clear_redis()
    result = wrk(rig, nginx, "/tasks/bench_post/jobs", body)
    queued = rig.redis.call("XLEN", rig.key("queue", POST_QUEUE))
    if enqueues and queued < result["requests"]:
        raise BenchError(f"{result['requests']} jobs were accepted, {queued} are queued")
    return result


def rate_figure(name: str, results: dict[str, list[Any]], other: str, limit: float, note: str) -> Figure:
    ours, floor = median_of(results["ours"], "rate"), median_of(results[other], "rate")
    p99 = [median_of(results[side], "p99_ms") for side in ("ours", other)]
    return Figure(name, ours, floor, ours / floor, limit, "requests/s", at_most=False,
                  note=f"p99 {p99[0]:.2f} ms, floor {p99[1]:.2f} ms; {note}", runs={"ours": results["ours"], "floor": results[other]})


def sample_answer(rig: Rig, method: str, path: str, body: str = "") -> str:
    """One of our own answers: the floor's constant."""
    with rig.http() as http:
        return http.call(method, path, body.encode()).decode()


def post(rig: Rig) -> Iterator[Figure]:
    body = post_body()
    path = "/tasks/bench_post/jobs"
    floor = Front(rig, "floor", Nginx, sample_answer(rig, "POST", path, body))
    pool = Front(rig, "pool", PoolNginx, str(rig.stack.config_path), "bench_post")
    with floor, pool:
        results = in_turn(rig.runs, {
            "ours": lambda: post_run(rig, rig.stack.nginx, body, True),
            "floor": lambda: post_run(rig, floor.nginx, body, False),
            "pool": lambda: post_run(rig, pool.nginx, body, True),
        })
    rig.clear_redis()
    yield rate_figure("post", results, "floor", POST_LIMIT, f"{len(body)} bytes; floor: constant answer")
    yield rate_figure("post-pool", results, "pool", POOL_LIMIT, "floor: 8 threads in FCGX_Accept_r, keep_conn off")


def status(rig: Rig) -> Iterator[Figure]:
    rig.clear_redis()
    worker = rig.start_worker()
    one_job(rig, "bench_small", ["1"], 10)
    rig.stop_worker(worker)
    job_id = next(key.rsplit(":", 1)[1] for key in rig.redis.call("KEYS", rig.key("job", "*")))
    path = f"/jobs/{job_id}"
    with Front(rig, "floor", Nginx, sample_answer(rig, "GET", path)) as floor:
        results = in_turn(rig.runs, {"ours": lambda: wrk(rig, rig.stack.nginx, path), "floor": lambda: wrk(rig, floor.nginx, path)})
    rig.clear_tables()
    yield rate_figure("status", results, "floor", STATUS_LIMIT, "GET of a finished job; floor: constant answer")

