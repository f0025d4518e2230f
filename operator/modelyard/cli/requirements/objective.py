"""Reads what is to be predicted out of English sentences."""

from __future__ import annotations

import re

from modelyard.cli.requirements.model import TaskType
from modelyard.cli.requirements.table import Table
from modelyard.cli.requirements.words import mentions, stem, words

_CLASSIFICATION = re.compile(
    r"\b(classif\w*|categori[sz]\w*|whether"
    r"|which (?:\w+ ){1,3}(?:will|are|is|have|has|do|does|would)"
    r"|likel(?:y|ihood)|probabilit\w+|chances?|odds|risks?|detect\w*|identif\w+|flag\w*"
    r"|recogni[sz]\w*"
    r"|yes or no|churn\w*|fraud\w*|spam|default\w*|if (?:a|an|the|our) \w+ (?:will|is|has|was)"
    r"|what (?:kind|type|class|species|category)|species|distinguish|tell apart"
    r"|binary|diagnos\w+)\b"
)
_REGRESSION = re.compile(
    r"\b(regression|how (?:much|many|long|old|far|high)|price[sd]?|values?|cost\w*|revenue|amount"
    r"|demand|number of|sales|consumption|temperature|duration|income of|quantity"
    r"|salar\w+|rent(?:al)?s?"
    r"|progression|count of|counts?|score of|yield|spend(?:ing)?|worth|weights?|volume|age of)\b"
)
_UNSUPPORTED = (
    (r"\b(cluster\w*|segment\w*|group similar)\b", "clustering"),
    (r"\brecommend\w*", "recommendation"),
    (r"\b(forecast\w*|time[\s-]series)\b|\bnext (?:\d+ )?(?:day|week|month|quarter|year)s?\b",
     "forecasting"),
    (r"\b(anomal\w+|outliers?)\b", "anomaly detection"),
    (r"\b(translat\w+|summari[sz]\w+|generat\w+|chat\w*|answer questions)\b", "text generation"),
    (r"\b(images?|photos?|pictures?|videos?|audio)\b", "images and sound"),
    (r"\b(extract\w*|entit(?:y|ies)|tag each)\b", "extraction"),
)  # fmt: skip
_VERB = re.compile(
    r"\b(predict\w*|estimat\w+|classif\w+|forecast\w*|determin\w+|detect\w*|identif\w+|model"
    r"|find out|know|tell|flag|guess|learn|infer|regression (?:of|for|on))\b"
)
_REST = re.compile(
    r"\b(from|using|based on|given|with|so that|so we|in order to|because"
    r"|by|per|in|on|at|after|when|among|their|its)\b"
)
_NAMED = re.compile(
    r"\b(?:target|label)(?: column| variable)?(?: is| =|:| called| named)\s*"
    r"[`'\"]?([\w -]+?)[`'\"]?(?=[.,;]|$)"
    r"|\bcolumn [`'\"]?(\w+)[`'\"]?|[`\"]([\w -]+)[`\"]",
    re.IGNORECASE,
)


def task_by_words(text: str) -> TaskType | None:
    """Return the kind of prediction that the words speak of; None if of none or of both."""
    lower = text.lower()
    classes, numbers = _CLASSIFICATION.search(lower), _REGRESSION.search(lower)
    if "regression" in lower and "logistic" not in lower:
        return "Regression"
    if "classif" in lower or (classes and not numbers):
        return "Classification"
    return "Regression" if numbers and not classes else None


def unsupported_task(text: str) -> str | None:
    """Return the name of a task that Experiments do not have, if the text asks for one."""
    lower = text.lower()
    return next((name for pattern, name in _UNSUPPORTED if re.search(pattern, lower)), None)


def named_target(text: str) -> str | None:
    """Return the column that a text names outright: "the target is x", "column x", quoted."""
    match = _NAMED.search(text)
    return next((group.strip() for group in match.groups() if group), None) if match else None


def target_candidates(text: str, table: Table) -> list[str]:
    """Return the columns that the predicted thing of a sentence may mean, none twice.

    A column counts if all its values are mentioned, else if its whole name is after the verb (the
    longest name wins), else if all words of its name but empty ones are. Texts, dates and
    identifiers never count.
    """
    columns = [column for column in table.columns if table.is_predictable(column)]
    by_values = [column for column in columns if _values_mentioned(text, table, column)]
    if by_values:
        return by_values
    phrase = _predicted(text)
    mentioned = [column for column in columns if mentions(phrase, column)]
    if mentioned:
        longest = max(len(words(column)) for column in mentioned)
        return [column for column in mentioned if len(words(column)) == longest]
    spoken = {stem(word) for word in words(phrase)}
    return [column for column in columns if _significant(column) and _significant(column) <= spoken]


def columns_in(text: str, table: Table | None) -> list[str]:
    """Return the columns listed in a text such as "a, b and c"."""
    parts = [part.strip(" `'\".") for part in re.split(r",|;|\band\b|\bor\b", text)]
    if table is None:
        return [part for part in parts if part and " " not in part]
    by_name = {column.lower(): column for column in table.columns}
    return [by_name[part.lower()] for part in parts if part.lower() in by_name]


def _predicted(text: str) -> str:
    """Return the part of a text that follows the first verb of prediction, up to the means.

    What stands behind a preposition (but "of" and "for") or "their" is not what is predicted.
    """
    match = _VERB.search(text.lower())
    phrase = text[match.end() :] if match else text
    return _REST.split(phrase, maxsplit=1)[0]


def _values_mentioned(text: str, table: Table, column: str) -> bool:
    values = table.values(column)
    named = [value for value in values if any(c.isalpha() for c in value)]
    return 2 <= len(values) <= 6 and named == values and all(mentions(text, v) for v in values)


def _significant(column: str) -> set[str]:
    """Return the stems of a name without words that say nothing."""
    empty = {"is", "has", "the", "of", "id", "flag", "label", "target", "class", "y"}
    return {stem(word) for word in words(column) if word not in empty}
