"""A model server in small: answers $ANSWER, follows the contract of LISTEN_FDS and NOTIFY_FD.

Tells with all servers of $PROMETHEUS_MULTIPROC_DIR how many POST requests they have answered.
Fails to load when $FAIL is set. Takes $LOAD_SECONDS to load. With --folder DIR it answers what the
files in there hold instead, by their names.
"""

import asyncio
import itertools
import os
import signal
import socket
import sys
import time
from pathlib import Path

answer = os.environ["ANSWER"].encode()
draining = asyncio.Event()


counts = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "/nowhere"))
answered = itertools.count(1)


def count(request: bytes) -> None:
    if request.startswith(b"POST") and counts.is_dir():
        (counts / str(os.getpid())).write_text(str(next(answered)))


def said() -> bytes:
    if "--folder" not in sys.argv:
        return answer
    folder = Path(sys.argv[sys.argv.index("--folder") + 1])
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return " ".join(f"{path.name}={path.read_text()}" for path in files).encode()


def metrics() -> bytes:
    total = sum(int(path.read_text() or "0") for path in counts.glob("*"))
    probes = 'modelyard_requests_total{protocol="other",status="200"} 999.0'
    return f'{probes}\nmodelyard_requests_total{{protocol="v1",status="200"}} {total}.0\n'.encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while request := await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(0.01)
            text = metrics() if request.startswith(b"GET /metrics ") else said()
            count(request)
            connection = b"close" if draining.is_set() else b"keep-alive"
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n"
            writer.write(head % (len(text), connection) + text)
            await writer.drain()
            if draining.is_set():
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(accept, sock=socket.socket(fileno=3))
    os.write(int(os.environ["NOTIFY_FD"]), b"READY=1\n")
    await stop.wait()
    # Take what has been queued so far, then no more; every open connection gets one more answer.
    await asyncio.sleep(0.05)
    draining.set()
    server.close()
    if tasks:
        await asyncio.wait(tasks, timeout=5)


time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))
if "FAIL" in os.environ:
    sys.exit("the model's digest does not match")
asyncio.run(main())
