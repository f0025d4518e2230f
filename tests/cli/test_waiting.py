"""Waiting for objects and showing them, against a real API server whose operator is the test."""

from __future__ import annotations

import contextlib
import csv
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from modelyard.api.artifacts import PROGRESS, run_key
from modelyard.api.resources import OURS, Key
from modelyard.cli import apply, lookup, predict, settle, state, viewer, why
from modelyard.cli.apply import origin_of
from modelyard.cli.client import Client
from modelyard.cli.faults import CommandError, Fault
from modelyard.cli.layout import Layout, write_json
from modelyard.cli.starter import TEMPLATES, project_files, write
from modelyard.cli.state import View
from modelyard.cli.validate import judge
from modelyard.embedded.kubeconfig import read_kubeconfig

SECONDS = 60.0


class Operator:
    """Writes statuses as the operator would."""

    def __init__(self, client: Client, namespace: str) -> None:
        endpoint = read_kubeconfig(client.kubeconfig)
        self._http = httpx.Client(
            base_url=endpoint.server, headers=dict(endpoint.headers), verify=endpoint.tls
        )
        self._namespace = namespace

    def close(self) -> None:
        self._http.close()

    def says(self, kind: str, name: str, condition: str, reason: str, **status: Any) -> None:
        """Give an object the condition Ready, or Reconciling or Stalled beside a false Ready."""
        path = OURS[kind].path(self._namespace, name)
        generation = self._http.get(path).json()["metadata"]["generation"]
        types = {"Ready": "True"} if condition == "Ready" else {"Ready": "False", condition: "True"}
        conditions = [
            {
                "type": kind_of_condition,
                "status": value,
                "reason": reason,
                "message": f"because of {reason}",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "observedGeneration": generation,
            }
            for kind_of_condition, value in types.items()
        ]
        body = {"status": {"conditions": conditions, **status}}
        headers = {"Content-Type": "application/merge-patch+json"}
        self._http.patch(f"{path}/status", json=body, headers=headers).raise_for_status()


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest, client: Client) -> Path:
    """An applied project in a namespace of its own."""
    name = f"w{abs(hash(request.node.name)) % 10**8}"
    directory = tmp_path / name
    write(directory, project_files(name, TEMPLATES["wine"]))
    apply.apply_tree(judge(directory), origin_of(directory), client)
    return directory


@pytest.fixture
def operator(project: Path, client: Client) -> Iterator[Operator]:
    """The operator of the project's namespace."""
    made = Operator(client, project.name)
    yield made
    made.close()


def keys(project: Path) -> list[Key]:
    return [manifest.key for manifest in judge(project).tree.manifests]


def wait(project: Path, client: Client, timeout: float = SECONDS) -> settle.Settled:
    return settle.wait(client, keys(project), timeout, lambda _views: None)


def all_ready(project: Path, operator: Operator) -> None:
    for key in keys(project):
        operator.says(key.kind, key.name, "Ready", "Fine")


def test_waiting_ends_well_when_every_object_is_ready(
    project: Path, operator: Operator, client: Client
) -> None:
    all_ready(project, operator)
    settled = wait(project, client)
    assert settled.ready
    assert settled.message == "all 6 objects are Ready"


def test_waiting_ends_badly_when_one_object_is_stalled_and_names_it(
    project: Path, operator: Operator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "GRACE_SECONDS", 0.1)
    all_ready(project, operator)
    operator.says("Deployment", project.name, "Stalled", "PolicyDenied")
    settled = wait(project, client)
    assert not settled.ready
    assert f"deployment/{project.name}/{project.name}: PolicyDenied" in settled.message


def test_waiting_for_too_long_says_what_was_missing(project: Path, client: Client) -> None:
    settled = wait(project, client, timeout=0)
    assert not settled.ready
    assert "The operator has not looked at it yet" in settled.message


def test_an_object_changed_since_the_last_verdict_is_not_ready(
    project: Path, operator: Operator, client: Client
) -> None:
    all_ready(project, operator)
    experiment = project / "experiment.yaml"
    experiment.write_text(experiment.read_text().replace("seed: 42", "seed: 43"))
    apply.apply_tree(judge(project), origin_of(project), client)
    view = lookup.find(client, "Experiment", project.name, project.name)
    assert view.state == "Progressing"


