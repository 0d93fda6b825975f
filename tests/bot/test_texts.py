"""Sentences in both languages: numbers bring their nouns in the right form."""

from __future__ import annotations

import ast
from collections import Counter
from types import ModuleType

import pytest

from bot import texts
from bot.console import texts as console_texts
from bot.platforms.discord import texts as discord_texts
from bot.platforms.telegram import texts as telegram_texts
from bot.texts import FORGOTTEN, LEARNED_FROM, Text


def test_a_number_brings_its_noun_in_the_form_of_the_language() -> None:
    assert LEARNED_FROM.say("en", pairs=1) == "It learned from 1 approved pair."
    assert LEARNED_FROM.say("en", pairs=1200) == "It learned from 1,200 approved pairs."
    assert LEARNED_FROM.say("pl", pairs=3) == "Nauczył się z 3 zatwierdzonych par."
    assert FORGOTTEN.say("pl", turns=2).startswith("Gotowe: usunięto 2 pytania z odpowiedziami;")
    assert FORGOTTEN.say("pl", turns=5).startswith("Gotowe: usunięto 5 pytań z odpowiedziami;")


@pytest.mark.parametrize(("seconds", "said"), [(1.25, "1.2 s"), (3, "3.0 s")])
def test_other_parts_are_formatted_as_ever(seconds: float, said: str) -> None:
    assert Text("{seconds:.1f} s", "{seconds:.1f} s").say("pl", seconds=seconds) == said


@pytest.mark.parametrize("module", [texts, console_texts, discord_texts, telegram_texts])
def test_no_sentence_takes_anothers_name(module: ModuleType) -> None:
    assert module.__file__ is not None
    with open(module.__file__, encoding="utf-8") as file:
        statements = ast.parse(file.read()).body
    names = [
        target.id
        for one in statements
        if isinstance(one, ast.Assign | ast.AnnAssign)
        for target in (one.targets if isinstance(one, ast.Assign) else [one.target])
        if isinstance(target, ast.Name)
    ]
    assert len(names) > 10 and [name for name, count in Counter(names).items() if count > 1] == []
