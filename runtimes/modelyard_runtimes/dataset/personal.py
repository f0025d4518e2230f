"""Finds columns with personal data, by presidio's patterns and checksums and by column names.

A language model is not used: presidio's recognizers are asked directly, so nothing is downloaded
and the answer depends on the values alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType, PersonalData
from modelyard.api.privacy import PrivacyAction

from modelyard_runtimes.dataset.canonical import Hashes, plain
from modelyard_runtimes.dataset.recognizers import STRONG, load_recognizers
from modelyard_runtimes.dataset.types import words_of

ROWS_LOOKED_AT = 1 << 17
"""Rows that are looked at: the first in canonical order, which are a random part of all."""
LOOKED_AT = 300
"""Distinct values that are looked at in a column."""
SHARE = 0.5
"""Share of values that must match, in columns of one value a cell."""
SHARE_IN_TEXT = 0.01
"""Share of texts that must hold personal data, in columns of type Text."""

IN_TEXT = ("EMAIL_ADDRESS", "IBAN_CODE", "CREDIT_CARD", "US_SSN")
"""Entities whose patterns are strict enough to be looked for within texts."""


class Hint(NamedTuple):
    """What a column name tells about an entity.

    Attributes:
        name: Regular expression found in the words of such names.
        shape: Regular expression that whole values match; None asks presidio's recognizer.
    """

    name: str
    shape: str | None = None


_PEOPLE = (
    "customer|client|patient|employee|contact|person|student|teacher|doctor|physician|driver|"
    "owner|holder|manager|author|passenger|member|buyer|seller|recipient|sender|guest|tenant"
)
_WORD = r"[^\W\d_][\w.'\u2019()\"-]*"
_PERSON_NAME = rf"(?!.*\b(?i:inc|llc|ltd|gmbh|corp|company|group)\b){_WORD}([ ,]+{_WORD}){{0,9}}"

NEED_NAME: dict[str, Hint] = {
    "DATE_OF_BIRTH": Hint(r"(^|_)(dob|birth_?da(te|y)|date_?of_?birth|born(_on)?)($|_)", r".*\d.*"),
    "PERSON": Hint(
        rf"(^|_)(first|last|full|given|family|middle|maiden|{_PEOPLE}|legal|sur)_?names?$"
        rf"|^names?$|(^|_)surname$|^({_PEOPLE})$",
        _PERSON_NAME,
    ),
    "LOCATION": Hint(
        r"^(?!.*(mail|ip|mac|web|url|wallet|contract))(.*_)?(address|addr|street|residence)"
        r"(_(line|number|1|2))*$",
        r"(?s)(?=.*\d).*[^\W\d_].*",
    ),
    "CREDIT_CARD": Hint(
        r"card_?(no|num|number)$|(^|_)(cc|pan)(_?(no|num|number))?$", r"(\d[ -]?){11,18}\d"
    ),
    "US_PASSPORT": Hint(r"passport"),
    "US_DRIVER_LICENSE": Hint(r"driv\w*_?licen[sc]e|(^|_)dl_?(no|num|number)$"),
    "US_BANK_NUMBER": Hint(r"(bank|iban|routing)_?\w*(acc|no|num)|(^|_)account_?(no|num|number)$"),
    "US_SSN": Hint(r"(^|_)(ssn|social_?security\w*)($|_)"),
    "PHONE_NUMBER": Hint(r"phone|(^|_)(tel|telephone|mobile|cell|fax|msisdn)($|_)"),
}
"""Entities that a hint in the column's name is needed for, or for whose weaker forms it is."""

_PUNCTUATED = re.compile(r"\+|\D.*\D")
_BY_NAME_ONLY = {"US_PASSPORT", "US_DRIVER_LICENSE", "US_BANK_NUMBER"}


def some_rows(table: pa.Table, hashes: Hashes) -> pa.Table:
    """Return the rows that are looked at, the same whatever their order."""
    if table.num_rows <= ROWS_LOOKED_AT:
        return table
    last = np.partition(hashes[:, 0], ROWS_LOOKED_AT - 1)[ROWS_LOOKED_AT - 1]
    return table.take(pa.array(np.flatnonzero(hashes[:, 0] <= last)))


def find_personal_data(
    table: pa.Table, types: dict[str, ColumnType], actions: dict[str, PrivacyAction]
) -> list[PersonalData]:
    """Return the columns that seem to hold personal data, in the order of the table."""
    found = []
    for name in table.column_names:
        match = _entity_of(name, types[name], plain(table.column(name)))
        if match is not None:
            entity, confidence = match
            found.append(
                PersonalData(
                    column=name,
                    entity=entity,
                    confidence=round(confidence, 3),
                    action=actions.get(name),
                )
            )
    return found


def holds_personal_data(text: str) -> bool:
    """Return whether personal data of a strict pattern occurs in the first LONGEST characters."""
    recognizers = load_recognizers()
    return any(recognizers[entity].is_within(text) for entity in (*IN_TEXT, "PHONE_NUMBER"))


def _entity_of(name: str, type_: ColumnType, values: pa.Array) -> tuple[str, float] | None:
    """Return the kind of personal data in a column, with the share of values that match."""
    hints = [entity for entity, hint in NEED_NAME.items() if re.search(hint.name, words_of(name))]
    if type_ == "Boolean" or pa.types.is_floating(values.type):
        return None
    if type_ == "Datetime":
        return ("DATE_OF_BIRTH", 1.0) if "DATE_OF_BIRTH" in hints else None
    texts = _some_texts(values)
    if not texts:
        return None
    shares = [
        (entity, _share(entity, texts, hinted=entity in hints)) for entity in _candidates(hints)
    ]
    best = max(shares, key=lambda item: item[1])
    if best[1] >= SHARE:
        return best
    return _within(texts) if type_ == "Text" else None


def _candidates(hints: list[str]) -> list[str]:
    """Return the entities to look for, those that the name hints at first."""
    always = [entity for entity in load_recognizers() if entity not in _BY_NAME_ONLY]
    return [*hints, *(entity for entity in always if entity not in hints)]


def _some_texts(values: pa.Array) -> list[str]:
    """Return distinct values as texts, the same whatever the order of rows.

    They are evenly spread: all, or LOOKED_AT of them.
    """
    distinct = sorted(values.cast(pa.large_string()).unique().drop_null().to_pylist())
    count = min(len(distinct), LOOKED_AT)
    return [distinct[place * len(distinct) // count] for place in range(count)]


def _share(entity: str, texts: list[str], *, hinted: bool) -> float:
    matching = sum(1 for text in texts if _matches(entity, text, hinted=hinted))
    return matching / len(texts)


def _matches(entity: str, text: str, *, hinted: bool) -> bool:
    shape = NEED_NAME[entity].shape if hinted else None
    if shape is not None:
        return re.fullmatch(shape, text[:200]) is not None
    if entity == "URL" and "://" not in text and not text.startswith("www."):
        return False
    if entity == "PHONE_NUMBER" and not hinted and not _PUNCTUATED.search(text):
        return False
    return load_recognizers()[entity].is_whole(text, 0.0 if hinted else STRONG)


def _within(texts: list[str]) -> tuple[str, float] | None:
    recognizers = load_recognizers()
    for entity in IN_TEXT:
        share = sum(1 for text in texts if recognizers[entity].is_within(text)) / len(texts)
        if share >= SHARE_IN_TEXT:
            return entity, share
    return None
