"""Training pairs, and their files: JSON lines, a JSON array, CSV and Parquet, in and out.

The keys are the fine-tuning world's `instruction`, `input`, `output`, with `task_type`, `language` and
`lineage` beside them; other keys are ignored. CSV and Parquet carry `lineage` as JSON text. Files are UTF-8,
read row by row (a JSON array at once). Every fault names the file, the line or row, and what is wrong there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from feedback.words import LANGUAGES, TASK_TYPES
from training.errors import PairsError
from training.files import faults_explained, part_of

if TYPE_CHECKING:
    from typing import BinaryIO

ROWS_AT_ONCE: Final = 1000
"""Rows of a Parquet file that are in memory at the same time."""
LONGEST_CSV_FIELD: Final = 2**31 - 1
"""Characters that one field of a CSV file may have: the most that every platform's `csv` takes."""


@dataclass(frozen=True)
class TrainingPair:
    """A question with the answer that a model shall learn, and where they came from."""

    instruction: str
    input: str = ""
    output: str = ""
    task_type: str = "qa"
    language: str = "en"
    lineage: dict[str, Any] | None = None


@dataclass(frozen=True)
class PreferencePair:
    """A question with two answers, of which people preferred `chosen`."""

    instruction: str
    input: str = ""
    chosen: str = ""
    rejected: str = ""
    task_type: str = "qa"
    language: str = "en"
    lineage: dict[str, Any] | None = None

    def answered(self, answer: str) -> TrainingPair:
        """The question with one of its answers."""
        return TrainingPair(self.instruction, self.input, answer, self.task_type, self.language, self.lineage)


@dataclass(frozen=True)
class Thumb:
    """A question with one answer, and whether people found it `desirable`."""

    instruction: str
    input: str = ""
    output: str = ""
    desirable: bool = True
    task_type: str = "qa"
    language: str = "en"
    lineage: dict[str, Any] | None = None

    def pair(self) -> TrainingPair:
        """The question with its answer."""
        return TrainingPair(
            self.instruction, self.input, self.output, self.task_type, self.language, self.lineage
        )


COLUMNS: Final = tuple(field.name for field in fields(TrainingPair))


def read_pairs(path: Path) -> Iterator[TrainingPair]:
    """The pairs of a file, in its order. Raises PairsError at the first row that is no pair."""
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise _unknown_kind(path)
    with faults_explained("Reading", path, PairsError):
        for place, row in read(path):
            yield _pair(row, path, place)


def write_pairs(path: Path, pairs: Iterable[TrainingPair]) -> int:
    """Write a file of pairs, whole or not at all, and return how many. Raises PairsError."""
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise _unknown_kind(path)
    part = part_of(path)
    with faults_explained("Writing", path, PairsError):
        try:
            with part.open("wb") as file:
                written = write(file, pairs)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return written


def _pair(row: Any, path: Path, place: str) -> TrainingPair:
    """The pair in a row of a file. Raises PairsError naming the place and what is wrong there."""
    if not isinstance(row, dict):
        raise PairsError(f"{path}, {place}: expected an object, found {type(row).__name__}.", _SHAPE)
    values = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    for name, value in values.items():
        if name != "lineage" and not isinstance(value, str):
            raise PairsError(f"{path}, {place}: {name!r} is {type(value).__name__}, not text.", _SHAPE)
    for name in ("instruction", "output"):
        if name not in values:
            raise PairsError(f"{path}, {place}: the key {name!r} is missing.", _SHAPE)
        if not values[name].strip():
            raise PairsError(f"{path}, {place}: {name!r} is empty.", "Fill it in, or delete the row.")
    for name, allowed in (("task_type", TASK_TYPES), ("language", LANGUAGES)):
        if values.get(name) == "":
            del values[name]
        if name in values and values[name] not in allowed:
            raise PairsError(
                f"{path}, {place}: {name} {values[name]!r} is unknown.", f"Use one of {', '.join(allowed)}."
            )
    if isinstance(values.get("lineage"), str):
        values["lineage"] = _lineage(values["lineage"], path, place)
    if not isinstance(values.get("lineage", {}), dict | None):
        raise PairsError(f"{path}, {place}: 'lineage' is not an object.", _SHAPE)
    return TrainingPair(**values)


def _lineage(text: str, path: Path, place: str) -> Any:
    try:
        return json.loads(text) if text else None
    except _NOT_JSON as error:
        raise PairsError(f"{path}, {place}: 'lineage' is not JSON ({error}).", _SHAPE) from error


