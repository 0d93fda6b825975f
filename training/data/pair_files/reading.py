"""Files of pairs, read row by row: JSON lines, a JSON array, CSV, TSV and Parquet, in UTF-8.

The keys are the fine-tuning world's `instruction`, `input`, `output`, with `task_type`, `language` and
`lineage` beside them. Earlier turns and a system text, as Alpaca files have them, go into the lineage, where
datasets have them too; other keys are named, not read. Reasoning is taken apart from the answer, and a row
that does not say its language gets the one it is written in. Every fault names the file, the line or row, and
what is wrong there.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from feedback.imports.records import Broken
from feedback.imports.rows import NOT_JSON, rows
from feedback.imports.sources import sources
from feedback.words import LANGUAGES, TASK_TYPES
from training.data.language import language_of_pair
from training.data.pair_files import json_array, other_formats, spreadsheet
from training.data.pair_files.columns import HISTORY, KNOWN, SYSTEM, canonical
from training.data.pair_files.kinds import LONGEST_ROW, ROWS_AT_ONCE, too_long, unknown_kind
from training.data.pairs import COLUMNS, TrainingPair
from training.errors import PairsError
from training.files import faults_explained
from training.model.reasoning import answer_of

if TYPE_CHECKING:
    from typing import BinaryIO

_SHAPE: Final = 'Each row is {"instruction": "…", "input": "…", "output": "…"}; `input` may be left out.'
_TABLES: Final = (".csv", ".tsv")
_BEGINNING: Final = 2**16
"""Characters of a JSON document by which it is recognised."""

Rows = Iterator[tuple[str, Any]]
"""The place of each row, and what stands there."""


class PairFile:
    """A file of pairs to iterate over, in its order; `left_out` are the columns that pairs have no room for.

    Iterating raises PairsError at the first row that is no pair; with `skip_broken` such rows are left out,
    and `broken` says where they are and why.
    """

    def __init__(self, path: Path, *, skip_broken: bool = False) -> None:
        self.path = path
        self.left_out: set[str] = set()
        self.broken: list[str] = []
        self._skip_broken = skip_broken

    def __iter__(self) -> Iterator[TrainingPair]:
        if self._skip_broken:
            yield from self._good_ones()
            return
        read = _READERS.get(self.path.suffix.lower())
        if read is None:
            raise unknown_kind(self.path)
        with faults_explained("Reading", self.path, PairsError):
            for place, row in read(self.path):
                yield self._pair(row, f"{self.path}, {place}")

    def _good_ones(self) -> Iterator[TrainingPair]:
        self.broken = []
        for row in rows(sources(self.path)[0]):
            if isinstance(row, Broken):
                self.broken.append(f"{row.place}: {row.reason}")
                continue
            place, item = row
            if self.path.suffix.lower() in _TABLES and spreadsheet.Header("", tuple(item)).is_ours:
                item = {name: spreadsheet.restored(text) for name, text in item.items()}
            try:
                yield self._pair(item, place)
            except PairsError as error:
                self.broken.append(error.problem.rstrip("."))

    def _pair(self, row: Any, place: str) -> TrainingPair:
        if not isinstance(row, dict):
            raise PairsError(f"{place}: expected an object, found {type(row).__name__}.", _SHAPE)
        said = {canonical(name): value for name, value in row.items() if not _is_nothing(value)}
        self.left_out |= {name for name, value in said.items() if name not in KNOWN and value != ""}
        values = {name: said[name] for name in COLUMNS if name in said}
        for name, value in values.items():
            if name != "lineage" and not isinstance(value, str):
                raise PairsError(f"{place}: {name!r} is {type(value).__name__}, not text.", _SHAPE)
        for name in ("instruction", "output"):
            if name not in values:
                raise _missing(name, row, place)
            if not values[name].strip():
                raise PairsError(f"{place}: {name!r} is empty.", "Fill it in, or delete the row.")
        for name, allowed in (("task_type", TASK_TYPES), ("language", LANGUAGES)):
            if values.get(name) == "":
                del values[name]
            if name in values and values[name] not in allowed:
                raise PairsError(
                    f"{place}: {name} {values[name]!r} is unknown.", f"Use one of {', '.join(allowed)}."
                )
        values["output"] = answer_of(values["output"])
        if not values["output"].strip():
            raise PairsError(f"{place}: 'output' holds only reasoning.", "Add the answer, or delete the row.")
        values["lineage"] = self._lineage(values.get("lineage"), said, place)
        if "language" not in values:
            values["language"] = language_of_pair(values["instruction"], values["output"])
        return TrainingPair(**values)

    def _lineage(self, lineage: Any, said: dict[str, Any], place: str) -> dict[str, Any] | None:
        """The lineage that a row brings, with the earlier turns and the system text beside the pair."""
        if isinstance(lineage, str):
            try:
                lineage = json.loads(lineage) if lineage else None
            except NOT_JSON as error:
                raise PairsError(f"{place}: 'lineage' is not JSON ({error}).", _SHAPE) from error
        if not isinstance(lineage, dict | None):
            raise PairsError(f"{place}: 'lineage' is not an object.", _SHAPE)
        more: dict[str, Any] = {}
        if (earlier := said.get(HISTORY)) not in (None, "", []):
            turns = _earlier_turns(earlier)
            if turns is None:
                self.left_out.add(HISTORY)
            else:
                more["history"] = json.dumps(turns, ensure_ascii=False)
        if (system := said.get(SYSTEM)) not in (None, ""):
            if isinstance(system, str):
                more["persona"] = system
            else:
                self.left_out.add(SYSTEM)
        return {**more, **(lineage or {})} if more else lineage


def read_pairs(path: Path) -> Iterator[TrainingPair]:
    """The pairs of a file, in its order. Raises PairsError at the first row that is no pair."""
    return iter(PairFile(path))


def _earlier_turns(value: Any) -> list[dict[str, str]] | None:
    """Alpaca's `[[question, answer], …]` as a lineage has it; None when it is something else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except NOT_JSON:
            return None
    if not isinstance(value, list):
        return None
    turns = []
    for turn in value:
        match turn:
            case [str(question), str(answer)]:
                turns.append({"question": question, "answer": answer_of(answer)})
            case _:
                return None
    return turns


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _missing(name: str, row: dict[str, Any], place: str) -> PairsError:
    looks_like = other_formats.of_row(row)
    if looks_like is not None:
        return _recognised(f"{place}: this looks", looks_like)
    found = ", ".join(repr(key) for key in row) or "none"
    return PairsError(f"{place}: the key {name!r} is missing. Found: {found}.", _SHAPE)