def test_the_document_lists_endpoints_models_and_conditions(
    project: Path, operator: Operator, client: Client
) -> None:
    url, digest = "http://127.0.0.1:9", "sha256:" + "0" * 64
    version = {"modelVersion": f"{project.name}-0123456789", "modelDigest": digest}
    operator.says("Deployment", project.name, "Ready", "Serving", url=url, **version)
    document = state.document(settle.read(client, [project.name]))
    endpoint = document["endpoints"][0]
    assert endpoint["predictUrl"] == f"{url}/v1/models/{project.name}:predict"
    assert endpoint["modelDigest"] == digest
    deployment = next(entry for entry in document["objects"] if entry["kind"] == "Deployment")
    assert deployment["conditions"][0]["type"] == "Ready"


def test_progress_comes_from_the_runs_own_file_first(
    project: Path, operator: Operator, client: Client
) -> None:
    run = {"identity": "a" * 64, "state": "Running"}
    operator.says("Experiment", project.name, "Reconciling", "SearchRunning", run=run,
                  progress={"done": 1, "total": 10})  # fmt: skip
    view = lookup.find(client, "Experiment", project.name, project.name)
    layout = Layout(project)
    assert state.progress_of(view, layout) == "1/10 trials"
    folder = layout.store / run_key(project.name, "Experiment", project.name, "a" * 64)
    fresh = {"done": 4, "failed": 1, "total": 10, "bestMetric": 0.98765, "eta": "12s"}
    write_json(folder / PROGRESS, fresh)
    assert state.progress_of(view, layout) == "4/10 trials, 1 failed, best 0.9877, 12s left"


def test_without_a_terminal_the_viewer_writes_a_line_for_each_change(
    project: Path, operator: Operator, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with viewer.Viewer(None) as shown:
        shown(settle.read(client, [project.name]))
        shown(settle.read(client, [project.name]))
        operator.says("Dataset", project.name, "Ready", "SnapshotReady")
        shown(settle.read(client, [project.name]))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert lines[-1].startswith(f"Dataset/{project.name}: Ready: SnapshotReady")


def test_why_finds_the_denial_and_the_commit(
    project: Path, operator: Operator, client: Client
) -> None:
    verdict = {
        "gate": "deploy", "policy": "good-enough", "allowed": False, "enforcement": "Deny",
        "reasons": ["accuracy is 0.8, must be at least 0.85"],
        "policyDigest": "sha256:" + "0" * 64,
    }  # fmt: skip
    all_ready(project, operator)
    operator.says("Deployment", project.name, "Stalled", "PolicyDenied", verdicts=[verdict])
    view = lookup.find(client, "Deployment", project.name, project.name)
    explanation = why.explain(client, view, None)
    cause = explanation.cause()
    assert cause is not None
    assert cause.key.kind == "Deployment"
    text = "\n".join(why.lines(explanation))
    assert "good-enough denies at deploy: accuracy is 0.8, must be at least 0.85" in text
    assert "Cause written in: commit unversioned, deployment.yaml" in text
    assert "Source: commit unversioned, experiment.yaml" in text


def test_why_tells_what_is_declared_and_yet_not_there(
    project: Path, operator: Operator, client: Client
) -> None:
    def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
        moment = "2026-01-01T00:00:00Z"
        return {"type": kind, "status": status, "reason": reason, "message": f"because of {reason}",
                "lastTransitionTime": moment, "observedGeneration": 1}  # fmt: skip

    all_ready(project, operator)
    said = [
        condition("Ready", "True", "Serving"),
        condition("FallbackReady", "False", "FallbackIsServed"),
    ]
    operator.says("Deployment", project.name, "Ready", "Serving", conditions=said)
    view = lookup.find(client, "Deployment", project.name, project.name)

    text = "\n".join(why.lines(why.explain(client, view, None)))

    assert "FallbackReady: FallbackIsServed: because of FallbackIsServed" in text


@pytest.mark.parametrize(
    ("file", "told"),
    [
        pytest.param("experiment.yaml", True, id="a file of the chain"),
        pytest.param("policy.yaml", False, id="another file"),
    ],
)
def test_why_tells_that_the_file_of_an_object_is_refused(
    file: str, told: bool, project: Path, operator: Operator, client: Client
) -> None:
    all_ready(project, operator)
    layout = Layout(project)
    fault = Fault(file, 7, 3, "spec.search.trials", "expected a number")
    write_json(layout.follower, {"faults": [fault.to_json()]})
    view = lookup.find(client, "Deployment", project.name, project.name)

    explanation = why.explain(client, view, layout)

    assert explanation.refused == ([str(fault)] if told else [])
    assert (str(fault) in "\n".join(why.lines(explanation))) is told


class Answers(BaseHTTPRequestHandler):
    """A model server that doubles x and refuses anything else; it keeps what it was sent."""

    sent: ClassVar[list[Any]] = []
    inputs = (("x", "FP64"), ("code", "BYTES"), ("member", "BOOL"), ("column_1", "BYTES"))

    def do_GET(self) -> None:
        assert self.path == "/v2/models/double"
        inputs = [{"name": name, "datatype": datatype} for name, datatype in self.inputs]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"inputs": inputs}).encode())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.sent[:] = request["instances"]
        try:
            predictions = [2 * row["x"] for row in request["instances"]]
            body, status = {"predictions": predictions}, 200
        except TypeError:
            body, status = {"error": "instances[0].x: must be a number"}, 400
        except KeyError as error:
            body, status = {"error": f"instances[0].{error.args[0]}: missing"}, 400
        self.send_response(status)
        self.send_header("x-modelyard-model-version", "double-0123456789")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


