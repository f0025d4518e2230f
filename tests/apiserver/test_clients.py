"""The clients that an operator is made of: kopf and the official Kubernetes client."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import kubernetes.dynamic
import pytest

# The client is only partly typed.
client: Any = kubernetes.client
config: Any = kubernetes.config
dynamic: Any = kubernetes.dynamic
watch: Any = kubernetes.watch
GROUP = ("lab.example.com", "v1")


@pytest.fixture
def connection(server: Any) -> Iterator[Any]:
    with config.new_client_from_config(str(server.kubeconfig)) as connected:
        yield connected


def test_the_official_client_reads_and_writes(connection: Any, widgets: str, widget: Any) -> None:
    namespace = widgets.split("/")[-2]
    custom = client.CustomObjectsApi(connection)
    place = (*GROUP, namespace, "widgets")

    custom.create_namespaced_custom_object(*place, widget())
    custom.patch_namespaced_custom_object(*place, "w1", {"spec": {"replicas": 4}})
    custom.patch_namespaced_custom_object_status(*place, "w1", {"status": {"phase": "X"}})
    found = custom.get_namespaced_custom_object(*place, "w1")

    assert (found["spec"]["replicas"], found["status"]["phase"]) == (4, "X")
    custom.delete_namespaced_custom_object(*place, "w1")
    assert custom.list_namespaced_custom_object(*place)["items"] == []


def test_the_official_client_watches(connection: Any, widgets: str, widget: Any) -> None:
    namespace = widgets.split("/")[-2]
    custom = client.CustomObjectsApi(connection)
    place = (*GROUP, namespace, "widgets")
    custom.create_namespaced_custom_object(*place, widget())

    events = watch.Watch().stream(custom.list_namespaced_custom_object, *place, timeout_seconds=1)

    assert [event["type"] for event in events] == ["ADDED"]


def test_the_dynamic_client_applies(connection: Any, widgets: str, widget: Any) -> None:
    namespace = widgets.split("/")[-2]
    resources = dynamic.DynamicClient(connection).resources.get(
        api_version="lab.example.com/v1", kind="Widget"
    )

    applied = resources.server_side_apply(
        body=widget(), namespace=namespace, field_manager="me", force_conflicts=True
    )

    assert applied.spec.mode == "gradual"
    assert applied.metadata.managedFields[0].manager == "me"


def test_the_typed_client_knows_core_kinds(connection: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c"), data={"a": "b"})

    core.create_namespaced_config_map(namespace, body)

    assert core.read_namespaced_config_map("c", namespace).data == {"a": "b"}


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Any]:
    running: list[subprocess.Popen[bytes]] = []

    def start(kubeconfig: Path) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("widget_operator.py")
        command = [sys.executable, "-m", "kopf", "run", "--standalone", "-A", str(script)]
        with (tmp_path / "kopf.log").open("w") as log:
            environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
            running.append(
                subprocess.Popen(
                    command, env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
                )
            )
        return running[-1]

    yield start
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_kopf_outlives_a_restart_of_the_server(
    start: Any, connect: Any, declare_crd: Any, declared: Any, widget: Any, operator: Any, eventually: Any, end: str
) -> None:  # fmt: skip
    first = start("--history-limit", "1")  # so that the operator comes back too late, too
    api = connect(first)
    declare_crd(api, declared)
    kopf = operator(first.kubeconfig)
    widgets = "/apis/lab.example.com/v1/namespaces/default/widgets"

    def settled(api: Any, name: str) -> bool:
        body = widget(name=name)
        body["metadata"]["labels"] = {"operated": "true"}
        api.create(widgets, body)

        def seen() -> bool:
            status = api.get(f"{widgets}/{name}").get("status", {})
            return bool(status.get("phase") == "Settled")

        return bool(eventually(seen, 40))

    assert settled(api, "before")
    getattr(first, end)()
    again = connect(start("--history-limit", "1"))

    assert settled(again, "after")
    assert kopf.poll() is None
    again.delete(f"{widgets}/after")
    eventually(lambda: again.gone(f"{widgets}/after"))


def test_an_object_with_a_finalizer_and_no_operator_stays_until_released(
    api: Any, widgets: str, widget: Any
) -> None:
    body = widget()
    # Not the finalizer of the kopf operator that other tests run: it would take it off.
    body["metadata"]["finalizers"] = ["lab.example.com/nobody"]
    api.create(widgets, body)

    api.delete(f"{widgets}/w1")

    assert api.get(f"{widgets}/w1")["metadata"]["deletionTimestamp"]
    api.patch(f"{widgets}/w1", {"metadata": {"finalizers": []}})
    assert api.gone(f"{widgets}/w1")
