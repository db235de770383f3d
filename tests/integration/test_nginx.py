"""What nginx itself answers is JSON in our envelope too; limits and samples of authentication of deploy/nginx."""

import base64
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import check_envelope, uid, wait_until


@pytest.fixture(scope="module")
def own(stack, make_module_stack):
    return make_module_stack(pg=stack.pg_source)


def raw(port, text, timeout=15):
    """Sends bytes, returns status and envelope-checked answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(text)
        return read_answer(s)


def read_answer(s):
    answer = b""
    while chunk := s.recv(65536):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.decode().splitlines()[1:])}
    return check_envelope(status, json.loads(body), headers)


def edit_site(stack, pattern, new):
    """Changes the rendered site and reloads nginx; until the new worker process is the one that answers."""
    site = stack.nginx.dir / "site.conf"
    text, count = re.subn(pattern, new, site.read_text())
    assert count, pattern
    site.write_text(text)
    before = workers(stack)
    stack.nginx.program.signal(signal.SIGHUP)
    wait_until(lambda: workers(stack) and not workers(stack) & before, 10, "new workers of nginx")


def workers(stack):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(stack.nginx.program.pid)], capture_output=True, text=True, check=False)
    return set(found.stdout.split())


def test_a_body_above_the_limit_is_413(stack):
    answer = stack.post("/tasks/echo/jobs", {"args": ["x" * (1 << 20), "y"]})
    assert answer.status == 413


def test_a_body_just_below_the_limit_is_accepted(stack):
    queue = uid("nobody")
    args = ["x" * 60_000] * 2
    body = json.dumps({"args": args, "queue": queue, "unknown": ""})
    body = body.replace('"unknown": ""', '"unknown": "' + "z" * ((1 << 20) - len(body)) + '"')
    assert len(body) == 1 << 20
    answer = stack.post("/tasks/echo/jobs", body)
    assert answer.status == 200
    assert stack.delete(f"/jobs/{answer.data['job_id']}").status == 200


def test_a_uri_that_is_too_long_is_414(stack):
    assert stack.get("/jobs/" + "x" * 10_000).status == 414


def test_headers_that_are_too_large_are_431(stack):
    answer = stack.call("GET", "/", headers={"X-Large": "x" * 40_000})
    assert answer.status == 431


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_request_that_is_no_http_is_400(stack, text):
    assert raw(stack.nginx.port, text).status == 400


def test_an_unknown_version_of_http_is_505(stack):
    assert raw(stack.nginx.port, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n").status == 505


def test_a_client_that_lies_about_its_length_does_no_harm(stack):
    """A connection that breaks in mid-body enqueues nothing."""
    job_id = uid()
    body = json.dumps({"job_id": job_id, "args": ["a", "b"]}).encode()
    with socket.create_connection(("127.0.0.1", stack.nginx.port), timeout=10) as s:
        s.sendall(b"POST /tasks/echo/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(body) + 10) + body)
    assert stack.get(f"/jobs/{job_id}").status == 404


def test_a_chunked_body_is_accepted(stack):
    job_id = uid()
    body = json.dumps({"job_id": job_id, "args": ["a", "b"]}).encode()
    text = (
        b"POST /tasks/echo/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    )
    assert raw(stack.nginx.port, text).status == 200
    assert stack.wait(job_id)["state"] == "SUCCESS"


def test_the_access_log_names_the_request_id(stack):
    answer = stack.get(f"/jobs/{(job_id := uid('logged'))}")
    request_id = answer.headers["x-request-id"]

    def line():
        return [
            found for text in stack.nginx.access_log.read_text().splitlines() if (found := json.loads(text))["request_id"] == request_id
        ]

    (entry,) = wait_until(line, 5, "line of the access log")
    assert {"method": "GET", "uri": f"/jobs/{job_id}", "status": 404, "upstream_status": "404"}.items() <= entry.items()


def test_every_answer_names_its_request_once(stack):
    for path in ("/health", "/no/such/route"):
        connection = http.client.HTTPConnection("127.0.0.1", stack.nginx.port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert len(answer.headers.get_all("X-Request-ID")) == 1


def test_a_stopped_fastcgi_process_is_502_with_retry_after(own):
    own.fcgi[0].stop()
    try:
        for answer in (own.get("/health"), own.post("/tasks/nothing_asked/jobs", {})):
            assert answer.status == 502
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["x-request-id"]
    finally:
        own.fcgi[0].start()
    wait_until(lambda: own.get("/health").status == 200, 10, "health")


def test_a_fastcgi_process_that_hangs_is_504_with_retry_after(own):
    edit_site(own, r"fastcgi_read_timeout \w+;", "fastcgi_read_timeout 1s;")
    own.fcgi[0].pause()
    try:
        answer = own.get("/health")
        assert answer.status == 504
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        own.fcgi[0].resume()
    wait_until(lambda: own.get("/health").status == 200, 10, "health")


def test_a_post_is_never_sent_twice(stack, make_stack):
    """With two FastCGI processes of which one hangs, a POST that was sent to it is not tried at the other."""
    two = make_stack(pg=stack.pg_source, fcgi=2, workers=0)
    edit_site(two, r"fastcgi_read_timeout \w+;", "fastcgi_read_timeout 1s;")
    two.fcgi[0].pause()
    queue = uid("nobody")
    try:
        statuses = [two.post("/tasks/nothing_asked/jobs", {"queue": queue}).status for _ in range(4)]
    finally:
        two.fcgi[0].resume()
    assert set(statuses) == {200, 504}
    wait_until(lambda: len(two.get(f"/jobs/queue/{queue}").data) == 4, 10, "the hung requests")  # done once each, though late


def test_another_fastcgi_process_answers_when_one_is_gone(stack, make_stack):
    two = make_stack(pg=stack.pg_source, fcgi=2, workers=0)
    two.fcgi[0].stop()
    assert {two.get("/health").status for _ in range(10)} == {200}
    assert {two.post("/tasks/nothing_asked/jobs", {}).status for _ in range(10)} == {200}


def test_a_stopping_fastcgi_process_answers_what_is_in_flight(own):
    """SIGTERM under load: no request is lost; after the stop nginx says 502."""
    statuses = []
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(lambda: own.post("/tasks/nothing_asked/jobs", {"queue": "nobody"}).status) for _ in range(300)]
        own.fcgi[0].terminate()
        statuses = [future.result() for future in futures]
    assert own.fcgi[0].wait(15) == 0
    own.fcgi[0].start()
    wait_until(lambda: own.get("/health").status == 200, 10, "health")
    assert set(statuses) <= {200, 502}
    accepted = own.metric("dungbeetle_jobs_accepted_total", queue="nobody")
    assert accepted == statuses.count(200)


def test_the_rate_limit_sample_answers_429(stack, make_stack):
    limited = make_stack(pg=stack.pg_source, nginx={"enable": ["limit_req zone"]}, workers=0)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: limited.get("/"), range(400)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.status for answer in answers} == {200, 429}
    assert int(refused[0].headers["retry-after"]) >= 1


def test_basic_authentication_sample(stack, make_stack):
    made = make_stack(pg=stack.pg_source, nginx={"enable": ["auth-basic.conf"]}, workers=0, start=False)
    users = made.nginx.dir / "dungbeetle" / "users"
    users.parent.mkdir(parents=True)
    hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True).stdout.strip()
    users.write_text(f"reports:{hashed}\n")
    made.start_servers()
    made.write_config()
    made.fcgi[0].start()
    made.nginx.start()

    def get(user):
        return made.call("GET", "/", headers={"Authorization": "Basic " + base64.b64encode(user.encode()).decode()})

    assert made.get("/").status == 401
    assert get("reports:wrong").status == 401
    assert wait_until(lambda: get("reports:secret").status == 200, 10, "an authenticated answer")


def test_api_key_sample(stack, make_stack):
    made = make_stack(pg=stack.pg_source, nginx={"enable": ["auth-api-key.conf", "api-keys.conf"]}, workers=0, start=False)
    made.start_servers()
    made.write_config()
    made.fcgi[0].start()
    made.nginx.start()
    keys = made.nginx.dir / "dungbeetle" / "api-keys.conf"
    keys.write_text(keys.read_text().replace('#"0000', '"0000'))
    made.nginx.program.signal(signal.SIGHUP)

    def get(key):
        return made.call("GET", "/", headers={"X-API-Key": key})

    wait_until(lambda: get("0" * 32).status == 200, 10, "an authenticated answer")
    assert get("1" * 32).status == 401
    assert get("").status == 401
    assert made.get("/").status == 401
    logged = wait_until(lambda: [line for line in made.nginx.access_log.read_text().splitlines() if '"status":200' in line], 5, "the log")
    assert json.loads(logged[-1])["user"] == "reports"
    assert "0" * 32 not in logged[-1]


def test_client_certificate_sample(stack, make_stack, tmp_path):
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=tmp_path)

    for name in ("ca", "client", "stranger"):
        openssl(
            "req",
            "-x509" if name != "client" else "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-subj",
            f"/CN={name}",
            "-out",
            f"{name}.{'csr' if name == 'client' else 'pem'}",
        )
    openssl("x509", "-req", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "client.pem")

    made = make_stack(pg=stack.pg_source, nginx={"enable": ["auth-mtls.conf"]}, workers=0, start=False)
    render = made.nginx.render

    def render_with_tls():
        render()
        site = made.nginx.dir / "site.conf"
        text = site.read_text()
        text = re.sub(
            r"listen 127\.0\.0\.1:(\d+);",
            rf"listen 127.0.0.1:\1 ssl; ssl_certificate {tmp_path}/ca.pem; ssl_certificate_key {tmp_path}/ca.key;"
            rf" ssl_client_certificate {tmp_path}/ca.pem; ssl_verify_client optional;",
            text,
        )
        site.write_text(text)

    made.nginx.render = render_with_tls
    made.start_servers()
    made.write_config()
    made.fcgi[0].start()
    made.nginx.start()

    def get(certificate):
        context = ssl._create_unverified_context()  # noqa: S323 (the server's certificate is not what is tested)
        if certificate:
            context.load_cert_chain(tmp_path / f"{certificate}.pem", tmp_path / f"{certificate}.key")
        with socket.create_connection(("127.0.0.1", made.nginx.port), timeout=10) as plain, context.wrap_socket(plain) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return read_answer(s)

    assert wait_until(lambda: get("client").status == 200, 10, "an authenticated answer")
    assert get(None).status == 401
    assert get("stranger").status == 401
    assert raw(made.nginx.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status == 400
    logged = [json.loads(line) for line in made.nginx.access_log.read_text().splitlines()]
    assert [line["user"] for line in logged if line["status"] == 200][-1] == "CN=client"


def test_the_fastcgi_socket_is_closed_to_other_users(stack):
    assert oct(stack.fcgi_sockets[0].stat().st_mode & 0o777) == "0o660"


def test_a_slow_client_does_not_hold_up_others(stack):
    with socket.create_connection(("127.0.0.1", stack.nginx.port), timeout=10) as s:
        s.sendall(b"POST /tasks/echo/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
        began = time.monotonic()
        assert stack.get("/health").status == 200
        assert time.monotonic() - began < 1
