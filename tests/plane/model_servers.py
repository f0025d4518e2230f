"""Answers as many model servers do, at a URL of its own for each, in a process of its own.

`python model_servers.py` prints its URL, then reads lines from its input: a JSON object with a path
and the headers that are answered there.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web


async def main() -> None:
    served: dict[str, dict[str, str]] = {}

    async def answer(request: web.BaseRequest) -> web.Response:
        headers = served.get(request.path)
        return web.Response(status=404 if headers is None else 200, headers=headers)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[union-attr]
    while line := await asyncio.to_thread(sys.stdin.readline):
        told: dict[str, Any] = json.loads(line)
        served[told["path"]] = told["headers"]


asyncio.run(main())
