"""The least that can be done: watch Experiments, write for each one child, its status, one Event.

`python bare_loop.py KUBECONFIG NAMESPACE`: the writes are those of the operator, built by it too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from kubernetes.aio import client, config
from modelyard.adapters.cluster import KubernetesCluster
from modelyard.api.resources import EVENT, OURS, WORKFLOW

WORKERS = 32
EXPERIMENT = OURS["Experiment"]


async def main(kubeconfig: str, namespace: str) -> None:
    await config.load_kube_config(config_file=kubeconfig)
    async with client.ApiClient() as api:
        cluster = KubernetesCluster(api)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        template = json.load(sys.stdin)
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(work(queue, cluster, template))
            await watch(api, namespace, queue)


async def watch(api: Any, namespace: str, queue: asyncio.Queue[dict[str, Any]]) -> None:
    path = EXPERIMENT.path(namespace)
    request = await _get(api, path, [])
    version = json.loads(await request.read())["metadata"]["resourceVersion"]
    print("watching", flush=True)
    answer = await _get(api, path, [("watch", "true"), ("resourceVersion", version)])
    async for line in answer.response.content:
        event = json.loads(line)
        if event["type"] == "ADDED":
            queue.put_nowait(event["object"])


async def _get(api: Any, path: str, query: list[tuple[str, str]]) -> Any:
    headers = {"Accept": "application/json"}
    request = await api.param_serialize(
        "GET", path, query_params=query, header_params=headers, auth_settings=["BearerToken"]
    )
    return await api.call_api(*request)


async def work(
    queue: asyncio.Queue[dict[str, Any]], cluster: KubernetesCluster, template: dict[str, Any]
) -> None:
    while True:
        found = await queue.get()
        name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]

        def named(part: str, name: str = name, namespace: str = namespace) -> dict[str, Any]:
            body: dict[str, Any] = json.loads(json.dumps(template[part]))
            body["metadata"] |= {"name": f"bare-{name}", "namespace": namespace}
            return body

        child = named("child")
        child["metadata"]["ownerReferences"][0] |= {"name": name, "uid": found["metadata"]["uid"]}
        await cluster.apply(WORKFLOW, child)
        await cluster.apply_status(EXPERIMENT, found | {"status": template["status"]})
        await cluster.create(EVENT, named("event"))


asyncio.run(main(*sys.argv[1:]))
