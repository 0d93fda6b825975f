"""Label Studio's JSON and JSON_MIN exports.

JSON has the task's `data` and its `annotations` with results by control, of which one control may give
several. JSON_MIN is flat: a control's column holds a text, or a list of texts and objects, by how many
results there are and of what kind (a rating is `[{"rating": 4}]`); a task that nobody annotated comes with
nulls. A chat control's results are the messages of a talk that the annotator led: unrated, it waits for a
review.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from feedback.imports.annotations import SUBJECT, Opinion, opinions_on
from feedback.imports.records import Format, Record, Unreadable
from feedback.imports.training_rows import canonical
from feedback.imports.turns import is_list_of_turns

TASKS: Final = Format("label-studio", "tasks that Label Studio exported (JSON)", "ratings")
MINIMAL: Final = Format("label-studio-min", "tasks that Label Studio exported (JSON_MIN)", "ratings")
_BESIDE: Final = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)
_VALUES: Final = ("choices", "text", "rating", "selected", "number", "taxonomy", "ranker", "chatmessage")


def is_task(row: Mapping[str, Any]) -> bool:
    """Whether a row is a task of the JSON export."""
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def is_minimal(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of JSON_MIN."""
    return {"annotation_id", "annotator", "lead_time"} <= row.keys()


def read_task(row: Mapping[str, Any]) -> Iterator[Record]:
    """The ratings and preferences of a task, one for each annotation that stands. Raises Unreadable."""
    standing = [one for one in row["annotations"] if not one.get("was_cancelled") and one.get("result")]
    if not standing:
        raise Unreadable("nobody has annotated it")
    for annotation in standing:
        said: dict[str, list[Any]] = {}
        for result in annotation["result"]:
            said.setdefault(str(result.get("from_name")), []).append(result.get("value"))
        by = annotation.get("completed_by")
        rater = str(by.get("id") if isinstance(by, dict) else by or "")
        yield from _opinion(row["data"], {name: _value(results) for name, results in said.items()}, rater)


def read_minimal(row: Mapping[str, Any]) -> Iterator[Record]:
    """The rating or preference of a row. Raises Unreadable."""
    if row.get("annotation_id") is None:
        raise Unreadable("nobody has annotated it")
    # the task's own columns and the controls' stand side by side: what is a field is found by its name
    said = {name: _value(value) for name, value in row.items() if name not in _BESIDE}
    fields = {name: value for name, value in row.items() if isinstance(value, str | list)}
    yield from _opinion(fields, said, str(row.get("annotator") or ""))


def _opinion(fields: Mapping[str, Any], said: Mapping[str, Any], rater: str) -> Iterator[Record]:
    chat = next((value for value in said.values() if is_list_of_turns(value)), None)
    if chat:
        fields = {**fields, "chat": chat}
    values = {
        name: value
        for name, value in said.items()
        if canonical(name) not in SUBJECT and not is_list_of_turns(value)
    }
    yield from opinions_on(fields, [Opinion(values, rater)], may_be_unrated=bool(chat))


def _value(value: Any) -> Any:
    """What a control says, taken out of the list and the object that it may stand in."""
    if isinstance(value, str) and value[:1] == "{":
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, list):
        several = []
        for one in map(_value, value):
            several.extend(one if isinstance(one, list) else [one])
        return several[0] if len(several) == 1 else several
    if isinstance(value, dict):
        found = next((value[name] for name in _VALUES if name in value), value)
        if found is not value and isinstance(found, dict) and "role" not in found:
            found = next(iter(found.values()), None)  # a ranker's one bucket, the best first
        return found[0] if isinstance(found, list) and len(found) == 1 else found
    return value
