"""Adds its pid to $PIDS, starts a worker of its own, and runs until the file $UNTIL is there."""

import os
import pathlib
import subprocess
import sys
import time

worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
with pathlib.Path(os.environ["PIDS"]).open("a") as file:
    file.write(f"{os.getpid()} {worker.pid}\n")
while not pathlib.Path(os.environ["UNTIL"]).exists():
    time.sleep(0.02)
