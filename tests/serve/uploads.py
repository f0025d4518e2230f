"""Uploads to a model server over sockets: sent in parts, read as the answer comes."""

from __future__ import annotations

import csv
import io
import json
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

BATCH = "/v1/models/churn:batch"
CSV, JSON_LINES = "text/csv", "application/x-ndjson"
HEADER = "age,income,member,plan\n"


def head(kind: str, *headers: str, path: str = BATCH, version: str = "1.1") -> bytes:
    lines = (f"POST {path} HTTP/{version}", "Host: x", f"Content-Type: {kind}", *headers, "", "")
    return "\r\n".join(lines).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = "Transfer-Encoding: chunked"
LAST = b"0\r\n\r\n"


def whole(kind: str, body: bytes, *headers: str, **fields: Any) -> bytes:
    return head(kind, f"Content-Length: {len(body)}", *headers, **fields) + body


@contextmanager
def connected(url: str, timeout: float = 60) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def read_head(stream: IO[bytes]) -> tuple[int, dict[str, str]]:
    status = int(stream.readline().split()[1])
    lines = iter(stream.readline, b"\r\n")
    fields = (line.decode().rstrip("\r\n").partition(": ") for line in lines)
    return status, {name: value for name, _, value in fields}


def chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the chunks of an answer, and an empty one where it says that it is whole."""
    while size := stream.readline():
        data = stream.read(int(size, 16))
        stream.readline()
        yield data
        if not data:
            return


def rows_of(kind: str, body: bytes) -> list[dict[str, Any]]:
    """Return the rows of an answer with numbers as numbers, without what a row lacks."""
    if kind == JSON_LINES:
        return [json.loads(line) for line in body.splitlines()]
    found = []
    for row in csv.DictReader(io.StringIO(body.decode())):
        given = {name: text for name, text in row.items() if text}
        found.append({name: _number(text) for name, text in given.items()})
    return found


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def csv_body(rows: Sequence[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["age", "income", "member", "plan", "since"])
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return stream.getvalue().encode()


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def json_body(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


BODIES = {CSV: csv_body, JSON_LINES: json_body}


def lines_back(url: str, kind: str, parts: Iterable[bytes]) -> Iterator[bytes]:
    """Send parts in a thread, and yield what is answered meanwhile; its end is looked for."""

    def send(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(chunk(part))
        connection.sendall(LAST)

    with connected(url) as connection:
        connection.sendall(head(kind, CHUNKED))
        sending = threading.Thread(target=send, args=(connection,), daemon=True)
        sending.start()
        stream = connection.makefile("rb")
        status, _ = read_head(stream)
        assert status == 200
        data = b"."
        for data in chunks(stream):
            yield data
        assert data == b"", "the answer breaks off"
        sending.join()


def memory(process: subprocess.Popen[bytes], what: str = "VmHWM") -> int:
    """Return the most bytes of memory that a process has held, or by VmRSS what it holds."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))
