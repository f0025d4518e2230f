"""Everything that can be said about a directory without running anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from modelyard.api.policy import PolicySpec
from modelyard.api.schedule import Schedule
from modelyard.cli import documents, manifests, references, schema
from modelyard.cli.faults import CommandError, Fault
from modelyard.cli.manifests import Manifest, Tree, project_directory
from modelyard.judge.policy_paths import unknown_paths
from modelyard.judge.rego import PolicyInvalid, compile_policy
from modelyard.judge.schedule import ScheduleInvalid, check_schedule


@dataclass(frozen=True)
class Judgement:
    """A tree and all its faults, in the order of files and lines."""

    tree: Tree
    faults: tuple[Fault, ...]

    @property
    def faulty_files(self) -> frozenset[str]:
        """Files with at least one fault; nothing of them is applied."""
        return frozenset(fault.file for fault in self.faults)


def judge(directory: Path) -> Judgement:
    """Read and validate a directory."""
    tree = manifests.load(directory)
    faults = list(tree.faults)
    for manifest in tree.manifests:
        if manifest.ours:
            faults += _faults_of(manifest)
    if not tree.faults:
        # With a file unread, what others refer to would seem to be missing.
        faults += references.faults(tree)
    return Judgement(tree, tuple(sorted(set(faults))))


def _faults_of(manifest: Manifest) -> list[Fault]:
    kind = manifest.key.kind
    wrong = [manifest.fault(path, text) for path, text in schema.faults(kind, manifest.body)]
    if wrong:
        return wrong
    if kind == "Policy":
        return _policy_faults(manifest)
    return _schedule_faults(manifest)


def _schedule_faults(manifest: Manifest) -> list[Fault]:
    """Return what no schema can check of a schedule: cron, time zone and date."""
    schedule = manifest.get("spec", "schedule")
    try:
        if schedule is not None:
            check_schedule(Schedule.model_validate(schedule))
    except ScheduleInvalid as invalid:
        return [manifest.fault(("spec", "schedule", invalid.field), str(invalid))]
    return []


def _policy_faults(manifest: Manifest) -> list[Fault]:
    """Return what keeps a Policy from being compiled or from ever allowing anything, by line."""
    spec = PolicySpec.model_validate(manifest.body["spec"])
    findings = unknown_paths(spec)
    try:
        compile_policy(manifest.key.name, spec)
    except PolicyInvalid as invalid:
        findings += invalid.findings
    faults = []
    for finding in findings:
        fault = manifest.fault(documents.parse_field_path(finding.field), finding.message)
        faults.append(replace(fault, line=fault.line + finding.line))
    return faults


def judge_or_fail(directory: Path) -> Judgement:
    """Read and validate a directory that has to be sound.

    Raises:
        CommandError: there is no such directory, nothing in it, or a fault.
    """
    judgement = judge(project_directory(directory))
    if judgement.faults:
        lines = "\n".join(map(str, judgement.faults))
        raise CommandError(f"nothing was done, the YAML has faults:\n{lines}")
    if not judgement.tree.manifests:
        raise CommandError(nothing_in(directory))
    return judgement


def nothing_in(directory: Path) -> str:
    """Return what to say of a directory without manifests."""
    return (
        f"{directory.resolve()} holds no YAML; name the folder of a project, "
        "or write one with `modelyard init`"
    )
