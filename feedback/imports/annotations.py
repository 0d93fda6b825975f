"""What annotators said of a question and its answer, whichever tool asked them: one rating out of it.

Tools let everybody name their own questions, so what an opinion is about is told by what it looks like: a
number or "good" and "bad" are a rating, a longer text is a better answer, one of two is a preference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from feedback.imports.records import Preference, Rating, Record, Unreadable
from feedback.imports.training_rows import canonical
from feedback.imports.turns import is_list_of_turns, turns_of

_QUESTION: Final = ("instruction", "prompt", "question", "query", "user", "input_text", "text", "pytanie")
_ANSWER: Final = ("response", "answer", "output", "completion", "generation", "model_output", "odpowiedz")
_FIRST: Final = (
    "response1",
    "response_1",
    "response-1",
    "answer1",
    "answer_1",
    "answer_a",
    "response_a",
    "generation1",
    "generation_1",
    "left",
    "completion_1",
)
_SECOND: Final = (
    "response2",
    "response_2",
    "response-2",
    "answer2",
    "answer_2",
    "answer_b",
    "response_b",
    "generation2",
    "generation_2",
    "right",
    "completion_2",
)
_CONTEXT: Final = ("input", "context")
_CHAT: Final = ("messages", "conversation", "conversations", "chat", "dialogue")
SUBJECT: Final = frozenset({*_QUESTION, *_ANSWER, *_FIRST, *_SECOND, *_CONTEXT, *_CHAT})
"""Names of fields that hold what an opinion is about."""
_GOOD: Final = frozenset(
    {
        "good",
        "yes",
        "true",
        "correct",
        "accept",
        "accepted",
        "positive",
        "helpful",
        "up",
        "thumbs_up",
        "dobra",
        "dobre",
        "dobry",
        "tak",
        "1",
    }
)
_BAD: Final = frozenset(
    {
        "bad",
        "no",
        "false",
        "incorrect",
        "wrong",
        "reject",
        "rejected",
        "negative",
        "not_helpful",
        "unhelpful",
        "down",
        "thumbs_down",
        "zla",
        "zle",
        "zly",
        "nie",
        "0",
        "-1",
    }
)
_FIRST_WORDS: Final = frozenset({"1", "a", "left", "first", "response1", "response_1", "answer1", "answer_1"})
_SECOND_WORDS: Final = frozenset(
    {"2", "b", "right", "second", "response2", "response_2", "answer2", "answer_2"}
)
_MIDDLE: Final = 3
"""Stars that say nothing."""
_FEWEST_WORDS: Final = 3
"""A text of fewer words is a label, not an answer."""


@dataclass
class Opinion:
    """What one annotator answered: question → value, in the order of the tool."""

    values: dict[str, Any] = field(default_factory=dict)
    rater: str = ""


def opinions_on(
    fields: Mapping[str, Any], opinions: list[Opinion], *, may_be_unrated: bool = False
) -> Iterator[Record]:
    """The ratings and preferences that opinions on a record with those fields are.

    With `may_be_unrated`, what nobody rated waits for a review. Raises Unreadable.
    """
    plain = {canonical(name).replace("ł", "l").replace("ź", "z"): value for name, value in fields.items()}
    question, answer, system, history = _subject(plain)
    pair = _texts(plain, _FIRST), _texts(plain, _SECOND)
    if not question or not (answer or all(pair)):
        raise Unreadable(
            f"no question with an answer among its fields ({', '.join(map(repr, fields)) or 'none'})"
        )
    if not opinions:
        raise Unreadable("nobody has annotated it")
    for opinion in opinions:
        if all(pair):
            yield _preferred(question, *pair, opinion, _texts(plain, _CONTEXT))
            continue
        good, reason, better = _read(opinion, answer)
        if good is None and not better and not may_be_unrated:
            raise Unreadable(f"no rating and no better answer among {', '.join(map(repr, opinion.values))}")
        yield Rating(
            question,
            answer,
            good,
            reason=reason,
            better=better,
            rater=opinion.rater,
            input=_texts(plain, _CONTEXT),
            system=system,
            history=history,
        )


def _subject(plain: Mapping[str, Any]) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    for name in _CHAT:
        if is_list_of_turns(plain.get(name)):
            turns = turns_of(plain[name])
            if turns.exchanges and not turns.open_question:
                question, answer = turns.exchanges[-1]
                return question, answer, turns.system, turns.exchanges[:-1]
            return turns.open_question, _texts(plain, _ANSWER), turns.system, turns.exchanges
    return _texts(plain, _QUESTION), _texts(plain, _ANSWER), "", ()


def _texts(plain: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(plain[name]) for name in names if isinstance(plain.get(name), str)), "")


def _read(opinion: Opinion, answer: str) -> tuple[bool | None, str, str]:
    """Whether the answer was found good, why, and the better one."""
    good: bool | None = None
    reasons: list[str] = []
    better = ""
    for name, value in opinion.values.items():
        for one in value if isinstance(value, list) else [value]:
            verdict = verdict_of(one)
            if verdict is not None:
                good = verdict if good is None else good
            elif isinstance(one, str) and one.strip():
                is_reason = any(
                    word in canonical(name) for word in ("reason", "comment", "why", "note", "powod")
                )
                if is_reason or len(one.split()) < _FEWEST_WORDS:
                    reasons.append(one.strip())
                elif one.strip() != answer.strip():
                    better = better or one.strip()
    return good, ", ".join(reasons), better


def verdict_of(value: Any) -> bool | None:
    """Whether a word or a number of stars says that something is good; None where it says neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        # stars, of which these tools give five unless told otherwise
        return None if value == _MIDDLE else value > _MIDDLE
    word = canonical(str(value))
    if word in _GOOD:
        return True
    return False if word in _BAD else None


def _preferred(question: str, first: str, second: str, opinion: Opinion, context: str) -> Preference:
    for value in opinion.values.values():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            value = min(value, key=lambda one: one.get("rank") or 0).get("value")  # a ranking's best
        word = canonical(str(value[0] if isinstance(value, list) and value else value))
        if word in _FIRST_WORDS:
            return Preference(question, first, second, input=context)
        if word in _SECOND_WORDS:
            return Preference(question, second, first, input=context)
    raise Unreadable("it does not say which of the two answers is better")
