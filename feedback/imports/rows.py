"""Rows of a file with one record each: JSON lines, a JSON array, CSV or TSV with any delimiter, Parquet.

A row comes with its place, or as Broken. What the keys mean is for the formats to say.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, BinaryIO, Final

import ijson

from feedback.imports.records import Broken
from feedback.imports.sources import LONGEST_RECORD, Source, lines

NOT_JSON: Final = (ValueError, RecursionError)
"""What reading JSON raises; the second for brackets nested a thousand deep."""
DELIMITERS: Final = (",", ";", "\t", "|")
ROWS_AT_ONCE: Final = 1000
_PARQUET: Final = b"PAR1"

Row = tuple[str, Any]
"""The place of a row, and what stands there."""


def rows(source: Source) -> Iterator[Row | Broken]:
    """The rows of a file, whatever its name says it is."""
    beginning = source.beginning()
    if beginning.startswith(_PARQUET):
        return _parquet(source)
    text = source.text_beginning().lstrip()
    if text.startswith("["):
        return json_items(source, "item")
    if text.startswith("{"):
        return _json_lines(source) if is_json_lines(text) else json_items(source, "", several=True)
    return _csv(source)


def is_json_lines(beginning: str) -> bool:
    """Whether the first line is a value by itself, or so long that it does not end in the beginning."""
    first, newline, _ = beginning.partition("\n")
    if not newline and first.count("{") > first.count("}"):
        return True
    try:
        json.loads(first)
    except NOT_JSON:
        return False
    return True


def json_items(
    source: Source,
    prefix: str,
    *,
    several: bool = False,
    opened: Callable[[Source], BinaryIO] = Source.open_utf8,
) -> Iterator[Row | Broken]:
    """The values at `prefix` (ijson's words) one by one; where the JSON ends wrongly, that is told last."""
    number = 0
    with opened(source) as file:
        try:
            for number, item in enumerate(
                ijson.items(file, prefix, use_float=True, multiple_values=several), start=1
            ):
                yield f"record {number}", item
        except (ijson.JSONError, *NOT_JSON) as error:
            yield Broken(f"after record {number}", f"the JSON does not go on ({_short(error)})")


def header_of(line: str) -> tuple[str, list[str]]:
    """The delimiter of a CSV file's first line and its columns."""
    choices = []
    for delimiter in DELIMITERS:
        columns = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, skipinitialspace=True), [])
        choices.append((len(columns), delimiter, columns))
    count, delimiter, columns = max(choices, key=lambda choice: choice[0])
    if count < 2:
        try:
            delimiter = csv.Sniffer().sniff(line).delimiter
            columns = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            pass  # one column, and so nothing that divides
    return delimiter, [column.strip() for column in columns]


def _json_lines(source: Source) -> Iterator[Row | Broken]:
    for number, text in lines(source):
        place = f"line {number}"
        if text is None:
            yield Broken(place, f"longer than {LONGEST_RECORD // 2**20} MiB")
        elif text.strip():
            try:
                yield place, json.loads(text)
            except NOT_JSON as error:
                yield Broken(place, f"this is not JSON ({_short(error)})")


def _csv(source: Source) -> Iterator[Row | Broken]:
    csv.field_size_limit(LONGEST_RECORD)  # the module's own limit is below what may be written
    texts = ((number, text) for number, text in lines(source) if text is not None)
    first = next(((number, text) for number, text in texts if text.strip()), None)
    if first is not None and first[1].lower().startswith("sep="):
        first = next(texts, None)
    if first is None:
        return
    delimiter, columns = header_of(first[1])
    above = first[0]
    reader = csv.reader(
        chain((text for _, text in texts)), delimiter=delimiter, skipinitialspace=True, strict=False
    )
    while True:
        line = above + reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Broken(f"line {line}", f"this is not CSV ({error})")
            continue
        if fields is None:
            return
        if not any(fields):
            continue
        if len(fields) > len(columns):
            yield Broken(f"line {line}", f"{len(fields)} fields under {len(columns)} headers")
            continue
        yield f"line {line}", dict(zip(columns, fields, strict=False))


def _parquet(source: Source) -> Iterator[Row | Broken]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    with source.open() as file:
        try:
            for batch in ParquetFile(file).iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
        except (pyarrow.ArrowException, OSError) as error:
            yield Broken(f"after row {number}", f"the Parquet file does not go on ({_short(error)})")


def _short(error: Exception) -> str:
    return str(error).split("\n")[0].strip()
