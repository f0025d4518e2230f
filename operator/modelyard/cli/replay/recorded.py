"""Finds the recorded run of each object of a commit, and what that run was given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from modelyard.api.artifacts import (
    FAILURE,
    MANIFEST,
    RECORD,
    TRIALS,
    Failure,
    Manifest,
    artifact_key,
    run_key,
)
from modelyard.api.dataset import DatasetSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.identity import digest, run_identity
from modelyard.api.meta import Model
from modelyard.api.project import ProjectSpec
from modelyard.api.records import PROFILE_FILE, TRIALS_FILE, DatasetRecord, TrainRecord
from modelyard.api.resources import Key
from modelyard.api.runs import DatasetConfig, TrainConfig
from modelyard.api.runtime import StoreConfig
from modelyard.build.run_config import dataset_config, train_config
from modelyard.cli.replay.commit import CommittedProject, SourceFiles, with_digest
from modelyard.cli.stores import StoreReader, connection_of
from modelyard.judge.identity import NOT_SHAPING as DATASET_NOT_SHAPING
from modelyard.judge.identity import dataset_identity
from modelyard.judge.schedule import run_token

RecordT = TypeVar("RecordT", DatasetRecord, TrainRecord)
ModelT = TypeVar("ModelT", bound=Model)


class NotRecorded(Exception):
    """A run cannot be replayed; the message says why and what to do."""


@dataclass(frozen=True)
class RecordedSnapshot:
    """A recorded run of a Dataset."""

    record: DatasetRecord
    config: DatasetConfig
    files: SourceFiles | None = None


@dataclass(frozen=True)
class RecordedSearch:
    """A recorded run of an Experiment."""

    record: TrainRecord
    config: TrainConfig


@dataclass(frozen=True)
class RunReader:
    """Reads what the runs of one namespace left in an artifact store."""

    reader: StoreReader
    namespace: str
    project: ProjectSpec | None

    def record(self, key: Key, identity: str, model: type[RecordT]) -> RecordT | None:
        """Return the record of a run, None without one.

        Raises:
            NotRecorded: the run failed.
        """
        record = self.record_or_none(key, identity, model)
        if record is None:
            failure = self.failure(key, identity)
            if failure is not None:
                raise NotRecorded(
                    f"the run failed, there is no result to compare: {failure.reason}: "
                    f"{failure.message}"
                )
        return record

    def record_or_none(self, key: Key, identity: str, model: type[RecordT]) -> RecordT | None:
        """Return the record of a run, None while and where it has none."""
        return self._read(f"{_folder(key, identity)}/{RECORD}", model)

    def records(self, key: Key, model: type[RecordT]) -> Iterator[RecordT]:
        """Yield the records of all runs of an object."""
        place = run_key(key.namespace, key.kind, key.name, "")
        for identity in self.reader.folders(self.namespace, self.project, place):
            record = self._read(f"{place}{identity}/{RECORD}", model)
            if record is not None:
                yield record

    def failure(self, key: Key, identity: str) -> Failure | None:
        """Return why a run failed, None when it did not."""
        return self._read(f"{_folder(key, identity)}/{FAILURE}", Failure)

    def trials(self, key: Key, identity: str) -> dict[int, dict[str, Any]]:
        """Return the trials in the log of a run, by number; a line that is no JSON is none.

        What they took is left out: it is no result.
        """
        content = self._bytes(f"{_folder(key, identity)}/{TRIALS}") or b""
        trials: dict[int, dict[str, Any]] = {}
        for line in content.splitlines()[1:]:
            try:
                trial = json.loads(line)
                trial.pop("took", None)
                trials[trial["number"]] = trial
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return trials

    def evidence_trials(self, evidence: Manifest | None) -> dict[int, dict[str, Any]]:
        """Return the trials that the evidence tells, by number."""
        content = self._file(evidence, TRIALS_FILE)
        return {trial["number"]: trial for trial in json.loads(content)} if content else {}

    def statistics(self, artifact_digest: str) -> Mapping[str, Any]:
        """Return the numbers of a snapshot by column; none where they cannot be read."""
        content = self._file(self.manifest(artifact_digest), PROFILE_FILE)
        found: Mapping[str, Any] = json.loads(content).get("statistics", {}) if content else {}
        return found

    def manifest(self, artifact_digest: str) -> Manifest | None:
        """Return the files of an artifact; None where it is not there or was changed."""
        content = self._bytes(f"{artifact_key(artifact_digest)}/{MANIFEST}")
        if content is None or digest(content) != artifact_digest:
            return None
        return Manifest.model_validate_json(content)

    def _file(self, manifest: Manifest | None, path: str) -> bytes | None:
        """Return a file of an artifact, None where it is not there or was changed."""
        entry = next((e for e in manifest.files if e.path == path), None) if manifest else None
        if manifest is None or entry is None:
            return None
        content = self._bytes(f"{artifact_key(manifest.artifact_digest())}/{path}")
        return content if content is not None and digest(content) == entry.digest else None

    def _bytes(self, key: str) -> bytes | None:
        return self.reader.read(self.namespace, self.project, key)

    def _read(self, key: str, model: type[ModelT]) -> ModelT | None:
        content = self._bytes(key)
        if content is None:
            return None
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            raise NotRecorded(f"{key} cannot be read: {error.errors()[0]['msg']}") from error


def find_snapshot(key: Key, project: CommittedProject, runs: RunReader) -> RecordedSnapshot:
    """Return the run of a Dataset of a commit.

    Of several runs with this spec, whose data git does not hold, it is the one recorded at the
    commit, else the last.

    Raises:
        NotRecorded: there is none.
        StoreUnavailable: the store cannot be read.
    """
    body, spec = _declared(DatasetSpec, key, project)
    path = spec.source.path
    files: list[SourceFiles | None] = []
    if path is not None:
        files += project.source_files(path)
    for one in files or [None]:
        manifest = body if one is None else with_digest(body, one)
        identity = dataset_identity(manifest, spec)
        record = runs.record(key, identity, DatasetRecord)
        if record is not None:
            return _snapshot(record, manifest, spec, one, runs)
    same = [
        record
        for record in runs.records(key, DatasetRecord)
        if record.config is not None and _shape(record.config.spec) == _shape(spec)
    ]
    if not same:
        raise NotRecorded("no run with this spec and these data is recorded; it did not run yet")
    record = _latest(same, project.commit)
    return _snapshot(record, body, spec, files[0] if files else None, runs)


def _snapshot(
    record: DatasetRecord,
    manifest: dict[str, Any],
    spec: DatasetSpec,
    files: SourceFiles | None,
    runs: RunReader,
) -> RecordedSnapshot:
    config = record.config
    if config is None:
        config = dataset_config(
            manifest, spec, record.identity, runs.reader.default, _source_store(spec, runs)
        )
    if files is not None:
        source = config.spec.source.model_copy(update={"path": str(files.path)})
        moved = config.spec.model_copy(update={"source": source})
        config = config.model_copy(update={"spec": moved})
    return RecordedSnapshot(record, config, files)


def _source_store(spec: DatasetSpec, runs: RunReader) -> StoreConfig | None:
    source = spec.source
    if source.uri is None or source.connection_ref is None or runs.project is None:
        return None
    connection = connection_of(runs.project, source.connection_ref.name)
    return StoreConfig(uri=source.uri, endpoint=connection.endpoint, region=connection.region)


def find_search(
    key: Key, project: CommittedProject, runs: RunReader, data: DatasetRecord
) -> RecordedSearch:
    """Return the run of an Experiment of a commit on the rows of a recorded snapshot.

    Of several runs, as a schedule makes them, it is the one recorded at the commit, else the last.

    Raises:
        NotRecorded: there is none.
        StoreUnavailable: the store cannot be read.
    """
    body, spec = _declared(ExperimentSpec, key, project)
    shape = spec.shaping_fields()
    identity = run_identity("Experiment", shape, data.fingerprint, run_token(spec, None))
    record = runs.record(key, identity, TrainRecord)
    if record is None:
        same = [
            other
            for other in runs.records(key, TrainRecord)
            if other.config is not None
            and other.config.spec.shaping_fields() == shape
            and other.config.fingerprint == data.fingerprint
        ]
        if not same:
            raise NotRecorded(
                "no run with this spec and these rows is recorded; it did not run yet"
            )
        record = _latest(same, project.commit)
    config = record.config or train_config(
        body, spec, identity, data, runs.reader.default, workers=spec.execution.shaping_parallelism
    )
    return RecordedSearch(record, config)


def _declared(
    model: type[ModelT], key: Key, project: CommittedProject
) -> tuple[dict[str, Any], ModelT]:
    """Return an object of the commit and its spec."""
    body = project.body(key)
    if body is None:
        raise NotRecorded(f"the commit has no {key}")
    try:
        return body, model.model_validate(body.get("spec") or {})
    except ValidationError as error:
        first = error.errors()[0]
        field_path = ".".join(map(str, first["loc"]))
        raise NotRecorded(f"spec.{field_path} is no longer valid: {first['msg']}") from error


def _shape(spec: DatasetSpec) -> dict[str, Any]:
    """Return what of a spec shapes the snapshot, wherever its files lie."""
    fields = spec.to_json()
    for name in DATASET_NOT_SHAPING:
        fields.pop(name, None)
    fields["source"] = {k: v for k, v in fields["source"].items() if k != "path"}
    return fields


def _latest(records: Iterable[RecordT], commit: str) -> RecordT:
    return max(
        records,
        key=lambda record: (
            record.provenance.source_revision == commit,
            record.provenance.finished_at,
        ),
    )


def _folder(key: Key, identity: str) -> str:
    return run_key(key.namespace, key.kind, key.name, identity)
