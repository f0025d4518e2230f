"""The process in which regorus evaluates Policies.

A Policy's author can write a module that never ends, takes all memory or breaks the parser's
stack, and regorus offers no limit against any of these. In a process of its own it harms nothing:
the process limits itself, and its end is an answer (`RegorusEngine` denies).

Speaks JSON, one request and one answer a line, on stdin and stdout; ends when stdin closes.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

import regorus  # type: ignore[import-untyped]

from modelyard.adapters.regorus_limits import LIMIT_BYTES, LIMIT_SECONDS

READY = {"ready": True}

_PLACE = re.compile(r"--> [^\n]*?:(\d+):(\d+)\n.*?error: ([^\n]*)", re.DOTALL)


@lru_cache(maxsize=64)
def _engine(package: str, source: str) -> regorus.Engine:
    engine = regorus.Engine()
    engine.add_policy(f"{package}.rego", source)
    return engine


def _failure(error: RuntimeError) -> dict[str, Any]:
    if match := _PLACE.search(str(error)):
        line, column, message = match.groups()
        return {"line": int(line), "column": int(column), "message": message}
    return {"line": 0, "column": 0, "message": str(error).split("\n", 1)[0]}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return `{"document": ...}` for a request, or `{"failure": {line, column, message}}`.

    Args:
        request: `package` and `source` of a module, `input`, and the `query`. The document is the
            value of the query, None when it is undefined.
    """
    try:
        engine = _engine(request["package"], request["source"])
        engine.set_input_json(json.dumps(request["input"]))
        results = json.loads(engine.eval_query_as_json(request["query"]))
    except RuntimeError as error:
        return {"failure": _failure(error)}
    rows = results.get("result") or [{"expressions": [{"value": None}]}]
    return {"document": rows[0]["expressions"][0]["value"]}


def main() -> None:
    """Answer requests until stdin closes."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(READY), flush=True)
    for line in sys.stdin:
        # Without a handler SIGALRM ends the process, also in the middle of native code.
        signal.alarm(LIMIT_SECONDS)
        reply = json.dumps(answer(json.loads(line)))
        signal.alarm(0)
        print(reply, flush=True)


if __name__ == "__main__":
    main()
