"""Persona, mode, history and question become the messages of one prompt, within a token budget.

The question is never cut: when it does not fit, the caller hears so. The oldest history goes first.
Leaves to others: the chat template (`training.chat_format`) and the texts (`training.personas`).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.answering.answerer import Message
from bot.errors import PromptTooLong
from feedback.errors import UsageError
from feedback.words import Language, Mode
from training.personas import system_text


@dataclass(frozen=True)
class Exchange:
    """An earlier question of the conversation with its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """Messages ready for an Answerer; `fingerprint` identifies the system text (SHA-256, 16 hex digits)."""

    messages: Sequence[Message]
    tokens: int
    fingerprint: str


def clean_question(text: str, most_characters: int) -> str:
    """The question without control characters and surrounding space, in Unicode's composed form (NFC).

    Raises UsageError when nothing is left, or when it is longer than `most_characters`.
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c for c in composed if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    question = kept.strip()
    if not question:
        raise UsageError("The question is empty.", "Write what you would like to know.")
    if len(question) > most_characters:
        raise UsageError(
            f"The question has {len(question):,} characters, and at most {most_characters:,} are taken.",
            "Ask it in fewer words.",
        )
    return question


def build_prompt(
    *,
    persona: str,
    mode: Mode,
    language: Language,
    history: Sequence[Exchange],
    question: str,
    count_tokens: Callable[[Sequence[Message]], int],
    budget: int,
) -> Prompt:
    """Assemble the prompt in at most `budget` tokens, dropping the oldest exchanges first.

    Raises PromptTooLong when system text and question alone exceed the budget.
    """
    system = system_text(persona, mode, language)
    head: list[Message] = [{"role": "system", "content": system}] if system else []
    for first in range(len(history) + 1):
        messages = list(head)
        for exchange in history[first:]:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        messages.append({"role": "user", "content": question})
        tokens = count_tokens(messages)
        if tokens <= budget:
            return Prompt(messages, tokens, _fingerprint(system, mode, language))
    raise PromptTooLong(tokens, budget)


def _fingerprint(system: str, mode: Mode, language: Language) -> str:
    return hashlib.sha256(json.dumps([system, mode, language]).encode()).hexdigest()[:16]
