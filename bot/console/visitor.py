"""Who looks at a page, in which language and look: read from the request, kept in the browser's cookies.

The browser's id comes from the gate; conversation, language and look are cookies that pages may set.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from nicegui import ui
from starlette.requests import Request

from bot.access.actor import Actor
from bot.access.rights import Action, may
from bot.access.sign_in import SignedIn
from bot.console.access import BROWSER_KEY, OPERATOR, SIGNED_IN
from bot.console.plain import LANGUAGE_COOKIE, language_of
from bot.texts import Text
from feedback.words import Language

Look = Literal["auto", "light", "dark"]
LOOKS: Final[tuple[Look, ...]] = ("auto", "light", "dark")

_CONVERSATION: Final = "thumbloop_conversation"
_LOOK: Final = "thumbloop_look"
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass
class Visitor:
    """One browser on one page. `browser` is its random id; `signed_in` is None where nobody has to.

    `address` is what the page's address says beyond its path's name: `{parts}` of the path and the query.
    """

    browser: str
    conversation: str
    language: Language
    look: Look
    signed_in: SignedIn | None = None
    address: Mapping[str, str] = field(default_factory=dict)

    @property
    def actor(self) -> Actor:
        """Who decides what is decided on this page, and in what role."""
        return self.signed_in.actor if self.signed_in is not None else OPERATOR

    @property
    def member(self) -> str:
        """Who asks and votes here: the platform's own id of somebody whom one vouches for."""
        if self.signed_in is None:
            return self.browser
        return self.signed_in.external_id or self.signed_in.actor.name

    def may(self, action: Action) -> bool:
        """Whether whoever looks at the page may do that in their community."""
        return may(self.actor, action, self.actor.community_id)

    def say(self, text: Text, **parts: object) -> str:
        """A text of the console in this visitor's language, its {parts} filled in."""
        return text.say(self.language, **parts)

    @property
    def place(self) -> str:
        """The conversation's name in the record."""
        return f"{self.browser}/{self.conversation}"

    @property
    def window(self) -> str:
        """What tells this browser from the operator's other ones where a claim names it."""
        return f"browser {self.browser[:6]}"

    def start_conversation(self) -> None:
        """Forget what was said: the next question has no history."""
        self.conversation = secrets.token_hex(8)
        self.remember_conversation()

    def remember_conversation(self) -> None:
        """Keep the conversation in the browser, so that a reload shows it again."""
        _remember(_CONVERSATION, self.conversation)

    def choose_language(self, language: Language) -> None:
        """Show the page again in another language, from now on."""
        _remember(LANGUAGE_COOKIE, language)
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
        browser=request.scope[BROWSER_KEY],
        signed_in=request.scope.get(SIGNED_IN),
        conversation=conversation if _ID.fullmatch(conversation) else secrets.token_hex(8),
        language=language_of(request),
        look=look if look in LOOKS else "auto",
        address={**request.query_params, **request.path_params},
    )


def _remember(cookie: str, value: str) -> None:
    ui.run_javascript(f"document.cookie = '{cookie}={value}; path=/; max-age=31536000; samesite=lax'")
