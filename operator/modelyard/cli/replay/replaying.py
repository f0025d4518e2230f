"""Replays the recorded runs of a commit into a fresh folder; what is recorded is only read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.api.artifacts import artifact_uri
from modelyard.api.dataset import DatasetSpec
from modelyard.api.project import ProjectSpec
from modelyard.api.records import DatasetRecord, TrainRecord
from modelyard.api.resources import Key
from modelyard.api.runtime import PRIVACY_KEY_VARIABLE, StoreConfig, TrainConfig
from modelyard.build.common import AWS_KEYS
from modelyard.cli import output
from modelyard.cli.client import Client
from modelyard.cli.connect import running_client
from modelyard.cli.faults import CommandError
from modelyard.cli.layout import Layout, find_project
from modelyard.cli.manifests import project_directory
from modelyard.cli.replay.commit import CommittedProject, committed_project
from modelyard.cli.replay.process import check_installed, start_runtime
from modelyard.cli.replay.recorded import (
    NotRecorded,
    RecordedSearch,
    RecordedSnapshot,
    RunReader,
    find_search,
    find_snapshot,
)
from modelyard.cli.replay.report import Report
from modelyard.cli.stores import StoreReader, connection_of
from modelyard.judge.replay import (
    SearchFacts,
    SnapshotFacts,
    changes,
    measured,
    search_difference,
    snapshot_difference,
    unrecorded,
)
from modelyard.ports.artifacts import StoreUnavailable

PASSED = (*AWS_KEYS, *(f"SOURCE_{key}" for key in AWS_KEYS), PRIVACY_KEY_VARIABLE)
"""Variables with credentials that a runtime is given as they are, where no Secret tells them."""


@dataclass(frozen=True)
class Request:
    """What is to be replayed.

    Attributes:
        commit: Any name of a commit.
        wanted: Kind, name and namespace of one object; all when unset.
        namespace: Only objects of this namespace; of all when unset.
        directory: Folder of the project.
        into: New or empty folder to replay into and leave; a temporary one when unset.
    """

    commit: str
    wanted: tuple[str, str, str | None] | None
    namespace: str | None
    directory: Path
    into: Path | None


@dataclass(frozen=True)
class Result:
    """The commit by its full name, and what was found of each run."""

    commit: str
    reports: list[Report]


def replay(request: Request) -> Result:
    """Replay the recorded runs of a commit.

    Raises:
        CommandError: nothing can be replayed; the message says why and what to do.
    """
    check_installed()
    start = project_directory(request.directory)
    layout = find_project(start) or Layout(start)
    with _fresh_folder(request.into) as folder, running_client(layout) as client:
        project = committed_project(layout.directory, request.commit, folder / "commit")
        replayer = Replayer(project, layout, client, folder)
        keys = project.objects(request.wanted, request.namespace)
        return Result(project.commit, [replayer.report(key) for key in keys])


@contextmanager
def _fresh_folder(into: Path | None) -> Iterator[Path]:
    if into is None:
        with tempfile.TemporaryDirectory(prefix="modelyard-replay-") as name:
            yield Path(name).resolve()
        return
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise CommandError(f"{into}: not an empty folder; name a new one")
    into.mkdir(parents=True, exist_ok=True)
    yield into.resolve()


@dataclass
class Replayer:
    """Replays runs of one commit, each from what is recorded of its own input."""

    project: CommittedProject
    layout: Layout
    client: Client | None
    folder: Path
    snapshots: dict[Key, RecordedSnapshot] = field(default_factory=dict)

    def report(self, key: Key) -> Report:
        """Replay the run of an object and compare."""
        output.say(f"replaying {key}")
        try:
            if key.kind == "Dataset":
                return self._report_snapshot(key, self._snapshot(key))
            return self._report_search(key)
        except (NotRecorded, StoreUnavailable) as error:
            return Report(key, "NotCompared", str(error))

    def _snapshot(self, key: Key) -> RecordedSnapshot:
        if key not in self.snapshots:
            found = find_snapshot(key, self.project, self._recorded(key.namespace))
            self.snapshots[key] = found
        return self.snapshots[key]

    def _report_snapshot(self, key: Key, found: RecordedSnapshot) -> Report:
        config = found.config.model_copy(update={"store": self._fresh_store()})
        status = start_runtime("dataset", config, self._keys(key, config.spec), self._log(key))
        record = self._replayed_record(key, config.identity, status, DatasetRecord)
        recorded, fresh = self._recorded(key.namespace), self._fresh(key.namespace)
        before, after = found.record, record
        difference = snapshot_difference(
            SnapshotFacts(before, recorded.statistics(before.snapshot.digest)),
            SnapshotFacts(after, fresh.statistics(after.snapshot.digest)),
        )
        explanations = list(changes(before.provenance, after.provenance))
        if found.files and config.source_digest not in ("", found.files.digest):
            explanations.insert(0, "data: the files behind spec.source.path are others than then")
        return Report(
            key,
            "Different" if difference else "Equal",
            identity=config.identity,
            difference=difference,
            explanations=explanations,
            notes=_missing(before),
            digests={
                "fingerprint": (before.fingerprint, after.fingerprint),
                "snapshot": (before.snapshot.digest, after.snapshot.digest),
            },
        )

    def _report_search(self, key: Key) -> Report:
        body = self.project.body(key) or {}
        dataset = Key("Dataset", key.namespace, body["spec"]["datasetRef"]["name"])
        found = find_search(
            key, self.project, self._recorded(key.namespace), self._snapshot(dataset).record
        )
        recorded, fresh = self._recorded(key.namespace), self._fresh(key.namespace)
        before = _facts(recorded, key, found.config.identity, found.record)
        told = recorded.evidence_trials(before.evidence)
        config = self._train_config(key, found, before)
        status = start_runtime("train", config, self._keys(key), self._log(key))
        record = fresh.record_or_none(key, config.identity, TrainRecord)
        after = _facts(fresh, key, config.identity, record)
        difference = search_difference(before, after)
        if record is None and difference is None:
            raise NotRecorded(self._why_ended(key, config.identity, status))
        return Report(
            key,
            "Different" if difference else "Equal",
            identity=config.identity,
            difference=difference,
            explanations=_explanations(found, record),
            notes=[*_missing(found.record), *_search_notes(config, before, after, told)],
            digests={} if record is None else _digests(found.record, record),
            trials=len(after.trials),
        )

    def _train_config(self, key: Key, found: RecordedSearch, facts: SearchFacts) -> TrainConfig:
        store, _ = self._reach(key.namespace)
        return found.config.model_copy(
            update={
                "store": self._fresh_store(),
                "snapshot_store": store,
                "snapshot_uri": artifact_uri(store.uri, found.record.snapshot_digest),
                "measured": measured(facts.trials, replayable=found.record.replayable),
            }
        )

    def _replayed_record(
        self, key: Key, identity: str, status: int, model: type[DatasetRecord]
    ) -> DatasetRecord:
        record = self._fresh(key.namespace).record_or_none(key, identity, model)
        if record is None:
            raise NotRecorded(self._why_ended(key, identity, status))
        return record

    def _why_ended(self, key: Key, identity: str, status: int) -> str:
        failure = self._fresh(key.namespace).failure(key, identity)
        if failure is not None:
            return f"the replay failed: {failure.reason}: {failure.message}"
        tail = self._log(key).read_text(errors="replace").splitlines()[-1:]
        return f"the replay ended with status {status} and no result: {''.join(tail)}"

    def _keys(self, key: Key, spec: DatasetSpec | None = None) -> dict[str, str]:
        """Return the variables with credentials that a runtime needs."""
        found = {name: os.environ[name] for name in PASSED if name in os.environ}
        _, store_keys = self._reach(key.namespace)
        found |= _only_aws(store_keys)
        project = self._project(key.namespace)
        if spec is None or self.client is None:
            return found
        reader = self._reader()
        if spec.source.connection_ref is not None and project is not None:
            connection = connection_of(project, spec.source.connection_ref.name)
            found |= _only_aws(reader.keys(key.namespace, connection), "SOURCE_")
        if spec.privacy.key_ref is not None:
            reference = spec.privacy.key_ref
            secret = reader.secret(key.namespace, reference.name)
            found[PRIVACY_KEY_VARIABLE] = secret.get(reference.key, "")
        return found

    def _reach(self, namespace: str) -> tuple[StoreConfig, dict[str, str]]:
        return self._reader().reach(namespace, self._project(namespace))

    def _project(self, namespace: str) -> ProjectSpec | None:
        return self.project.project(namespace)

    def _reader(self) -> StoreReader:
        return StoreReader(StoreConfig(uri=self.layout.store.resolve().as_uri()), self.client)

    def _recorded(self, namespace: str) -> RunReader:
        return RunReader(self._reader(), namespace, self._project(namespace))

    def _fresh(self, namespace: str) -> RunReader:
        return RunReader(StoreReader(self._fresh_store(), None), namespace, None)

    def _fresh_store(self) -> StoreConfig:
        return StoreConfig(uri=(self.folder / "store").as_uri())

    def _log(self, key: Key) -> Path:
        return self.folder / "logs" / f"{key.kind.lower()}-{key.namespace}-{key.name}.log"


def _facts(runs: RunReader, key: Key, identity: str, record: TrainRecord | None) -> SearchFacts:
    if record is None:
        return SearchFacts(None, runs.trials(key, identity))
    evidence = runs.manifest(record.evidence.digest)
    # The evidence tells the same trials, where somebody removed the log.
    trials = runs.trials(key, identity) or runs.evidence_trials(evidence)
    return SearchFacts(record, trials, runs.manifest(record.artifact.digest), evidence)


def _explanations(found: RecordedSearch, record: TrainRecord | None) -> list[str]:
    return list(changes(found.record.provenance, record.provenance)) if record else []


def _missing(record: DatasetRecord | TrainRecord) -> list[str]:
    missing = unrecorded(record)
    if not missing:
        return []
    return [f"the record, of an earlier version, does not tell {', '.join(missing)}"]


def _search_notes(
    config: TrainConfig,
    before: SearchFacts,
    after: SearchFacts,
    told: Mapping[int, Mapping[str, object]],
) -> Iterator[str]:
    """Yield what a reader must know: what was reused, and whether the log was changed."""
    if config.measured is not None and config.measured.failed:
        numbers = ", ".join(map(str, sorted(config.measured.failed)))
        yield f"trials {numbers} failed then by their machine; that is reused, not tried again"
    if config.measured is not None and config.measured.started is not None:
        yield f"budget.wallClock let {config.measured.started} trials start then, and now as many"
    altered = [number for number in told if told[number] != before.trials.get(number)]
    if altered:
        who = "evidence and the replay tell" if after.trials == told else "evidence tells"
        place = f"trials.jsonl was changed since the run, at trial {min(altered)}"
        yield f"{place}: the recorded {who} otherwise"


def _digests(before: TrainRecord, after: TrainRecord) -> dict[str, tuple[str, str]]:
    return {
        "winner": (before.artifact.digest, after.artifact.digest),
        "evidence": (before.evidence.digest, after.evidence.digest),
    }


def _only_aws(keys: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    return {prefix + name: keys[name] for name in AWS_KEYS if name in keys}
