"""presidio's recognizers by entity, asked directly and offline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

STRONG = 0.3
"""Least score of a match that counts without a hint in the column's name."""
LONGEST = 2000
"""Characters of a value that are looked at; recognizers are not linear."""


class Recognizer(NamedTuple):
    """Recognizes one kind of personal data.

    Attributes:
        entity: presidio's name of the kind.
        is_whole: Whether a text is a value of this kind, at a least score.
        is_within: Whether a text holds such a value.
    """

    entity: str
    is_whole: Callable[[str, float], bool]
    is_within: Callable[[str], bool]


@cache
def load_recognizers() -> dict[str, Recognizer]:
    """Return the recognizers by entity."""
    logging.getLogger("presidio-analyzer").setLevel(logging.WARNING)
    # Loading presidio takes two seconds, which runs without detection need not pay.
    from presidio_analyzer import predefined_recognizers as predefined  # noqa: PLC0415
    from tldextract import TLDExtract  # noqa: PLC0415

    # Without addresses the extractor uses the list of suffixes that it comes with.
    domains = TLDExtract(cache_dir=None, suffix_list_urls=())

    class OfflineEmailRecognizer(predefined.EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(domains(pattern_text).fqdn)

    return {
        found.entity: found
        for found in map(
            _recognizer,
            [
                OfflineEmailRecognizer(),
                predefined.IbanRecognizer(),
                predefined.CreditCardRecognizer(),
                predefined.CryptoRecognizer(),
                predefined.MacAddressRecognizer(),
                predefined.IpRecognizer(),
                predefined.UrlRecognizer(),
                predefined.UsItinRecognizer(),
                predefined.UsSsnRecognizer(),
                predefined.UsPassportRecognizer(),
                predefined.UsBankRecognizer(),
                predefined.UsLicenseRecognizer(),
                predefined.PhoneRecognizer(supported_regions=("US", "GB", "DE", "FR", "IN", "BR")),
            ],
        )
    }


def _recognizer(engine: Any) -> Recognizer:
    (entity,) = engine.supported_entities

    def found(text: str) -> list[Any]:
        results: list[Any] = engine.analyze(text[:LONGEST], [entity], None)
        return results

    def is_whole(text: str, score: float) -> bool:
        return any(
            match.end - match.start >= len(text) - 1 and match.score >= score
            for match in found(text)
        )

    def is_within(text: str) -> bool:
        return any(match.score >= STRONG for match in found(text))

    return Recognizer(entity, is_whole, is_within)
