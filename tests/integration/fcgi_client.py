"""Speaks FastCGI by hand, rightly and wrongly: for tests that stand where nginx stands."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, GET_VALUES = 1, 2, 3, 4, 5, 6, 9
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP = 1


def record(kind: int, content: bytes = b"", request_id: int = 1, *, version: int = 1, padding: int = 0, length: int | None = None) -> bytes:
    head = struct.pack(">BBHHBB", version, kind, request_id, len(content) if length is None else length, padding, 0)
    return head + content + b"\0" * padding


def begin(role: int = RESPONDER, flags: int = KEEP, request_id: int = 1) -> bytes:
    return record(BEGIN_REQUEST, struct.pack(">HB5x", role, flags), request_id)


def size(n: int) -> bytes:
    return bytes([n]) if n < 128 else struct.pack(">I", n | 0x80000000)


def pairs(**params: str) -> bytes:
    encoded = [(name.encode(), value.encode()) for name, value in params.items()]
    return b"".join(size(len(name)) + size(len(value)) + name + value for name, value in encoded)


def request(method: str = "GET", uri: str = "/", body: bytes = b"", request_id: int = 1, flags: int = KEEP, **params: str) -> bytes:
    """A whole request, as nginx writes it."""
    params = {"REQUEST_METHOD": method, "REQUEST_URI": uri, "CONTENT_LENGTH": str(len(body)) if body else "", **params}
    text = begin(flags=flags, request_id=request_id)
    for kind, content in ((PARAMS, pairs(**params)), (STDIN, body)):
        text += b"".join(record(kind, content[at : at + 65535], request_id) for at in range(0, len(content), 65535))
        text += record(kind, b"", request_id)
    return text


def connect(path: Path | str, timeout: float = 30.0) -> socket.socket:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    s.connect(str(path))
    return s


def read_exactly(s: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        chunk = s.recv(n - len(data))
        if not chunk:
            raise EOFError(f"the connection ended after {len(data)} of {n} bytes")
        data += chunk
    return data


def read_answer(s: socket.socket) -> bytes:
    """What STDOUT held; EOFError when the connection ends before the answer does."""
    answer = b""
    while True:
        _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", read_exactly(s, 8))
        content = read_exactly(s, length)
        read_exactly(s, padding)
        if kind == STDOUT:
            answer += content
        if kind == END_REQUEST:
            return answer


def read_to_end(s: socket.socket) -> bytes | None:
    """All that still comes until the other side has closed the connection; None when it does not."""
    said = b""
    try:
        while chunk := s.recv(65536):
            said += chunk
    except ConnectionResetError:
        pass
    except TimeoutError:
        return None
    return said


def is_closed(s: socket.socket) -> bool:
    """Waits until the other side has closed the connection."""
    return read_to_end(s) is not None


def send_what_goes(s: socket.socket, text: bytes) -> bool:
    """False: the other side has closed the connection while we still spoke."""
    try:
        s.sendall(text)
        s.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True
