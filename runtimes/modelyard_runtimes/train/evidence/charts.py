"""Small SVG charts, drawn by hand: no library of charts gives equal bytes in every version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
INK, ACCENT, FAINT = "#1b1f24", "#0b5cad", "#8a94a3"
SERIES = (ACCENT, "#a3431b", "#1d6b3a", "#6b2f8a", "#5a5200", "#8a1c4a")

Points = Sequence[tuple[float, float]]


def bars(title: str, entries: Sequence[tuple[str, float]]) -> str:
    """Return horizontal bars, the first entry on top.

    Args:
        title: What is shown, for the heading and for those who cannot see it.
        entries: Name and length of each bar.
    """
    row, left = 22, 220
    height = TOP + row * len(entries) + 10
    largest = max((abs(value) for _, value in entries), default=0.0) or 1.0
    parts = []
    for number, (name, value) in enumerate(entries):
        y = TOP + row * number
        width = max(0.0, value) / largest * (WIDTH - left - 90)
        label = name if len(name) <= 30 else name[:29] + "…"
        parts.append(_text(left - 8, y + 14, label, "end"))
        parts.append(
            f'<rect x="{left}" y="{y + 3}" width="{width:.2f}" height="15" fill="{ACCENT}"/>'
        )
        parts.append(_text(left + width + 6, y + 14, f"{value:.4g}", "start"))
    return _svg(title, height, parts)


def lines(
    title: str,
    axes: tuple[str, str],
    series: Sequence[tuple[str, Points]],
    faint: Sequence[Points] = (),
    ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """Return lines over one axis.

    Args:
        title: What is shown, for the heading and for those who cannot see it.
        axes: Names of both axes.
        series: Name and points of each line.
        faint: Lines in the background.
        ticks: Places on the first axis and their names; its ends when there are none.
    """
    every = [point for _, points in series for point in points]
    every += [point for points in faint for point in points]
    low_x, high_x = _span([x for x, _ in every])
    low_y, high_y = _span([y for _, y in every])

    def place(point: tuple[float, float]) -> str:
        x = LEFT + (point[0] - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.2f},{y:.2f}"

    parts = [
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>',
        *(_line(map(place, points), FAINT, 0.6) for points in faint),
    ]
    for number, (name, points) in enumerate(series):
        colour = SERIES[number % len(SERIES)]
        parts.append(_line(map(place, points), colour, 2.2))
        if len(series) > 1:
            parts.append(_text(WIDTH - RIGHT, TOP + 14 * number, name, "end", colour))
    for x, name in ticks or ((low_x, f"{low_x:.4g}"), (high_x, f"{high_x:.4g}")):
        at = float(place((x, low_y)).split(",")[0])
        parts.append(_text(at, HEIGHT - BOTTOM + 16, name, "middle"))
    parts += [
        _text(LEFT - 6, HEIGHT - BOTTOM, f"{low_y:.4g}", "end"),
        _text(LEFT - 6, TOP + 10, f"{high_y:.4g}", "end"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, axes[0], "middle"),
        _text(LEFT, TOP - 6, axes[1], "start"),
    ]
    return _svg(title, HEIGHT, parts)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _line(points: Iterable[str], colour: str, width: float) -> str:
    told = " ".join(points)
    return f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
        f"{_text(10, 18, title, 'start')}{''.join(parts)}</svg>"
    )
