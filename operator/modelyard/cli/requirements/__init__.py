"""From a plain requirements file to a project tree: rules only, and questions instead of guesses.

`parse` reads the file's fields; what it concludes without being told is an `Assumption`, what it
cannot know is a `Question`, what cannot be declared yet is an `Unsupported`. `project_tree` writes
the YAML once no question is open.
"""

from modelyard.cli.requirements.model import (
    Assumption,
    Question,
    Requirements,
    RequirementsIncomplete,
    Threshold,
    Unsupported,
)
from modelyard.cli.requirements.parse import FIELDS, parse
from modelyard.cli.requirements.tree import project_tree

__all__ = [
    "FIELDS",
    "Assumption",
    "Question",
    "Requirements",
    "RequirementsIncomplete",
    "Threshold",
    "Unsupported",
    "parse",
    "project_tree",
]
