"""The asynchronous half of the Kubernetes client, without the other half. Import it before kopf.

The `__init__` of `kubernetes` loads the synchronous client with requests, OAuth and websockets:
7 MiB that an operator has no use for. kopf asks for the package too, to recognise its objects.
So it is made known without running its `__init__`; what is below it is found as ever.
"""

import sys
from importlib.util import find_spec, module_from_spec

_KUBERNETES = find_spec("kubernetes")
if _KUBERNETES is not None:
    sys.modules.setdefault("kubernetes", module_from_spec(_KUBERNETES))

from kubernetes.aio import client, config  # noqa: E402

__all__ = ["client", "config"]
