"""Files of pairs, written: JSON lines, a JSON array, CSV, TSV and Parquet, in UTF-8.

The keys are the fine-tuning world's `instruction`, `input`, `output`, with `task_type`, `language` and
`lineage` beside them. CSV and Parquet carry `lineage` as JSON text; CSV and TSV what a spreadsheet would take
for a formula as text (`spreadsheet`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from training.data.pair_files import spreadsheet
from training.data.pair_files.kinds import ROWS_AT_ONCE, unknown_kind
from training.data.pairs import COLUMNS, TrainingPair, json_line, utf8
from training.errors import PairsError
from training.files import faults_explained, part_of

if TYPE_CHECKING:
    from typing import BinaryIO


def write_pairs(path: Path, pairs: Iterable[TrainingPair]) -> int:
    """Write a file of pairs, whole or not at all, and return how many. Raises PairsError."""
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise unknown_kind(path)
    part = part_of(path)
    with faults_explained("Writing", path, PairsError):
        try:
            with part.open("wb") as file:
                written = write(file, pairs)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return written


def _rows(pairs: Iterable[TrainingPair]) -> Iterator[dict[str, Any]]:
    """Flat rows of text that UTF-8 can hold: `lineage` as JSON."""
    for pair in pairs:
        row = asdict(pair)
        if pair.lineage is not None:
            row["lineage"] = json.dumps(pair.lineage, ensure_ascii=False, sort_keys=True)
        yield {name: None if text is None else utf8(text).decode() for name, text in row.items()}


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


def _write_csv(file: BinaryIO, pairs: Iterable[TrainingPair], delimiter: str = ",") -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    written = 0
    for row in _rows(pairs):
        writer.writerow({name: field and spreadsheet.neutralised(field) for name, field in row.items()})
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


_WRITERS: Final[dict[str, Callable[[BinaryIO, Iterable[TrainingPair]], int]]] = {
    ".jsonl": _write_json_lines,
    ".json": _write_json_array,
    ".csv": _write_csv,
    ".tsv": partial(_write_csv, delimiter="\t"),
    ".parquet": _write_parquet,
}
