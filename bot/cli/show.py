"""Writing to the terminal: tables, fields, JSON, progress. Results go to stdout, everything else to stderr.

What people and models wrote is shown as `visible` lets it, so that no answer can move the cursor, recolour
the screen, retitle the window or read otherwise than it is. Elsewhere than on a terminal there is no colour,
no bar and no line shortened to fit.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.cli.visible import visible, visible_in_json
from feedback.errors import UsageError
from feedback.words import Language
from training.progress import Pace

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from training.progress import Progress

_UNLIMITED: Final = 10_000
_PLAIN_LINES: Final = 10
"""Lines that a whole step writes where there is no terminal to draw a bar on."""


def language() -> Language:
    """The language of this terminal's reader, by its locale."""
    chosen = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "pl" if chosen.startswith("pl") else "en"


def say(text: object = "", *, style: str = "") -> None:
    """A line of the result."""
    _console(sys.stdout).print(Text(visible(text), style=style), soft_wrap=True)


def note(text: object) -> None:
    """A line beside the result."""
    _console(sys.stderr).print(Text(visible(text), style="dim"), soft_wrap=True)


def write(piece: str) -> None:
    """The next piece of a text that is still being made; on a terminal lines end between words."""
    _writer.write(visible(piece))


class _Writer:
    """Writes text to stdout as it comes, the last word of a line where the whole of it has room."""

    def __init__(self) -> None:
        self._column = 0
        self._word = ""

    def write(self, text: str) -> None:
        """Write a piece; its last word may wait for its end."""
        if not sys.stdout.isatty():
            sys.stdout.write(text)
        else:
            width = _console(sys.stdout).width
            for part in _WORDS.findall(text):
                if not part.isspace():
                    self._word += part
                    continue
                self._end_word(width)
                for space in part:
                    if space == "\n" or self._column < width:
                        sys.stdout.write(space)
                        self._column = 0 if space == "\n" else self._column + 1
            if cell_len(self._word) >= width:
                self._end_word(width)
        sys.stdout.flush()

    def _end_word(self, width: int) -> None:
        room = width - self._column
        if self._column and cell_len(self._word) > room:
            sys.stdout.write("\n")
            self._column = 0
        sys.stdout.write(self._word)
        self._column = (self._column + cell_len(self._word)) % width if self._word else self._column
        self._word = ""


_WORDS: Final = re.compile(r"\s+|\S+")
_writer: Final = _Writer()


def as_json(value: Any) -> None:
    """`value`, dataclasses and times included, as JSON on stdout."""
    sys.stdout.write(visible_in_json(json.dumps(_plain_json(value), ensure_ascii=False, indent=2)) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A table; numbers to the right, None as an empty cell."""
    _print(drawn_table(columns, rows, title=title))


def drawn_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """What `table` writes, to be drawn with others on one page."""
    cells = [list(row) for row in rows]
    drawn = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float | None) for row in cells)
        drawn.add_column(column, justify="right" if numbers and cells else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(_cell(value) for value in row))
    return drawn


def fields(values: Mapping[str, object], *, title: str = "") -> None:
    """Names with their values, one below the other; what is empty is left out."""
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in values.items():
        if value not in (None, "", (), [], {}):
            drawn.add_row(name, _cell(value))
    if title:
        say(title, style="bold")
    _print(drawn)


def line(text: object, *, style: str = "") -> Text:
    """What `say` writes, to be drawn with others on one page."""
    return Text(visible(text), style=style)


def page(parts: Sequence[RenderableType]) -> None:
    """Write the parts of a page one below the other."""
    for part in parts:
        _print(part)


@contextmanager
def live_page() -> Iterator[Callable[[Sequence[RenderableType]], None]]:
    """A page over the whole terminal, drawn anew by each call. Raises UsageError without a terminal."""
    from rich.live import Live

    console = _console(sys.stdout)
    if not console.is_terminal:
        raise UsageError("A live page needs a terminal.", "Leave --watch out, or ask for --json.")
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda parts: live.update(Group(*parts), refresh=True)


@contextmanager
def waiting(for_what: str) -> Iterator[None]:
    """A spinner while something takes its time; a plain line where there is no terminal."""
    console = _console(sys.stderr)
    if console.is_terminal:
        with console.status(for_what):
            yield
    else:
        note(f"{for_what} …")
        yield


class ProgressView:
    """How far long work is, on stderr: a bar with rate and time left on a terminal, a few lines elsewhere.

    Safe to call from several threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pace = Pace(clock)
        self._console = _console(sys.stderr)
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}
        self._measured = ("", 0)
        self._since = self._latest = clock()
        self._said = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = _bar(self._console)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(
        self, step: str, done: int, total: int, *, unit: str = "", rate: str = "", figures: str = ""
    ) -> None:
        """`done` of `total` units of a step; 0 is not known yet. `rate` is worked out if not told."""
        moment = self._clock()
        # a model may be loaded before a step knows how much there is to do: that says nothing about its pace
        if (step, total) != self._measured:
            self._measured, self._since, self._said = (step, total), self._latest, -1
        self._latest = moment
        seconds = moment - self._since
        if not rate and unit and done and seconds:
            rate = f"{done / seconds:,.0f} {unit}/s"
        left_s = self._pace.seconds_left((step, total), done, total)
        if left_s is None and unit and done:
            left_s = seconds / done * (total - done)
        left = f"{duration(left_s)} left" if left_s and 0 < done < total else ""
        if self._bar is not None:
            if step not in self._tasks:
                self._tasks[step] = self._bar.add_task(step, total=None, rate="", left="", figures="")
            self._bar.update(
                self._tasks[step], completed=done, total=total or None, rate=rate, left=left, figures=figures
            )
            return
        reached = done * _PLAIN_LINES // total if total else 0
        if reached > self._said:
            self._said = reached
            counted = f"{step} {done}/{total}" if total else step
            note(" · ".join(part for part in (counted, rate, left, figures) if part))

    def training(self, progress: Progress) -> None:
        """The progress of a run."""
        rate = f"{progress.per_second:,.0f} tokens/s" if progress.per_second else ""
        figures = ", ".join(
            f"{name.replace('_', ' ')} {value:.3f}" for name, value in progress.figures.items()
        )
        self.update(progress.step, progress.done, progress.total, rate=rate, figures=figures)


def duration(seconds: float) -> str:
    """Seconds for people: 0.4 s, 12 s, 3 min 05 s, 1 h 02 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def moment(when: datetime | None) -> str:
    """A time for people, in this machine's zone, which it names; "" for None."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M %Z") if when else ""


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else _UNLIMITED
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def _print(drawn: RenderableType) -> None:
    console = _console(sys.stdout)
    if console.is_terminal:
        console.print(drawn)
        return
    # a file has no edge to pad to
    with console.capture() as captured:
        console.print(drawn)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    sys.stdout.write("".join(f"{line}\n" for line in lines if line))


def _bar(console: Console) -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[figures]}", style="dim", markup=False),
        console=console,
    )


def _cell(value: object) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, datetime):
        return Text(moment(value))
    if isinstance(value, float):
        return Text(f"{value:.3f}")
    if isinstance(value, list | tuple):
        return Text(visible(", ".join(map(str, value))))
    return Text(visible(value))


def _plain_json(value: Any) -> Any:
    """`value` as JSON knows it; what is no finite number becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
