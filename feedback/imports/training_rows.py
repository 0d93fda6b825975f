"""Rows of training files: which of the field's layouts a row has, and the pairs or preferences it holds.

Alpaca, prompt/completion, question/answer, ShareGPT, OpenAI messages, TRL's preference and KTO rows, and the
layouts that LLaMA-Factory and Axolotl know by name (`layouts`). A layout says under which key a row has what.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from feedback.imports.records import Exchange, Pair, Preference, Rating, Record, Unreadable
from feedback.imports.turns import Turns, is_list_of_turns, text_of, turns_of

FIELDS: Final = (
    "question",
    "input",
    "answer",
    "system",
    "history",
    "messages",
    "chosen",
    "rejected",
    "label",
    "task_type",
    "language",
)
"""What a row may say, in our words: the names that a mapping of columns uses."""

MISSING: Final = frozenset({"nan", "none", "null", "<na>", "n/a", "#n/a", "<noinput>"})
"""What a field says in a data frame's words that has no value, in small letters."""
_TRUE: Final = frozenset({"true", "1", "yes", "good", "up", "+1"})
_FALSE: Final = frozenset({"false", "0", "no", "bad", "down", "-1"})


@dataclass(frozen=True)
class Layout:
    """Under which key of a row each of FIELDS stands, and LLaMA-Factory's tags of its messages."""

    keys: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)

    def resolved(self, row: Mapping[str, Any]) -> Layout:
        """The layout with the row's own spelling of its keys."""
        spelled = {canonical(key): key for key in row}
        return replace(self, keys={name: spelled.get(canonical(key), key) for name, key in self.keys.items()})