@pytest.fixture
def served() -> Iterator[View]:
    """A Deployment whose model server runs, and was sent nothing yet."""
    Answers.sent.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield View(
            {
                "kind": "Deployment",
                "metadata": {"name": "double", "namespace": "n"},
                "status": {"url": f"http://127.0.0.1:{server.server_port}"},
            }
        )
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("rows.csv", "x\n1\n2\n", id="CSV"),
        pytest.param("rows.json", '[{"x": 1}, {"x": 2}]', id="a JSON list"),
        pytest.param("rows.jsonl", '{"x": 1}\n{"x": 2}\n', id="JSON Lines"),
        pytest.param("rows.jsonl", '{"x": 1}\n  {"x": 2}\n', id="JSON Lines that are indented"),
        pytest.param("rows.json", '{"instances": [{"x": 1}, {"x": 2}]}', id="a V1 request"),
        pytest.param(
            "rows.json", '{"instances": [\n{"x": 1},\n{"x": 2}\n]}', id="a V1 request of many lines"
        ),
        pytest.param("rows.CSV", "x\n1\n2\n", id="CSV by a name in capitals"),
    ],
)
def test_predict_sends_rows_of_every_form(
    name: str, content: str, tmp_path: Path, served: View
) -> None:
    (tmp_path / name).write_text(content)
    answer = predict.predict(served, predict.rows_of(str(tmp_path / name), None))
    assert (answer["modelVersion"], answer["predictions"]) == ("double-0123456789", [2, 4])


def test_predict_passes_on_which_field_was_refused(served: View) -> None:
    with pytest.raises(CommandError, match=r"instances\[0\].x: missing"):
        predict.predict(served, predict.rows_of(None, '{"y": 1}'))


CELLS: dict[str, Any] = {
    "a number": ("x", " 1.50 ", 1.5),
    "a category of digits": ("code", "01", "01"),
    "a category with blanks around it": ("code", " a b ", "a b"),
    "true": ("member", "Yes", True),
    "false": ("member", "0", False),
    "true as a number": ("member", "1.0", 1.0),
    "empty": ("code", "", None),
    "blank": ("x", "  ", None),
    "missing in words": ("code", "N/A", None),
    "a missing number": ("x", "NaN", None),
    "neither true nor false, for the server to refuse": ("member", "perhaps", "perhaps"),
    "a long text": ("code", 140_000 * "x", 140_000 * "x"),
    "a column without a name": ("", "1", "1"),
    "no number": ("x", "1_000", "1_000"),
    "no finite number": ("x", "inf", "inf"),
    "digits that are not ASCII": ("x", "\u0661\u0662", "\u0661\u0662"),
}


@pytest.mark.parametrize(("column", "cell", "sent"), CELLS.values(), ids=list(CELLS))
def test_cells_of_a_csv_file_are_sent_as_what_their_features_are(
    column: str, cell: str, sent: Any, tmp_path: Path, served: View
) -> None:
    number = {} if column == "x" else {"x": 1.0}
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[column, *number], [cell, *number.values()]])
    rows = predict.rows_of(str(tmp_path / "rows.csv"), None)

    with contextlib.suppress(CommandError):  # this server does not double texts
        predict.predict(served, rows)

    assert Answers.sent == [{column or "column_1": sent, **number}]
    assert type(Answers.sent[0][column or "column_1"]) is type(sent)


