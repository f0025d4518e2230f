"""Which colours a page shows upon which others, and how far they stand out by the formula of WCAG 2.

It knows what a report is made of and refuses the rest: rules of CSS that name elements, and charts
whose colours are attributes and whose ground is the first of their rectangles. What overlaps in a
chart is not compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser

UNSEEN = {"style", "title"}
UNKNOWN = {"class", "style", "opacity", "fill-opacity", "stroke-opacity", "transform"}
Attributes = list[tuple[str, str | None]]


@dataclass(frozen=True)
class Place:
    """An element, the colour of its text, and what lies behind it."""

    tag: str
    colour: str
    ground: str


class Colours(HTMLParser):
    """Pairs of a colour and the one behind it, of what a page shows.

    Attributes:
        text: Those of text.
        drawn: Those of the lines and areas of charts.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: set[tuple[str, str]] = set()
        self.drawn: set[tuple[str, str]] = set()
        (style,) = re.findall(r"<style>(.*?)</style>", page)
        self._rules = rules(style)
        self._open = [Place("", "#000000", "#ffffff")]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        assert UNKNOWN.isdisjoint(name for name, _ in attrs), f"<{tag}> has {attrs}"
        if tag == "meta":
            return
        around = self._open[-1]
        told = {**self._rules.get(tag, {}), **self._own(tag, attrs)}
        colour = told.get("color", around.colour)
        self._open.append(Place(tag, colour, told.get("background", around.ground)))

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        """Note what is drawn: the first area of a chart is its ground."""
        assert UNKNOWN.isdisjoint(name for name, _ in attrs), f"<{tag}> has {attrs}"
        around = self._open[-1]
        for name, value in attrs:
            if name not in {"fill", "stroke"} or value in {None, "none"}:
                continue
            if around.tag == "svg" and around.ground == "":
                self._open[-1] = around = replace(around, ground=str(value))
            else:
                self.drawn.add((str(value), around.ground))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        place = self._open[-1]
        if data.strip() and place.tag not in UNSEEN:
            self.text.add((place.colour, place.ground))

    def _own(self, tag: str, attrs: Attributes) -> dict[str, str]:
        """Return what the attributes of an element say of its colours."""
        if tag == "svg":
            return {"color": "#000000", "background": ""}
        fill = dict(attrs).get("fill")
        return {"color": fill} if tag == "text" and fill else {}


def rules(style: str) -> dict[str, dict[str, str]]:
    """Return what a style sheet says by element."""
    found: dict[str, dict[str, str]] = {}
    for selectors, block in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        declared = dict(one.split(":", 1) for one in block.split(";") if one)
        assert "background-color" not in declared, "it is told as background"
        for selector in selectors.split(","):
            assert re.fullmatch("[a-z0-9]+", selector), f"{selector} is more than an element"
            found.setdefault(selector, {}).update(declared)
    return found


def contrast(first: str, second: str) -> float:
    """Return the ratio of two colours, from 1 to 21."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def luminance(code: str) -> float:
    """Return how bright a colour is: `#fff` or `#ffffff`, which is 1."""
    digits = code.removeprefix("#")
    assert re.fullmatch("[0-9a-f]{3}|[0-9a-f]{6}", digits), f"{code} is no colour in hexadecimals"
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
