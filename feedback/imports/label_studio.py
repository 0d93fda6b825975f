"""Label Studio's JSON and JSON_MIN exports.

JSON has the task's `data` and its `annotations` with results by control. JSON_MIN is flat: a control's
column holds a text, a list of them, or an object with the list, by how many were ticked and of what kind; a
task that nobody annotated comes as a row of nulls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from feedback.imports.annotations import SUBJECT, Opinion, opinions_on
from feedback.imports.records import Format, Record, Unreadable
from feedback.imports.training_rows import canonical

TASKS: Final = Format("label-studio", "tasks that Label Studio exported (JSON)", "ratings")
MINIMAL: Final = Format("label-studio-min", "tasks that Label Studio exported (JSON_MIN)", "ratings")
_BESIDE: Final = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)
_VALUES: Final = ("choices", "text", "rating", "selected", "number", "taxonomy", "ranker")


def is_task(row: Mapping[str, Any]) -> bool:
    """Whether a row is a task of the JSON export."""
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def is_minimal(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of JSON_MIN."""
    return {"annotation_id", "annotator", "lead_time"} <= row.keys()


def read_task(row: Mapping[str, Any]) -> Iterator[Record]:
    """The ratings and preferences of a task, one for each annotation that stands. Raises Unreadable."""
    opinions = []
    for annotation in row["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        values: dict[str, Any] = {}
        for result in annotation.get("result") or []:
            values[str(result.get("from_name"))] = _value(result.get("value"))
        by = annotation.get("completed_by")
        opinions.append(Opinion(values, str(by.get("id") if isinstance(by, dict) else by or "")))
    yield from opinions_on(row["data"], [one for one in opinions if one.values])


def read_minimal(row: Mapping[str, Any]) -> Iterator[Record]:
    """The rating or preference of a row. Raises Unreadable."""
    if row.get("annotation_id") is None:
        raise Unreadable("nobody has annotated it")
    # the task's own columns and the controls' stand side by side: what is a field is found by its name
    said = {name: _value(value) for name, value in row.items() if name not in _BESIDE}
    fields = {name: value for name, value in row.items() if isinstance(value, str | list)}
    annotator = row.get("annotator")
    yield from opinions_on(fields, [Opinion(_without_subject(said), str(annotator or ""))])


def _without_subject(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if canonical(name) not in SUBJECT}


def _value(value: Any) -> Any:
    """What a control says, taken out of the object that it may stand in."""
    if isinstance(value, str) and value[:1] == "{":
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        found = next((value[name] for name in _VALUES if name in value), None)
        return found[0] if isinstance(found, list) and len(found) == 1 else found
    return value