def _text(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise PairsError(
            f"{path}, line {line}: the byte 0x{raw[error.start]:02x} is not UTF-8.", "Save the file as UTF-8."
        ) from error


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            text = _text(raw, path, line).strip()
            if not text:
                continue
            try:
                row = json.loads(text)
            except _NOT_JSON as error:
                raise PairsError(f"{path}, line {line}: this is not JSON ({error}).", _SHAPE) from error
            yield f"line {line}", row


def _json_array(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a .json file, each with its number for error sentences."""
    with path.open("rb") as file:
        text = "".join(_text(raw, path, line) for line, raw in enumerate(file, start=1))
    try:
        rows = json.loads(text)
    except _NOT_JSON as error:
        place = f"{path}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise PairsError(
            f"{place}: this is not JSON ({getattr(error, 'msg', error)}).",
            "A .json file holds one array; one object a line belongs into a .jsonl file.",
        ) from error
    if not isinstance(rows, list):
        raise PairsError(
            f"{path}: a .json file holds an array of objects, this one a {type(rows).__name__}.",
            "Put it in brackets, or name the file .jsonl when it has one object a line.",
        )
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a .csv file, each with its line for error sentences."""
    csv.field_size_limit(LONGEST_CSV_FIELD)  # the module's own limit is below what may be written
    with path.open("rb") as file:
        lines = (_text(raw, path, line) for line, raw in enumerate(file, start=1))
        # strict, or a quote that is never closed swallows the rest of the file without a word
        reader = csv.DictReader(lines, strict=True)
        try:
            for row in reader:
                if None in row:
                    raise PairsError(
                        f"{path}, line {reader.line_num}: the row has more fields than the header.",
                        "Put fields that contain commas or line breaks in double quotes.",
                    )
                yield f"line {reader.line_num}", row
        except csv.Error as error:
            raise PairsError(
                # `line_num` is still that of the last good row
                f"{path}, line {reader.line_num + 1}: this is not CSV ({error}).",
                "Put fields with commas, quotes or line breaks in double quotes, and double those inside.",
            ) from error


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a .parquet file, a batch of them in memory at a time."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as file:
            columns = [name for name in COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
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


def _rows(pairs: Iterable[TrainingPair]) -> Iterator[dict[str, Any]]:
    """Flat rows of text that UTF-8 can hold: `lineage` as JSON."""
    for pair in pairs:
        row = asdict(pair)
        if pair.lineage is not None:
            row["lineage"] = json.dumps(pair.lineage, ensure_ascii=False, sort_keys=True)
        yield {name: None if text is None else _utf8(text).decode() for name, text in row.items()}


def _utf8(text: str) -> bytes:
    # half a surrogate pair, which JSON can say and UTF-8 cannot, becomes a question mark
    return text.encode(errors="replace")


def json_line(pair: TrainingPair | PreferencePair | Thumb) -> bytes:
    """The pair as one line of a .jsonl file; the same pair, the same bytes."""
    values = dict(vars(pair))  # `asdict` copies every text, which takes ten times as long
    if values["lineage"] is not None:
        values["lineage"] = dict(sorted(values["lineage"].items()))
    return _utf8(json.dumps(values, ensure_ascii=False)) + b"\n"


def _write_json_lines(file: BinaryIO, pairs: Iterable[TrainingPair]) -> int:
    written = 0
    for pair in pairs:
        file.write(json_line(pair))
        written += 1
    return written


def _write_json_array(file: BinaryIO, pairs: Iterable[TrainingPair]) -> int:
    written = 0
    for pair in pairs:
        file.write((b",\n" if written else b"[\n") + json_line(pair).rstrip(b"\n"))
        written += 1
    file.write(b"\n]\n" if written else b"[]\n")
    return written


def _write_csv(file: BinaryIO, pairs: Iterable[TrainingPair]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    written = 0
    for row in _rows(pairs):
        writer.writerow(row)
        written += 1
    text.flush()
    text.detach()
    return written


def _write_parquet(file: BinaryIO, pairs: Iterable[TrainingPair]) -> int:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    written = 0
    with ParquetWriter(file, schema) as writer:
        waiting = _rows(pairs)
        while rows := list(islice(waiting, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            written += len(rows)
    return written


_NOT_JSON: Final = (ValueError, RecursionError)
"""What `json.loads` raises; the second for brackets nested a thousand deep."""
_SHAPE: Final = 'Each row is {"instruction": "…", "input": "…", "output": "…"}; `input` may be left out.'
_READERS: Final[dict[str, Callable[[Path], Iterator[tuple[str, Any]]]]] = {
    ".jsonl": _json_lines,
    ".json": _json_array,
    ".csv": _csv,
    ".parquet": _parquet,
}
_WRITERS: Final[dict[str, Callable[[BinaryIO, Iterable[TrainingPair]], int]]] = {
    ".jsonl": _write_json_lines,
    ".json": _write_json_array,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}


def _unknown_kind(path: Path) -> PairsError:
    found = f"ends in {path.suffix}" if path.suffix else "has no ending"
    return PairsError(
        f"{path} {found}, which is no kind of pairs file.", f"Use one of {', '.join(_READERS)}."
    )
