"""A button as the core offers it; each platform gives it its look."""

from __future__ import annotations

from dataclasses import dataclass

from bot.chat.button_codes import ButtonCode


@dataclass(frozen=True)
class Button:
    """What a button does, and what it says."""

    code: ButtonCode
    label: str
