"""CSV as spreadsheets and data frames write it: the delimiter, the header, missing values, formulas.

Leaves to others: reading rows (`reading`), and which columns there are (`columns`).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Final

from feedback.imports.rows import DELIMITERS
from feedback.imports.training_rows import MISSING
from training.data.pair_files.columns import canonical
from training.data.pairs import COLUMNS

_SEPARATOR_LINE: Final = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_FORMULA: Final = re.compile(
    "[=+\\-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}]"
)
_LIKE_A_FORMULA: Final = re.compile(f"'*{_FORMULA.pattern}")
_NEUTRALISED: Final = re.compile(f"'+{_FORMULA.pattern}")


@dataclass(frozen=True)
class Header:
    """The first line of a file: how fields are divided, and which column each one is."""

    delimiter: str
    columns: tuple[str, ...]

    @property
    def space_after_delimiter(self) -> bool:
        """Whether fields begin with a space that is not theirs."""
        return any(name.startswith(" ") for name in self.columns[1:])

    @property
    def names(self) -> tuple[str, ...]:
        """The columns as pairs call them; of others, their own names."""
        return tuple(map(canonical, self.columns))

    @property
    def is_ours(self) -> bool:
        """Whether `write_pairs` wrote it, be it that a spreadsheet saved it again."""
        return set(COLUMNS) <= set(self.names)


def delimiter_said(line: str) -> str | None:
    """The delimiter that a line `sep=;` says, as Excel writes it above the header; None for another line."""
    said = _SEPARATOR_LINE.fullmatch(line)
    return said[1] if said else None


def header_of(line: str, delimiter: str | None = None) -> Header:
    """The header that a line is, with the delimiter under which most of its columns are known."""
    choices = [Header(one, _fields(line, one)) for one in ([delimiter] if delimiter else DELIMITERS)]
    return max(choices, key=lambda header: (len(set(COLUMNS) & set(header.names)), len(header.columns)))


def is_missing(text: str) -> bool:
    """Whether a field says in a data frame's words that it has no value."""
    return text.strip().casefold() in MISSING


def neutralised(text: str) -> str:
    """The text as no spreadsheet takes it for a formula: an apostrophe before what begins like one."""
    return f"'{text}" if _LIKE_A_FORMULA.match(text) else text


def restored(text: str) -> str:
    """What `neutralised` was given."""
    return text[1:] if _NEUTRALISED.match(text) else text


def _fields(line: str, delimiter: str) -> tuple[str, ...]:
    return tuple(next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), []))
