"""Numbers as people write them, and tables as they save them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from modelyard_runtimes.dataset.convert import to_numbers
from modelyard_runtimes.tables.delimited import find_delimiter, read_delimited
from modelyard_runtimes.tables.text import Decoded

NUMBERS: dict[str, tuple[list[str], list[Any]]] = {
    "a lone 0 has no thousands behind it": (["0,125", "1,250", "0,500"], [0.125, 1.25, 0.5]),
    "nor in the other notation": (["0.125", "1.250,5"], [0.125, None]),
    "thousands": (["1,250", "12,500", "3"], [1250, 12500, 3]),
    "thousands by points": (["1.234,5", "0,5"], [1234.5, 0.5]),
    "a sign before or behind the currency": (["$-5", "-$5", "5 €"], [-5, -5, 5]),
    "two signs are no number": (["--5", "+-5", "1"], [None, None, 1]),
    "as large as they come": (
        ["9223372036854775807", "-9223372036854775808"],
        [2**63 - 1, -(2**63)],
    ),
    "larger": (["9223372036854775808", "1"], [2.0**63, 1.0]),
}


@pytest.mark.parametrize(("texts", "values"), NUMBERS.values(), ids=list(NUMBERS))
def test_numbers_are_what_they_mean(texts: list[str], values: list[Any]) -> None:
    assert to_numbers(pa.array(texts)).values.to_pylist() == values


@pytest.mark.parametrize("rows", [1, 19, 20, 60, 200])
def test_a_decimal_comma_is_no_delimiter(rows: int) -> None:
    lines = [f"{row},{row % 90 + 10};{row % 7},5" for row in range(rows)]
    text = "\n".join(["preis;menge", *lines, ""])
    found = find_delimiter(text)
    assert found is not None
    file = read_delimited("q.csv", Decoded(text, "utf-8"), found[0])

    assert (file.table.column_names, file.table.num_rows) == (["preis", "menge"], rows)
    assert file.rejected == []


TITLED = {
    "a comma in a title": ("Sales, north\nname;amount;c\n", "x;1,5;3\n", ";"),
    "a title with a time": ("Export of 2024-01-01, 10:00\nid;price;x\n", "1;2,5;a\n", ";"),
    "no header": ("", "1,5;2,5\n", ";"),
    "tabs": ("a\tb\n", "1,5\t2,5\n", "\t"),
    "a delimiter at line ends": ("id,kind|sub,x\n", "1,a|b,2,\n", ","),
    "parts of fields": ("a,b|c,d\n", "1,2|3,4\n", ","),
    "numbers alone": ("a,b\n", "1,2\n", ","),
    "texts with semicolons": ("a,b\n", "1,x;y\n", ","),
}


@pytest.mark.parametrize(("head", "row", "delimiter"), TITLED.values(), ids=list(TITLED))
def test_the_delimiter_is_found(head: str, row: str, delimiter: str) -> None:
    found = find_delimiter(head + row * 30)

    assert found is not None
    assert found[0] == delimiter


HEADERS: dict[str, tuple[str, list[str]]] = {
    "an index, and positions": (",0,1,2", ["column_1", "0", "1", "2"]),
    "a name, and positions": ("label,0,1,2", ["label", "0", "1", "2"]),
    "positions from 1": ("label,1,2,3", ["label", "1", "2", "3"]),
    "names, and a single number": ("name,city,land,1", ["name", "city", "land", "1"]),
    "names, and two": ("image,label,part,0,1", ["image", "label", "part", "0", "1"]),
}


@pytest.mark.parametrize(("header", "names"), HEADERS.values(), ids=list(HEADERS))
def test_positions_behind_the_name_of_an_index_are_a_header(header: str, names: list[str]) -> None:
    row = ",".join(["0.5"] * len(names))
    file = read_delimited("a.csv", Decoded(f"{header}\n{row}\n", "utf-8"), ",")

    assert file.table.column_names == names
    assert file.table.num_rows == 1


@pytest.mark.parametrize("first", ["a,0,1", "a,7,8,9", "0.5,1,2", ",4"])
def test_other_numbers_behind_a_name_are_data(first: str) -> None:
    rows = "\n".join([first, first, ""])

    assert read_delimited("a.csv", Decoded(rows, "utf-8"), ",").table.num_rows == 2
