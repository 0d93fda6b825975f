"""A JSON array, read row by row: only the row at hand is in memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from feedback.imports.rows import NOT_JSON
from training.data.pair_files.kinds import LONGEST_ROW, too_long
from training.errors import PairsError

if TYPE_CHECKING:
    from typing import BinaryIO

ONE_ARRAY: Final = "A .json file holds one array; one object a line belongs into a .jsonl file."
_CHUNK: Final = 2**20
_SPACE: Final = " \t\r\n"


class JsonText:
    """A text of JSON on its way through memory; `line` is the line at which reading stands."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.line = 1
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0

    def next_character(self) -> str:
        """What comes next but for white space, left where it is; "" at the end. Raises PairsError."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self.skip()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Go past one character."""
        self.line += self._text[self._at] == "\n"
        self._at += 1

    def value(self) -> Any:
        """The value that begins here. Raises PairsError when it is no JSON, or too long."""
        decoder = json.JSONDecoder()
        while True:
            fault: Exception | None = None
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except NOT_JSON as error:
                fault, end = error, len(self._text)
            # a number that ends where the text at hand does may go on
            if (fault is None and end < len(self._text)) or not self._more():
                if fault is not None:
                    raise self._not_json(fault) from fault
                self.line += self._text.count("\n", self._at, end)
                self._at = end
                return value
            if len(self._text) - self._at > LONGEST_ROW:
                raise too_long(self.path, f"line {self.line}")

    def expected(self, what: str) -> PairsError:
        """The error when something else stands here."""
        return PairsError(f"{self.path}, line {self.line}: this is not JSON ({what} is expected).", ONE_ARRAY)

    def rest(self) -> str:
        """All that comes. Raises PairsError when it is too long."""
        while self._more():
            if len(self._text) - self._at > LONGEST_ROW:
                break
        return self._text[self._at :]

    def _more(self) -> bool:
        raw = self._file.read(_CHUNK)
        try:
            new = self._decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            line = self.line + self._text.count("\n", self._at) + error.object.count(b"\n", 0, error.start)
            raise not_utf8(self.path, line, error) from error
        if not raw:
            return False
        self._text, self._at = self._text[self._at :] + new, 0
        return True

    def _not_json(self, error: Exception) -> PairsError:
        place, why = str(self.path), str(error)
        if isinstance(error, json.JSONDecodeError):
            line = self.line + error.doc.count("\n", self._at, error.pos)
            place, why = f"{self.path}, line {line}", error.msg
        return PairsError(f"{place}: this is not JSON ({why}).", ONE_ARRAY)


def rows(text: JsonText) -> Iterator[Any]:
    """The values of the array that `text` stands before. Raises PairsError."""
    text.skip()
    is_first = True
    while text.next_character() != "]":
        if not is_first:
            if text.next_character() != ",":
                raise text.expected("a comma")
            text.skip()
            text.next_character()
        is_first = False
        yield text.value()
    text.skip()
    if text.next_character():
        raise text.expected("the end")


def not_utf8(path: Path, line: int, error: UnicodeDecodeError) -> PairsError:
    """The error about a byte that no text has."""
    return PairsError(
        f"{path}, line {line}: the byte 0x{error.object[error.start]:02x} is not UTF-8.",
        "Save the file as UTF-8.",
    )
