"""Bytes to text: byte order marks, UTF-8, UTF-16 and the older encodings."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from modelyard_runtimes.tables.rows import Unreadable
from modelyard_runtimes.tables.text import REPLACEMENT, Decoded

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Western texts are told apart badly from short samples, so cp1252 stands for all of them; the
# others differ enough from it to be found.
_CANDIDATES = ["cp1252", "cp1251", "cp932", "gb18030", "big5", "cp949", "cp1253", "cp1255"]
_SAMPLE = 200_000
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def decode(data: bytes, encoding: str | None = None) -> Decoded:
    """Return the text of a file.

    Args:
        data: All bytes.
        encoding: The declared encoding; found when unset.

    Raises:
        Unreadable: the bytes are no text, or the declared encoding is unknown.
    """
    if encoding is not None:
        return _declared(data, encoding)
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _replacing(data, name)
    if b"\0" in data:
        return _without_mark(data)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return _older(data)


def _declared(data: bytes, encoding: str) -> Decoded:
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise Unreadable(
            "UnknownEncoding",
            f"spec.source.encoding: {encoding!r} is not known; use for example utf-8",
        ) from error
    decoded = _replacing(data, encoding)
    return decoded._replace(text=decoded.text.removeprefix("\ufeff"))


def _replacing(data: bytes, encoding: str) -> Decoded:
    try:
        return Decoded(data.decode(encoding), encoding)
    except UnicodeDecodeError:
        return Decoded(data.decode(encoding, errors="replace"), encoding, damaged=True)


def _without_mark(data: bytes) -> Decoded:
    """Find UTF-16 without a mark: mostly plain letters have every other byte zero."""
    for encoding, start in (("utf-16-le", 1), ("utf-16-be", 0)):
        half = data[start::2]
        if len(data) % 2 == 0 and half.count(0) > 0.4 * len(half):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            if "\0" not in text:
                return Decoded(text, encoding)
    raise Unreadable("UnknownBinary", "the bytes are neither text nor a known format; convert it")


def _older(data: bytes) -> Decoded:
    """Tell a damaged UTF-8 file from one in an older encoding.

    Where valid multi-byte sequences outnumber the invalid bytes, the file is UTF-8 with damage.
    """
    text = data.decode("utf-8", errors="replace")
    invalid = text.count(REPLACEMENT)
    valid = sum(1 for character in text if ord(character) > 127) - invalid
    if valid > invalid:
        return Decoded(text, "utf-8", damaged=True)
    best = from_bytes(_sample(data), cp_isolation=_CANDIDATES).best()
    for encoding in [best.encoding] if best else []:
        try:
            return Decoded(data.decode(encoding), encoding)
        except UnicodeDecodeError:
            continue
    try:
        return Decoded(data.decode("cp1252"), "cp1252")
    except UnicodeDecodeError:
        return Decoded(data.decode("latin-1"), "latin-1")


def _sample(data: bytes) -> bytes:
    """Return lines by which an encoding can be told: plain letters are alike in all."""
    if not data[:_SAMPLE].isascii():
        return data[:_SAMPLE]
    other = next(_NOT_ASCII.finditer(data)).start()
    start = data.rfind(b"\n", 0, other) + 1
    telling = data[start : start + _SAMPLE]
    # A single line shows too little of what the text is made of.
    return telling + data[: _SAMPLE - len(telling)]
