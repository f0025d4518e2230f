"""The asynchronous half of the Kubernetes client, without the other half. Import it before kopf.

The `__init__` of `kubernetes` loads the synchronous client with requests, OAuth and websockets:
7 MiB that an operator has no use for. kopf asks for the package too, to recognise its objects.
That of `kubernetes.aio` loads the dynamic client, which takes what it finds to validate schemas.
So both are made known without running their `__init__`; what is below them is found as ever.
"""

import sys
from importlib.util import find_spec, module_from_spec

for _package in ("kubernetes", "kubernetes.aio"):
    _spec = find_spec(_package)
    if _spec is not None:
        sys.modules.setdefault(_package, module_from_spec(_spec))

from kubernetes.aio import client, config  # noqa: E402

__all__ = ["client", "config"]
