"""A text that comes in parts is cut where its lines end, however the parts fall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelyard_runtimes.tables.text import Pieces

PARTS = st.lists(st.text("ab,\r\n", max_size=6), max_size=8)


@given(parts=PARTS)
def test_the_pieces_are_the_text_in_whole_lines(parts: list[str]) -> None:
    pieces = Pieces(quoted=False)
    found = [piece for part in parts if (piece := pieces.take(part)) is not None]
    last = pieces.last()

    text = "".join(parts).replace("\r\n", "\n").replace("\r", "\n")
    rest = text[sum(len(piece.text) for piece in found) :]
    assert "".join(piece.text for piece in found) + rest == text
    assert all(piece.text.endswith("\n") for piece in found)
    assert rest.strip() == "" if last is None else last.text == rest
    assert [piece.before for piece in found] == [
        sum(piece.text.count("\n") for piece in found[:number]) for number in range(len(found))
    ]


QUOTED = {
    "a field over two lines": ('x\na,"b\nc', 2),
    "behind it": ('a,"b\nc"\nd', 8),
    "quotes within one": ('a,"b ""q""\n",1\nx', 15),
    "inches": ('a,5" pipe\nb', 10),
    "inches before a field over two lines": ('5" pipe,1\na,"b\nc",2\nd', 20),
    "inches before an open one": ('5" x\n5" y\n"b\nc', 10),
    "an open one alone": ('"b\nc\n', 5),
}


@pytest.mark.parametrize(("text", "end"), QUOTED.values(), ids=list(QUOTED))
def test_a_piece_ends_where_no_quoted_field_reaches_over(text: str, end: int) -> None:
    piece = Pieces(quoted=True).take(text)

    assert (0 if piece is None else len(piece.text)) == end


@pytest.mark.parametrize("quoted", [False, True], ids=["plain", "quoted"])
def test_lines_are_given_though_a_part_ends_on_a_carriage_return(*, quoted: bool) -> None:
    pieces = Pieces(quoted=quoted)

    assert pieces.take("a\rb\rc\r") == ("a\nb\n", 0)
    assert pieces.take("\nd") == ("c\n", 2)
    assert pieces.last() == ("d", 3)