def canonical(name: str) -> str:
    """A key without regard to case and spacing."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def fits(row: Mapping[str, Any], layout: Layout) -> bool:
    """Whether a row has all keys that the layout cannot do without."""
    present = {canonical(key) for key in row}
    optional = {"input", "system", "history", "task_type", "language"}
    if "chosen" in layout.keys:
        optional.add("question")
    return all(canonical(key) in present for name, key in layout.keys.items() if name not in optional)


def read_row(row: Mapping[str, Any], layout: Layout) -> Iterator[Record]:
    """What a row of that layout holds. Raises Unreadable."""
    layout = layout.resolved(row)
    if any(row.get(key) not in (None, "", [], "[]") for key in ("tools", "functions")):
        raise Unreadable("it calls tools, which Thumbloop does not train")
    if "chosen" in layout.keys:
        yield _preference(row, layout)
    elif "label" in layout.keys:
        yield _label(row, layout)
    elif "messages" in layout.keys:
        yield from _conversation(row, layout)
    else:
        yield _pair(row, layout)


def _pair(row: Mapping[str, Any], layout: Layout) -> Pair:
    question, before, system = _asked(row, layout)
    answer = _answer(row, layout, "answer")
    return Pair(
        question,
        answer,
        input=_text(row, layout, "input"),
        system=_text(row, layout, "system") or system,
        history=before,
        task_type=_text(row, layout, "task_type"),
        language=_text(row, layout, "language"),
    )


def _preference(row: Mapping[str, Any], layout: Layout) -> Preference:
    chosen, rejected = (_value(row, layout, name) for name in ("chosen", "rejected"))
    if is_list_of_turns(chosen) and is_list_of_turns(rejected):
        good, bad = turns_of(chosen, layout.tags), turns_of(rejected, layout.tags)
        if good.exchanges and bad.exchanges and good.exchanges[-1][0] == bad.exchanges[-1][0]:
            question, answer = good.exchanges[-1]
            return Preference(
                question,
                _required(answer, "chosen"),
                _required(bad.exchanges[-1][1], "rejected"),
                system=good.system,
                history=good.exchanges[:-1],
            )
        # the question stands by itself, and these hold the answers alone
        chosen, rejected = (_last_assistant(turns) for turns in (chosen, rejected))
    chosen, rejected = (_message_text(value) for value in (chosen, rejected))
    if "question" not in layout.keys or not _value(row, layout, "question"):
        question, chosen, rejected = _implicit_prompt(chosen, rejected)
        return Preference(question, chosen, rejected)
    question, before, system = _asked(row, layout)
    return Preference(
        question,
        _required(chosen, "chosen"),
        _required(rejected, "rejected"),
        input=_text(row, layout, "input"),
        system=_text(row, layout, "system") or system,
        history=before,
    )


def _label(row: Mapping[str, Any], layout: Layout) -> Rating:
    said = _value(row, layout, "label")
    word = str(said).strip().casefold()
    if word not in _TRUE | _FALSE:
        raise Unreadable(f"the label {said!r} is neither true nor false")
    if "messages" in layout.keys:
        turns = turns_of(_list(row, layout, "messages"), layout.tags)
        if not turns.exchanges:
            raise Unreadable("no question in it has an answer")
        (question, answer), before, system = turns.exchanges[-1], turns.exchanges[:-1], turns.system
    else:
        question, before, system = _asked(row, layout)
        answer = _answer(row, layout, "answer")
    return Rating(
        question,
        answer,
        word in _TRUE,
        input=_text(row, layout, "input"),
        system=_text(row, layout, "system") or system,
        history=before,
        is_label=True,
    )


def _conversation(row: Mapping[str, Any], layout: Layout) -> Iterator[Pair]:
    turns = turns_of(_list(row, layout, "messages"), layout.tags)
    if not turns.exchanges:
        raise Unreadable("no question in it has an answer")
    key = _hash([turns.system, *(text for exchange in turns.exchanges for text in exchange)])
    for place, (question, answer) in enumerate(turns.exchanges):
        if place in turns.weighted_out or not answer.strip():
            continue
        yield Pair(
            question,
            answer,
            system=_text(row, layout, "system") or turns.system,
            history=turns.exchanges[:place],
            talk=key if len(turns.exchanges) > 1 else "",
        )


def _asked(row: Mapping[str, Any], layout: Layout) -> tuple[str, tuple[Exchange, ...], str]:
    """What is asked, what was said before it, and the system text, of a prompt that is text or messages."""
    value = _value(row, layout, "question")
    if is_list_of_turns(value):
        turns: Turns = turns_of(value, layout.tags)
        return _required(turns.open_question, layout.keys["question"]), turns.exchanges, turns.system
    question = _required(_message_text(value), layout.keys["question"])
    return question, _history(row, layout), ""


def _history(row: Mapping[str, Any], layout: Layout) -> tuple[Exchange, ...]:
    value = _value(row, layout, "history") if "history" in layout.keys else None
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError as error:
            raise Unreadable(f"{layout.keys['history']!r} is not JSON ({error})") from error
    if value is None:
        return ()
    exchanges = []
    for turn in value if isinstance(value, list) else [None]:
        match turn:
            case [str(question), str(answer)]:
                exchanges.append((question, answer))
            case _:
                raise Unreadable(f"{layout.keys['history']!r} is no list of [question, answer]")
    return tuple(exchanges)


def _answer(row: Mapping[str, Any], layout: Layout, name: str) -> str:
    value = _value(row, layout, name)
    if is_list_of_turns(value):
        value = _last_assistant(value)
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # SQuAD's answers
        value = value["text"][0] if value["text"] else ""
    return _required(_message_text(value), layout.keys[name])


def _last_assistant(turns: Any) -> Any:
    if not is_list_of_turns(turns):
        return turns
    answers = turns_of([{"role": "user", "content": "?"}, *turns]).exchanges
    if not answers:
        raise Unreadable("it holds no answer")
    return answers[-1][1]


def _implicit_prompt(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Question and answers of two texts that begin alike: what TRL calls an implicit prompt.

    The cut is where a speaker's turn begins ("Assistant:"), as Anthropic's files have it, else the last line
    that both have, else the last word, as TRL's `extract_prompt` cuts.
    """
    same = next(
        (place for place, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other),
        min(len(chosen), len(rejected)),
    )
    together = chosen[:same]
    for mark in ("\n\nAssistant:", "\nAssistant:", "<|assistant|>", "<|im_start|>assistant", "\n", " "):
        cut = together.rfind(mark)
        if cut > 0:
            question = together[:cut].strip().removeprefix("Human:").strip()
            start = cut + len(mark)
            return (
                _required(question, "chosen"),
                _required(chosen[start:].strip(), "chosen"),
                _required(rejected[start:].strip(), "rejected"),
            )
    raise Unreadable("the two answers do not begin with the same question")


def _message_text(value: Any) -> str:
    if isinstance(value, dict):
        return text_of(next((value[key] for key in ("content", "value", "text") if key in value), None))
    if isinstance(value, int | float):
        return "" if value != value else str(value)
    return text_of(value)


def _text(row: Mapping[str, Any], layout: Layout, name: str) -> str:
    """A text that may be left out."""
    value = row.get(layout.keys[name]) if name in layout.keys else None
    text = _message_text(value)
    return "" if text.strip().casefold() in MISSING else text


def _value(row: Mapping[str, Any], layout: Layout, name: str) -> Any:
    key = layout.keys.get(name, name)
    value = row.get(key)
    if (
        isinstance(value, str)
        and value[:1] in "[{"
        and name in ("messages", "chosen", "rejected", "question")
    ):
        try:
            decoded = json.loads(value)
        except ValueError:
            return value
        return decoded if is_list_of_turns(decoded) else value
    return value


def _list(row: Mapping[str, Any], layout: Layout, name: str) -> list[Any]:
    value = _value(row, layout, name)
    if not isinstance(value, list):
        raise Unreadable(f"{layout.keys[name]!r} is no list of messages")
    return value


def _required(text: str, key: str) -> str:
    if not text.strip():
        raise Unreadable(f"{key!r} is empty")
    return text


def _hash(texts: list[str]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]}"
