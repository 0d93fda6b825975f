"""Persona, mode, history, notes and question become the messages of one prompt, within a token budget.

The question is never cut: when it does not fit, the caller hears so. Notes take at most their share of the
room that it leaves, whole or not at all, best first; history takes the rest, the oldest going first. Leaves
to others: the chat template (`training.model.chat_format`) and the texts (`training.model.personas`,
`training.model.notes`).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bot.answering.answerer import Message
from bot.answering.token_budget import cannot_fit
from bot.errors import EmptyQuestion, PromptTooLong, QuestionTooLong
from feedback.words import Language, Mode
from training.data.task_types import asked_for
from training.model.notes import Note, with_notes
from training.model.personas import system_text

_INVISIBLE: Final = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""Unicode's categories of control and format characters and of space."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Unicode's categories Cc, except newline and tab, and Cs; twenty times as fast as asking `unicodedata`."""


@dataclass(frozen=True)
class Exchange:
    """An earlier question of the conversation with its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """Messages ready for an Answerer; `fingerprint` identifies the system text (SHA-256, 16 hex digits).

    `notes` are the places of those notes that found room, in the order in which they stand there.
    """

    messages: Sequence[Message]
    tokens: int
    fingerprint: str
    notes: tuple[int, ...] = ()


def clean_question(text: str, max_characters: int) -> str:
    """The question without control characters and surrounding space, in Unicode's composed form (NFC).

    Raises EmptyQuestion when nothing visible is left, QuestionTooLong above `max_characters`.
    """
    lines = "\n".join(text.splitlines())
    kept = _CONTROL.sub("", lines).strip()
    if len(kept) > max_characters:
        raise QuestionTooLong(len(kept), max_characters)
    if all(unicodedata.category(c) in _INVISIBLE for c in kept):
        raise EmptyQuestion
    # composed last: on piled-up accents that takes quadratic time, 10 s for 100,000 of them
    return unicodedata.normalize("NFC", kept)


def build_prompt(
    *,
    persona: str,
    mode: Mode,
    language: Language,
    history: Sequence[Exchange],
    question: str,
    count_tokens: Callable[[Sequence[Message]], int],
    budget: int,
    notes: Sequence[Note] = (),
    notes_share: float = 0.5,
) -> Prompt:
    """Assemble the prompt in at most `budget` tokens, dropping the oldest exchanges first.

    Notes may take `notes_share` of the tokens that system text and question leave, all of them where there is
    no history. Raises PromptTooLong when system text and question alone exceed the budget.
    """
    system = system_text(persona, mode, language, asked_for(question, mode))
    head: list[Message] = [{"role": "system", "content": system}] if system else []
    share = notes_share if history else 1.0
    placed = _with_room(head, question, notes, language, count_tokens, budget, share)
    question = with_notes(question, [notes[place] for place in placed], language)
    tokens: int | None = None
    for first in range(len(history) + 1):
        messages = list(head)
        for exchange in history[first:]:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        messages.append({"role": "user", "content": question})
        if cannot_fit(messages, budget):
            continue
        tokens = count_tokens(messages)
        if tokens <= budget:
            return Prompt(messages, tokens, _fingerprint(system, mode, language), placed)
    raise PromptTooLong(tokens, budget)


def prompt_as_given(
    messages: Sequence[Message],
    *,
    persona: str,
    mode: Mode,
    language: Language,
    count_tokens: Callable[[Sequence[Message]], int],
    budget: int,
    notes: Sequence[Note] = (),
    notes_share: float = 0.5,
) -> Prompt:
    """The caller's own messages, the last one the question; the persona only where they have no system text.

    Of these nothing is dropped; notes stand before the question in what room is left, up to `notes_share`
    of it. Raises PromptTooLong when the messages exceed `budget` tokens.
    """
    if cannot_fit(messages, budget):
        raise PromptTooLong(None, budget)
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    if not system:
        system = system_text(persona, mode, language, asked_for(messages[-1]["content"], mode))
        head: list[Message] = [{"role": "system", "content": system}] if system else []
        messages = [*head, *messages]
    *before, last = messages
    placed = _with_room(before, last["content"], notes, language, count_tokens, budget, notes_share)
    asked = with_notes(last["content"], [notes[place] for place in placed], language)
    messages = [*before, {"role": last["role"], "content": asked}]
    tokens = count_tokens(messages)
    if tokens > budget:
        raise PromptTooLong(tokens, budget)
    return Prompt(messages, tokens, _fingerprint(system, mode, language), placed)


def _with_room(
    before: Sequence[Message],
    question: str,
    notes: Sequence[Note],
    language: Language,
    count_tokens: Callable[[Sequence[Message]], int],
    budget: int,
    share: float,
) -> tuple[int, ...]:
    """Places of the notes that fit into their share of the room; one too long is passed over."""
    if not notes:
        return ()

    def asked(places: Sequence[int]) -> list[Message]:
        content = with_notes(question, [notes[place] for place in places], language)
        return [*before, {"role": "user", "content": content}]

    alone = asked(())
    if cannot_fit(alone, budget):
        return ()
    tokens = count_tokens(alone)
    allowed = tokens + int((budget - tokens) * share)
    placed: tuple[int, ...] = ()
    for place in range(len(notes)):
        tried = asked((*placed, place))
        if not cannot_fit(tried, allowed) and count_tokens(tried) <= allowed:
            placed = (*placed, place)
    return placed


def _fingerprint(system: str, mode: Mode, language: Language) -> str:
    return hashlib.sha256(json.dumps([system, mode, language]).encode()).hexdigest()[:16]
