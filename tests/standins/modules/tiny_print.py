"""Writes its environment and arguments to $OUT as JSON."""

import json
import os
import pathlib
import sys

document = {"environment": dict(os.environ), "arguments": sys.argv[1:]}
pathlib.Path(os.environ["OUT"]).write_text(json.dumps(document))
