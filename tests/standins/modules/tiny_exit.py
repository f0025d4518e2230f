"""Ends with the next exit code of $EXITS, a JSON list; how often it ran stands in $RUNS."""

import json
import os
import pathlib
import signal
import sys

runs = pathlib.Path(os.environ["RUNS"])
with runs.open("a") as file:
    file.write("run\n")
codes = json.loads(os.environ["EXITS"])
code = codes[min(len(runs.read_text().splitlines()), len(codes)) - 1]
if code == "SIGKILL":
    os.kill(os.getpid(), signal.SIGKILL)
print(f"exit {code}", file=sys.stderr)
sys.exit(code)