def _recognised(looks: str, like: str) -> PairsError:
    return PairsError(f"{looks} like {like}, and not like pairs.", _SHAPE)


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers; a line that is too long is refused before it is read."""
    number = 0
    while raw := file.readline(LONGEST_ROW + 1):
        number += 1
        if len(raw) > LONGEST_ROW:
            raise too_long(path, f"line {number}")
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise json_array.not_utf8(path, number, error) from error


def _json_lines(path: Path) -> Rows:
    with path.open("rb") as file:
        if json_array.JsonText(path, file).next_character() == "[":
            yield from _json_array(path)
            return
        file.seek(0)
        for line, text in _lines(path, file):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except NOT_JSON as error:
                raise PairsError(f"{path}, line {line}: this is not JSON ({error}).", _SHAPE) from error
            yield f"line {line}", row


def _json_array(path: Path) -> Rows:
    with path.open("rb") as file:
        text = json_array.JsonText(path, file)
        if text.next_character() != "[":
            raise _no_array(path, text)
        for number, row in enumerate(json_array.rows(text), start=1):
            yield f"row {number}", row


def _no_array(path: Path, text: json_array.JsonText) -> PairsError:
    looks_like = other_formats.of_document(text.rest()[:_BEGINNING])
    if looks_like is not None:
        return _recognised(f"{path} looks", looks_like)
    value = text.value()
    if text.next_character():
        return text.expected("the end")
    return PairsError(
        f"{path}: a .json file holds an array of objects, this one a {type(value).__name__}.",
        "Put it in brackets, or name the file .jsonl when it has one object a line.",
    )


def _csv(path: Path, delimiter: str | None = None) -> Rows:
    csv.field_size_limit(LONGEST_ROW)  # the module's own limit is below what may be written
    with path.open("rb") as file:
        lines = ((number, text) for number, text in _lines(path, file) if number > 1 or text.strip())
        first = next(lines, None)
        if first is not None and (said := spreadsheet.delimiter_said(first[1])):
            delimiter, first = said, next(lines, None)
        if first is None:
            return
        header = spreadsheet.header_of(first[1], delimiter)
        _require_columns(header, path, f"line {first[0]}")
        yield from _csv_rows(path, header, first, (text for _, text in lines))


def _require_columns(header: spreadsheet.Header, path: Path, place: str) -> None:
    lacking = [name for name in ("instruction", "output") if name not in header.names]
    if not lacking:
        return
    looks_like = other_formats.of_row(dict.fromkeys(header.names))
    if looks_like is not None:
        raise _recognised(f"{path}, {place}: this looks", looks_like)
    raise PairsError(
        f"{path}, {place}: the header has no {' and no '.join(map(repr, lacking))}. "
        f"The headers found are {', '.join(map(repr, header.names))}.",
        "Name the columns instruction, input (which may be left out) and output.",
    )


def _csv_rows(path: Path, header: spreadsheet.Header, first: tuple[int, str], lines: Iterable[str]) -> Rows:
    above = first[0] - 1
    good = 0
    # strict, or a quote that is never closed swallows the rest of the file without a word
    reader = csv.reader(
        chain([first[1]], lines),
        delimiter=header.delimiter,
        skipinitialspace=header.space_after_delimiter,
        strict=True,
    )
    try:
        next(reader)
        good = reader.line_num
        for fields in reader:
            good = reader.line_num
            if not fields:
                continue
            place = f"line {above + good}"
            if any(fields[len(header.names) :]):
                raise PairsError(
                    f"{path}, {place}: the row has more fields than the header.",
                    "Put fields that contain commas or line breaks in double quotes.",
                )
            row: dict[str, Any] = dict(zip(header.names, fields, strict=False))
            if header.is_ours:
                row = {name: spreadsheet.restored(text) for name, text in row.items()}
            else:
                row |= {
                    name: None
                    for name, text in row.items()
                    if name not in ("instruction", "output") and spreadsheet.is_missing(text)
                }
            yield place, row
    except csv.Error as error:
        place = f"{path}, line {above + good + 1}"
        raise PairsError(
            f"{place}: this is not CSV ({error}).",
            "Put fields with commas, quotes or line breaks in double quotes, and double those inside.",
        ) from error


def _parquet(path: Path) -> Rows:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system's; pyarrow's own, for pages that are corrupt, has no number
        raise PairsError(
            f"{path}, after row {number}: this is not a Parquet file that can be read ({error}).",
            "Write it again with pandas, pyarrow or `thumbloop export`.",
        ) from error


_READERS: Final[dict[str, Callable[[Path], Rows]]] = {
    ".jsonl": _json_lines,
    ".json": _json_array,
    ".csv": _csv,
    ".tsv": partial(_csv, delimiter="\t"),
    ".parquet": _parquet,
}
