"""A text in our languages, filled in for its reader."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Final, NamedTuple

from feedback.plural import counted
from feedback.words import LANGUAGES, Language


class _Filler(Formatter):
    """Fills in parts as `str.format` does, and numbers with their nouns."""

    def format_field(self, value: object, format_spec: str) -> str:
        """A part as text; forms of a noun are divided by bars."""
        if "|" in format_spec and isinstance(value, int):
            return counted(value, *format_spec.split("|"))
        return str(super().format_field(value, format_spec))


_FILLER: Final = _Filler()


class Text(NamedTuple):
    """One text in our languages; {parts} are filled in by `say`.

    A number may bring its noun in the forms of the language: {turns:turn|turns}, {turns:tura|tury|tur}.
    """

    en: str
    pl: str

    def say(self, language: Language, **parts: object) -> str:
        """The text in that language, its {parts} filled in."""
        chosen: str = getattr(self, language)
        return _FILLER.vformat(chosen, (), parts) if parts else chosen

    def filled(self, **parts: object) -> Text:
        """The same text with its {parts} filled in, each of those that are texts in the same language."""
        return Text(*(self.say(one, **_in(one, parts)) for one in LANGUAGES))


def thousands(number: float) -> Text:
    """A whole number with its thousands apart, as each language writes it."""
    digits = f"{number:,.0f}"
    return Text(digits, digits.replace(",", "\N{NO-BREAK SPACE}"))


def kept_said(kept: str | Mapping[Language, str], language: Language) -> str:
    """A text that the record keeps by language (`Text._asdict`); one of an older version kept its English."""
    return kept if isinstance(kept, str) else kept[language]


def _in(language: Language, parts: dict[str, object]) -> dict[str, object]:
    return {name: getattr(part, language) if isinstance(part, Text) else part for name, part in parts.items()}
