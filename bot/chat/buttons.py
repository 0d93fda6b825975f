"""A button as the core describes it; each platform decides how it looks."""

from __future__ import annotations

from dataclasses import dataclass

from bot.chat.button_codes import ButtonCode


@dataclass(frozen=True)
class Button:
    """What a button does, and what it says."""

    code: ButtonCode
    label: str