def test_columns_of_a_csv_file_that_are_no_features_are_not_sent_and_named(
    tmp_path: Path, served: View
) -> None:
    (tmp_path / "rows.csv").write_text("churn,x,id\nyes,1,A-1\nno,2,A-2\n")

    answer = predict.predict(served, predict.rows_of(str(tmp_path / "rows.csv"), None))

    assert Answers.sent == [{"x": 1.0}, {"x": 2.0}]
    assert answer["predictions"] == [2, 4]
    assert predict.differences(answer) == [
        "not sent, for they are no features: churn, id",
        "features that the file lacks: code, member, column_1",
    ]


def test_a_refusal_names_the_columns_that_were_not_sent(tmp_path: Path, served: View) -> None:
    (tmp_path / "rows.csv").write_text("X,code,member\n1,a,yes\n")

    with pytest.raises(CommandError) as refused:
        predict.predict(served, predict.rows_of(str(tmp_path / "rows.csv"), None))

    assert str(refused.value).splitlines()[1:] == [
        "not sent, for they are no features: X",
        "features that the file lacks: x, column_1",
    ]


def test_many_columns_are_named_in_part() -> None:
    (line,) = predict.differences({"ignoredColumns": [f"c{n}" for n in range(50)]})
    assert line.endswith("c18, c19 and 30 more")


def test_a_csv_file_without_any_feature_is_refused_with_their_names(
    tmp_path: Path, served: View
) -> None:
    (tmp_path / "rows.csv").write_text("churn,id\nyes,A-1\n")

    with pytest.raises(CommandError, match="no column is a feature of the model; it takes x, code"):
        predict.predict(served, predict.rows_of(str(tmp_path / "rows.csv"), None))

    assert Answers.sent == []


FILES = {
    "a line that is too long": (
        "\ufeffa,b\n1,2\n1,2,3\n",
        "line 3: expected a cell for each of 2 columns, found 3",
    ),
    "a line that is too short": (
        "\na,b\n1\n",
        "line 3: expected a cell for each of 2 columns, found 1",
    ),
    "a name twice": ("a,b, a\n1,2,3\n", "the header names 'a' twice"),
    "a line after a cell of two lines": (
        'a,b\n"1\n",2\n3\n',
        "line 4: expected a cell for each of 2 columns, found 1",
    ),
    "a quote that is not closed": ('a,b\n1,2\n3,"4\n5,6\n', "line 3: unexpected end of data"),
    "text after a quote": ('a,b\n1,"2"x\n', "line 2: ',' expected after"),
    "nothing": ("\n\n", "write the names of the features as its first line"),
}


@pytest.mark.parametrize(("content", "problem"), FILES.values(), ids=list(FILES))
def test_a_csv_file_that_cannot_be_read_is_told_by_line(
    content: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(CommandError, match=problem):
        predict.rows_of(str(tmp_path / "rows.csv"), None)


@pytest.mark.parametrize("row", ['{"x": NaN}', '{"x": -Infinity}'])
def test_numbers_that_json_does_not_know_are_refused(row: str) -> None:
    with pytest.raises(CommandError, match="write null where one is missing"):
        predict.rows_of(None, row)


METADATA: dict[str, tuple[int, bytes, str]] = {
    "not yet": (
        503,
        b'{"error": "the model is being loaded"}',
        "answers: the model is being loaded",
    ),
    "elsewhere": (302, b"", "answers: HTTP 302"),
    "without types": (200, b'{"name": "double"}', "does not say what the model takes"),
    "no JSON": (200, b"<html>", "does not say what the model takes"),
}


@pytest.mark.parametrize(("status", "body", "problem"), METADATA.values(), ids=list(METADATA))
def test_a_server_that_tells_no_types_is_named(
    status: int,
    body: bytes,
    problem: str,
    served: View,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def do_get(answers: Answers) -> None:
        answers.send_response(status)
        answers.end_headers()
        answers.wfile.write(body)

    monkeypatch.setattr(Answers, "do_GET", do_get)
    (tmp_path / "rows.csv").write_text("x\n1\n")
    with pytest.raises(CommandError, match=f"/v2/models/double {problem}"):
        predict.predict(served, predict.rows_of(str(tmp_path / "rows.csv"), None))
