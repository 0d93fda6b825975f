"""Logs of calls to a model: Langfuse's traces and observations, OpenAI's stored completions, one a line.

An answer with a score is a rating; one without is what a model said and nobody judged, so it waits for a
review like any other answer (`good` None). The last user message is the question.

Langfuse's exports to blob storage have scores in files of their own, in a folder "scores". Of observations
only generations are answers; spans and events are the steps around them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from feedback.imports.annotations import verdict_of
from feedback.imports.records import Format, Rating, Record, Unreadable
from feedback.imports.turns import is_list_of_turns, text_of, turns_of

LANGFUSE: Final = Format("langfuse", "traces that Langfuse exported", "ratings")
OPENAI: Final = Format("openai-log", "completions that OpenAI's API logged", "ratings")
_GENERATION: Final = "GENERATION"
_TEXT_KEYS: Final = (
    "content",
    "text",
    "answer",
    "output",
    "response",
    "completion",
    "question",
    "query",
    "input",
    "prompt",
)
_TRACE: Final = frozenset(
    {
        "traceid",
        "trace_id",
        "sessionid",
        "session_id",
        "userid",
        "user_id",
        "observations",
        "scores",
        "latency",
        "bookmarked",
        "totalcost",
    }
)


def is_langfuse(row: Mapping[str, Any]) -> bool:
    """Whether a row is a trace or an observation of Langfuse's."""
    keys = {key.casefold() for key in row}
    return {"id", "input", "output"} <= keys and bool(keys & _TRACE)


def is_openai(row: Mapping[str, Any]) -> bool:
    """Whether a row is a request with its completion."""
    if isinstance(row.get("request"), dict) and isinstance(row.get("response"), dict):
        return True
    asked = is_list_of_turns(row.get("messages")) or is_list_of_turns(row.get("input"))
    return asked and (isinstance(row.get("choices"), list) or isinstance(row.get("output"), list))


Scores = Mapping[str, list[Mapping[str, Any]]]
"""The scores of traces and observations, by their ids."""


def is_langfuse_score(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of a file of scores."""
    return {"trace_id", "observation_id", "data_type", "value"} <= row.keys()


def langfuse_scores(rows: Iterable[Mapping[str, Any]]) -> Scores:
    """Scores by what they are about: the observation, or else the trace."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[str(row.get("observation_id") or row.get("trace_id"))].append(row)
    return found


def read_langfuse(row: Mapping[str, Any], scores: Scores | None = None) -> Iterator[Record]:
    """What a trace's question and answer were judged to be. Raises Unreadable."""
    kind = str(row.get("type") or _GENERATION)
    if kind.upper() != _GENERATION:
        raise Unreadable(f"it is a {kind.lower()}, and no answer of a model")
    own: Any = row.get("scores")
    if scores is not None and not own:
        trace = row.get("trace_id") or row.get("traceId")
        own = scores.get(str(row.get("id"))) or scores.get(str(trace))
    good, reason = _scores(own)
    yield _rating(
        _decoded(row.get("input")),
        _answer(_decoded(row.get("output"))),
        good,
        reason,
        str(row.get("userId") or row.get("user_id") or ""),
    )


def read_openai(row: Mapping[str, Any]) -> Iterator[Record]:
    """The question and answer of a logged call. Raises Unreadable."""
    request = row.get("request") if isinstance(row.get("request"), dict) else row
    response = row.get("response") if isinstance(row.get("response"), dict) else row
    assert request is not None and response is not None
    response = response.get("body") or response
    request = request.get("body") or request
    asked = request.get("messages") or request.get("input")
    rating = (row.get("metadata") or {}).get("rating")
    good = None if rating is None else str(rating).casefold() in ("1", "true", "good", "up")
    yield _rating(asked, _answer(response), good, "", "")


def _rating(asked: Any, answer: str, good: bool | None, reason: str, rater: str) -> Rating:
    if isinstance(asked, dict) and is_list_of_turns(asked.get("messages")):
        asked = asked["messages"]
    if is_list_of_turns(asked):
        turns = turns_of(asked)
        question, history, system = turns.open_question, turns.exchanges, turns.system
    else:
        question, history, system = _plain(asked), (), ""
    if not question.strip():
        raise Unreadable("no question is in it")
    if not answer.strip():
        raise Unreadable("no answer is in it")
    return Rating(question, answer, good, reason=reason, rater=rater, system=system, history=history)


def _answer(value: Any) -> str:
    if isinstance(value, dict):
        choices = value.get("choices")
        if isinstance(choices, list) and choices:
            message = choices[0].get("message") or choices[0]
            if message.get("tool_calls"):
                raise Unreadable("it calls tools, which Thumbloop does not train")
            return _plain(message)
        if isinstance(value.get("output"), list):  # OpenAI's Responses
            value = value["output"]
    if isinstance(value, list):
        said = [one for one in value if isinstance(one, dict) and one.get("role", "assistant") == "assistant"]
        return text_of(next((one.get("content") for one in reversed(said) if one.get("content")), None))
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in _TEXT_KEYS if value.get(key)), None)
    return text_of(value)


def _decoded(value: Any) -> Any:
    """Exports to CSV keep input and output as JSON text."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _scores(scores: Any) -> tuple[bool | None, str]:
    good, reasons = None, []
    for score in scores if isinstance(scores, list) else []:
        value = score.get("value") if isinstance(score, dict) else None
        if isinstance(score, dict) and good is None and str(score.get("string_value") or "").strip():
            good = verdict_of(score["string_value"])
        elif isinstance(value, bool | int | float) and good is None:
            good = value > 0.5
        if isinstance(score, dict) and score.get("comment"):
            reasons.append(str(score["comment"]))
    return good, ", ".join(reasons)
