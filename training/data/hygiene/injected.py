"""Answers that obey "ignore your instructions", or give away the system text."""

from __future__ import annotations

import re
from typing import Final

from training.data.hygiene.rule import Drop, PairRule, question_of, without_code
from training.data.pairs import TrainingPair
from training.model.personas import PERSONAS
from training.settings import HygieneSettings

_ORDER: Final = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)\s+(?:(?:all|any|the|your|my|of|every|these|those"
    r"|previous|prior|above"
    r"|earlier|preceding|system|safety)\s+){1,5}(?:instruction|rule|prompt|guideline|direction|polic|command)"
    r"|(?:zignoruj|pomiń|zapomnij(?: o)?|porzuć|odrzuć)\s+(?:(?:o|wszystk\w+|swoj\w+|twoj\w+|poprzedni\w*"
    r"|powyższ\w+"
    r"|wcześniejsz\w+|dotychczasow\w+|te|tych|systemow\w+)\s+){1,5}(?:instrukcj|poleceni|poleceń|zasad"
    r"|reguł|wytyczn|prompt)"
    r"|(?:reveal|show|print|repeat|output|tell me|give me|leak)\s+(?:me\s+)?(?:your"
    r"|the)\s+(?:\w+\s+)?(?:system|hidden|initial"
    r"|secret)\s+(?:prompt|instruction|message)"
    r"|(?:ujawnij|pokaż|wypisz|podaj|zdradź|powtórz)\s+(?:mi\s+)?(?:swój|swoje|twój"
    r"|twoje)\s+(?:\w+\s+)?(?:prompt|instrukcje"
    r"|polecenia)"
    r"|you are now (?:dan\b|in developer mode|jailbroken|unrestricted)|(?:enable|enter) developer mode"
    r"|(?:od teraz )?jesteś teraz (?:dan\b|bez ograniczeń|w trybie dewelopera)",
    re.IGNORECASE,
)
_QUESTION_HINTS: Final = (
    *("ignor", "disregard", "forget", "overrid", "bypass", "system", "hidden", "initial", "secret"),
    *("you are now", "developer mode", "pomiń", "zapomnij", "porzuć", "odrzuć", "ujawnij", "zdradź"),
    *("swój prompt", "twój prompt", "swoje ", "twoje ", "jesteś teraz", "dewelopera"),
)
_ANSWER_HINTS: Final = (
    *("ignor", "disregard", "forg", "system prompt", "system message", "hidden instr"),
    *("initial instr", "as dan,", "developer mode", "my prompt", "my instructions"),
    *("prompt systemow", "moje instr", "moje ukryte", "dewelopera", "moje systemowe", "instrukcje z"),
    *("zasady z", "polecenia z"),
)
_QUOTED: Final = re.compile(
    r"\"[^\"\n]{3,200}\"|„[^”\"\n]{3,200}[”\"]|“[^”\n]{3,200}”|«[^»\n]{3,200}»|(?<!\w)'[^'\n]{3,200}'(?!\w)"
)
_ASKS_ABOUT: Final = re.compile(
    r"\W*(?:what|why|how (?:do|does|can|to|should)|is|are|does|explain|co|czym|czemu|dlaczego|jak|czy"
    r"|wyjaśnij)\b(?! can i)",
    re.IGNORECASE,
)
_DECLINES: Final = re.compile(
    r"\b(?:can ?not|can['’]t|won['’]t|will not|unable|not able|sorry|refuse|decline|no[,.!]|nie)\b"
    r"|\bcannot\b",
    re.IGNORECASE,
)
_OBEYS: Final = re.compile(
    r"\b(?:i(?:['’]ll| will|['’]m|['’]ve| am| have)? (?:now )?(?:ignor|disregard|forg[eo]t)\w*\s+(?:all "
    r"|my |the |your |previous |prior "
    r"|earlier ){1,4}(?:instruction|rule|guideline|prompt)"
    r"|(?:instructions|rules|guidelines) (?:have been |are now |were )?(?:ignored|disregarded|forgotten)"
    r"|my (?:system prompt|hidden instructions?|initial instructions?|system message) (?:is|are|says?"
    r"|reads?)\b"
    r"|here (?:is|are) my (?:system |hidden |initial )?(?:prompt|instructions)"
    r"|as dan,|developer mode (?:enabled|activated|on)\b|ignoruję (?:wszystkie |moje |poprzednie "
    r"|swoje ){1,3}(?:instrukcje|zasady"
    r"|polecenia)|(?:instrukcje|zasady|polecenia) (?:zostały )?zignorowane|(?:mój"
    r"|oto mój) prompt systemowy|moje instrukcje "
    r"(?:to|brzmią)|oto moje (?:ukryte |systemowe )?instrukcje|tryb dewelopera włączony)",
    re.IGNORECASE,
)
_SHOWN: Final = 40
"""Characters of a persona's text that give it away."""


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    """Drop a pair whose answer obeys an injected order or gives the system text away."""
    output = pair.output
    if any(text[:_SHOWN] in output for text in _told(pair)):
        return Drop("gives the system text away")
    small = output.lower()
    if any(map(small.__contains__, _ANSWER_HINTS)) and _OBEYS.search(_unquoted(output)):
        return Drop("obeys an injected order")
    question = question_of(pair)
    small = question.lower()
    if (
        any(map(small.__contains__, _QUESTION_HINTS))
        and _ORDER.search(_unquoted(question))
        and not _ASKS_ABOUT.match(question)
    ):
        return None if _DECLINES.search(output[:300]) else Drop("obeys an injected order")
    return None


def _told(pair: TrainingPair) -> list[str]:
    """The system texts that may stand before this question, where they are long enough to be recognised."""
    persona = (pair.lineage or {}).get("persona")
    texts = [*PERSONAS.values(), persona] if isinstance(persona, str) else [*PERSONAS.values()]
    return [text for text in texts if len(text) >= _SHOWN]


def _unquoted(text: str) -> str:
    """The text without what it only cites: whoever explains an attack has to show one."""
    return _QUOTED.sub(" ", without_code(text))


RULE: Final = PairRule(
    "injected",
    "An answer that obeys an order to ignore its instructions (zignoruj instrukcje), or gives the "
    "system text away, is left out; one that declines, or explains such attacks, stays.",
    _look,
)
