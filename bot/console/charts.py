"""Charts as HTML and SVG, made on the server: lines with intervals, stacked bars, and the table behind each.

The plot is an SVG that stretches with the page while its strokes and all words keep their size, so that it
can be read on a phone. Colours are the page's variables, for light, dark and print; a line is told by its
dashes too. Leaves to others: what is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from nicegui import ui

MOST_SERIES: Final = 5
"""More lines than that nobody tells apart."""
_TICKS: Final = 4
_STROKE: Final = '<path class="tl-line-{0}" d="M1 5H25"/>'
_SQUARE: Final = '<rect class="tl-fill-{0}" x="8" width="10" height="10"/>'
"""What a legend shows beside a name: by the number of the series."""


@dataclass(frozen=True)
class Line:
    """A line through `points` (x, y), with an interval (low, high) at each where there is one.

    A y of None leaves a gap.
    """

    name: str
    points: tuple[tuple[float, float | None], ...]
    intervals: tuple[tuple[float, float] | None, ...] = ()


@dataclass(frozen=True)
class Bars:
    """One part of each bar, the first part lowest."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, with its marks: places and what they are called."""

    low: float
    high: float
    marks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Where a value lies on it, from 0 to 1."""
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0


def round_axis(highest: float, *, whole: bool = False) -> Axis:
    """An axis from 0 to a round number at or above `highest`; `whole` where only whole numbers occur."""
    step = 10 ** math.floor(math.log10(highest / _TICKS)) if highest > 0 else 1.0
    step = next((step * factor for factor in (1, 2, 5, 10) if step * factor * _TICKS >= highest), step)
    step = max(1.0, round(step)) if whole else step
    number = max(1, math.ceil(highest / step - 1e-9))
    digits = max(0, -math.floor(math.log10(step)))
    return Axis(0.0, number * step, tuple((at * step, f"{at * step:.{digits}f}") for at in range(number + 1)))


def line_chart(name: str, lines: Sequence[Line], x: Axis, y: Axis) -> None:
    """Lines over one another; `name` says what is seen, for those who do not see it."""
    drawn = [_line(line, number, x, y) for number, line in enumerate(lines[:MOST_SERIES])]
    _figure(name, "".join(drawn), [line.name for line in lines[:MOST_SERIES]], x, y, key=_STROKE)


def bar_chart(name: str, parts: Sequence[Bars], x: Axis, y: Axis) -> None:
    """Bars of parts upon one another, as many as each part has values, evenly along `x`."""
    parts = parts[:MOST_SERIES]
    number = max((len(part.values) for part in parts), default=0)
    width = 100 / max(number, 1)
    drawn = []
    for place in range(number):
        below = 0.0
        for series, part in enumerate(parts):
            high = y.share(part.values[place]) * 100
            if high > 0:
                drawn.append(
                    f'<rect class="tl-fill-{series}" x="{place * width + width * 0.14:.2f}" '
                    f'y="{100 - below - high:.2f}" width="{width * 0.72:.2f}" height="{high:.2f}"/>'
                )
            below += high
    _figure(name, "".join(drawn), [part.name for part in parts], x, y, key=_SQUARE)


def table_behind(summary: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The figures of a chart as a table that opens under it."""
    with ui.element("details").classes("tl-behind"):
        ui.html(escape(summary), sanitize=False, tag="summary")
        with ui.element("div").classes("tl-scroll").props("tabindex=0"):
            head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
            body = "".join(
                f'<tr><th scope="row">{escape(row[0])}</th>'
                + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
                + "</tr>"
                for row in rows
            )
            ui.html(
                f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", sanitize=False, tag="table"
            ).classes("tl-figures")


def _figure(name: str, drawn: str, series: Sequence[str], x: Axis, y: Axis, *, key: str) -> None:
    grid = "".join(f'<path class="tl-grid" d="M0 {100 - y.share(at) * 100:.2f}H100"/>' for at, _ in y.marks)
    marks_y = "".join(
        f'<span style="bottom:{y.share(at) * 100:.2f}%">{escape(label)}</span>' for at, label in y.marks
    )
    marks_x = "".join(
        f'<span style="left:{x.share(at) * 100:.2f}%">{escape(label)}</span>' for at, label in x.marks
    )
    legend = "".join(
        f'<li><svg class="tl-key" viewBox="0 0 26 10" aria-hidden="true">'
        f"{key.format(number)}</svg>{escape(one)}</li>"
        for number, one in enumerate(series)
    )
    ui.html(
        f'<div class="tl-plot" role="img" aria-label="{escape(name)}">'
        f'<div class="tl-marks-y" aria-hidden="true">{marks_y}</div>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{grid}{drawn}</svg>'
        f'<div class="tl-marks-x" aria-hidden="true">{marks_x}</div></div>'
        f'<ul class="tl-legend">{legend}</ul>',
        sanitize=False,
        tag="figure",
    ).classes("tl-chart")


def _line(line: Line, number: int, x: Axis, y: Axis) -> str:
    """One line with its points and intervals. Dots are strokes without length: a stretched circle is none."""

    def place(at: float, value: float) -> str:
        return f"{x.share(at) * 100:.2f} {100 - y.share(value) * 100:.2f}"

    path, dots, whiskers, pen_down = [], [], [], False
    intervals = line.intervals or (None,) * len(line.points)
    for (at, value), interval in zip(line.points, intervals, strict=True):
        if value is None:
            pen_down = False
            continue
        path.append(f"{'L' if pen_down else 'M'}{place(at, value)}")
        dots.append(f"M{place(at, value)}h0")
        if interval is not None:
            whiskers.append(f"M{place(at, interval[0])}L{place(at, interval[1])}")
        pen_down = True
    few = len(dots) <= 60
    return (
        f'<path class="tl-whisker tl-stroke-{number}" d="{"".join(whiskers)}"/>'
        f'<path class="tl-line-{number}" d="{"".join(path)}"/>'
        + (f'<path class="tl-dots tl-stroke-{number}" d="{"".join(dots)}"/>' if few else "")
    )
