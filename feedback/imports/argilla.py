"""Argilla's records as its client writes them (`records.to_json`), nested or flattened, and 1.x's lists.

A record has `fields`, and for each question the responses of its annotators; those of which the `status` is
"discarded" or "draft" are no opinion. Flattened, a question's answers stand under `NAME.responses`, with who
gave them and in what state beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from feedback.imports.annotations import Opinion, opinions_on
from feedback.imports.records import Format, Record

ARGILLA: Final = Format("argilla", "records that Argilla exported", "ratings")
_FLAT: Final = ".responses"


def fits(row: Mapping[str, Any]) -> bool:
    """Whether a row is a record of Argilla's."""
    nested = isinstance(row.get("fields"), dict) and ("responses" in row or "suggestions" in row)
    return nested or any(key.endswith(_FLAT) for key in row)


def read(row: Mapping[str, Any]) -> Iterator[Record]:
    """The ratings and preferences of a record. Raises Unreadable."""
    if isinstance(row.get("fields"), dict):
        yield from opinions_on(row["fields"], _nested(row.get("responses")))
        return
    answers: dict[str, Opinion] = defaultdict(Opinion)
    for key, values in row.items():
        if key.endswith(_FLAT):
            users = row.get(f"{key}.users") or []
            states = row.get(f"{key}.status") or []
            for place, value in enumerate(values or []):
                if place < len(states) and states[place] not in (None, "submitted"):
                    continue
                rater = str(users[place]) if place < len(users) else ""
                answers[rater].values[key.removesuffix(_FLAT)] = value
                answers[rater].rater = rater
    fields = {key: value for key, value in row.items() if "." not in key}
    yield from opinions_on(fields, list(answers.values()))


def _nested(responses: Any) -> list[Opinion]:
    by_rater: dict[str, Opinion] = {}
    if isinstance(responses, list):  # 1.x: one entry an annotator
        for one in responses:
            if one.get("status", "submitted") == "submitted":
                values = {name: (said or {}).get("value") for name, said in (one.get("values") or {}).items()}
                rater = str(one.get("user_id") or "")
                by_rater[rater or str(len(by_rater))] = Opinion(values, rater)
    elif isinstance(responses, dict):
        for name, said in responses.items():
            for one in said or []:
                if one.get("status") in (None, "submitted"):
                    rater = str(one.get("user_id") or "")
                    by_rater.setdefault(rater, Opinion(rater=rater)).values[name] = one.get("value")
    return list(by_rater.values())
