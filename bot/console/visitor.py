"""Who looks at a page, in which language and look: read from the request, kept in the browser's cookies.

The browser's id comes from the gate; conversation, language and look are cookies that pages may set.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final, Literal

from nicegui import ui
from starlette.requests import Request

from bot.console.access import BROWSER_KEY
from bot.texts import Text
from feedback.words import LANGUAGES, Language

Look = Literal["auto", "light", "dark"]
LOOKS: Final[tuple[Look, ...]] = ("auto", "light", "dark")

_CONVERSATION: Final = "thumbloop_conversation"
_LANGUAGE: Final = "thumbloop_language"
_LOOK: Final = "thumbloop_look"
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass
class Visitor:
    """One browser on one page. `member` is who asks and votes; a conversation belongs to one member."""

    member: str
    conversation: str
    language: Language
    look: Look

    def say(self, text: Text, **parts: object) -> str:
        """A text of the console in this visitor's language, its {parts} filled in."""
        return text.say(self.language, **parts)

    @property
    def place(self) -> str:
        """The conversation's name in the record."""
        return f"{self.member}/{self.conversation}"

    @property
    def window(self) -> str:
        """What tells this browser from the operator's other ones where a claim names it."""
        return f"browser {self.member[:6]}"

    def start_conversation(self) -> None:
        """Forget what was said: the next question has no history."""
        self.conversation = secrets.token_hex(8)
        self.remember_conversation()

    def remember_conversation(self) -> None:
        """Keep the conversation in the browser, so that a reload shows it again."""
        _remember(_CONVERSATION, self.conversation)

    def choose_language(self, language: Language) -> None:
        """Show the page again in another language, from now on."""
        _remember(_LANGUAGE, language)
        ui.navigate.reload()

    def choose_look(self, look: Look) -> None:
        """Keep light, dark or the system's choice."""
        self.look = look
        _remember(_LOOK, look)


def visitor_of(request: Request) -> Visitor:
    """The visitor that a request comes from; what its cookies do not say is chosen for them."""
    cookies = request.cookies
    conversation = cookies.get(_CONVERSATION, "")
    look = cookies.get(_LOOK, "")
    return Visitor(
        member=request.scope[BROWSER_KEY],
        conversation=conversation if _ID.fullmatch(conversation) else secrets.token_hex(8),
        language=_language(cookies.get(_LANGUAGE, ""), request.headers.get("accept-language", "")),
        look=look if look in LOOKS else "auto",
    )


def _language(chosen: str, accepted: str) -> Language:
    if chosen in LANGUAGES:
        return chosen
    # browsers list languages in order of preference
    for entry in accepted.lower().split(","):
        name = entry.split(";")[0].strip().split("-")[0]
        if name in LANGUAGES:
            return name
    return "en"


def _remember(cookie: str, value: str) -> None:
    ui.run_javascript(f"document.cookie = '{cookie}={value}; path=/; max-age=31536000; samesite=lax'")
