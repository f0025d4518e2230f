"""What the requirements say, once read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelyard.api.experiment import Metric

TaskType = Literal["Classification", "Regression"]
Environment = Literal["development", "staging", "production"]
ThresholdOperator = Literal["GreaterThan", "GreaterOrEqual", "LessThan", "LessOrEqual"]


@dataclass(frozen=True)
class Assumption:
    """Something concluded without being told; saying it in the file overrides it."""

    field: str
    value: str
    why: str


@dataclass(frozen=True)
class Question:
    """Something that must be known; answered by adding the field to the file."""

    field: str
    unknown: str


@dataclass(frozen=True)
class Unsupported:
    """Something asked for that no field of the present kinds can declare."""

    field: str
    text: str
    remedy: str


class RequirementsIncomplete(Exception):
    """No project can be written while questions are open."""

    def __init__(self, questions: Iterable[Question]) -> None:
        self.questions = tuple(questions)
        super().__init__("; ".join(f"{q.field}: {q.unknown}" for q in self.questions))


@dataclass(frozen=True)
class Threshold:
    """A value that a holdout metric must reach."""

    metric: Metric
    operator: ThresholdOperator
    value: float


@dataclass
class Requirements:
    """The fields of a requirements file, read; unset where unknown."""

    project_name: str | None = None
    """DNS label, also the namespace."""
    objective: str = ""
    data_description: str = ""
    data_path: Path | None = None
    """A file or directory that exists."""
    data_builtin: str | None = None
    data_uri: str | None = None
    task_type: TaskType | None = None
    target: str | None = None
    positive_label: str | None = None
    metric: Metric | None = None
    threshold: Threshold | None = None
    exclude: list[str] = field(default_factory=list)
    sensitive: list[str] = field(default_factory=list)
    environment: Environment = "development"
    requests_per_second: float | None = None
    """Mean rate of requests that the text states."""
    assumptions: list[Assumption] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    unsupported: list[Unsupported] = field(default_factory=list)

    def assume(self, name: str, value: str, why: str) -> None:
        """Note an assumption."""
        self.assumptions.append(Assumption(name, value, why))

    def ask(self, name: str, unknown: str) -> None:
        """Note a question."""
        self.questions.append(Question(name, unknown))

    def refuse(self, name: str, text: str, remedy: str) -> None:
        """Note something that cannot be declared."""
        self.unsupported.append(Unsupported(name, text, remedy))
