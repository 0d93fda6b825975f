"""Lists of messages with roles, as training files have them, taken apart into exchanges.

ShareGPT's `from`/`value` and OpenAI's `role`/`content`; further names of roles as LLaMA-Factory and Axolotl
know them. Calls of tools are refused: nothing here learns to make them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from feedback.imports.records import Exchange, Unreadable

ROLES: Final[Mapping[str, str]] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
_TOOLS: Final = frozenset(
    {"tool", "function", "function_call", "observation", "function_response", "tool_call", "tool_response"}
)
_ROLE_KEYS: Final = ("role", "from")
_TEXT_KEYS: Final = ("content", "value", "text")


@dataclass(frozen=True)
class Turns:
    """A conversation: its system text, its exchanges, and a question at the end that has no answer."""

    system: str = ""
    exchanges: tuple[Exchange, ...] = ()
    open_question: str = ""
    weighted_out: frozenset[int] = field(default_factory=frozenset)
    """Places of exchanges whose answer says of itself that it is not to be learnt (OpenAI's weight 0)."""


def is_list_of_turns(value: Any) -> bool:
    """Whether a value is messages with roles; an empty list is none."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) for one in value)
        and any(key in value[0] for key in _ROLE_KEYS)
    )


def turns_of(messages: Sequence[Any], tags: Mapping[str, str] | None = None) -> Turns:
    """What messages with roles say. `tags` are LLaMA-Factory's own names for keys and roles.

    Neighbours of one role are one message; what an assistant says before anybody asked is left out. Raises
    Unreadable for tools, pictures and roles that there are not.
    """
    tags = tags or {}
    role_keys = (tags["role_tag"],) if "role_tag" in tags else _ROLE_KEYS
    text_keys = (tags["content_tag"],) if "content_tag" in tags else _TEXT_KEYS
    roles = dict(ROLES)
    for tag, role in (("user_tag", "user"), ("assistant_tag", "assistant"), ("system_tag", "system")):
        if tag in tags:
            roles[tags[tag]] = role
    said: list[tuple[str, str, bool]] = []
    for message in messages:
        if not isinstance(message, dict):
            raise Unreadable(f"a message is {type(message).__name__}, not an object")
        if message.get("tool_calls") or message.get("function_call"):
            raise Unreadable("it calls tools, which Thumbloop does not train")
        name = next((message[key] for key in role_keys if key in message), None)
        if str(name) in _TOOLS:
            raise Unreadable("it calls tools, which Thumbloop does not train")
        role = roles.get(str(name), "")
        if not role:
            raise Unreadable(f"the role {name!r} is unknown")
        text = text_of(next((message[key] for key in text_keys if key in message), None))
        learnt = message.get("weight", 1) != 0 and message.get("train", True) is not False
        if said and said[-1][0] == role:
            said[-1] = (role, f"{said[-1][1]}\n{text}", said[-1][2] and learnt)
        else:
            said.append((role, text, learnt))
    return _paired(said)


def text_of(value: Any) -> str:
    """A message's text: a string, or OpenAI's list of parts. Raises Unreadable for pictures and sound."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = []
        for part in value:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                texts.append(part["text"])
            else:
                raise Unreadable("a message holds something other than text")
        return "\n".join(texts)
    raise Unreadable(f"a message's text is {type(value).__name__}")


def _paired(said: Sequence[tuple[str, str, bool]]) -> Turns:
    system = "\n".join(text for role, text, _ in said if role == "system")
    exchanges: list[Exchange] = []
    out = set()
    question = ""
    for role, text, learnt in said:
        if role == "user":
            question = f"{question}\n{text}" if question else text
        elif role == "assistant" and question:
            if not learnt:
                out.add(len(exchanges))
            exchanges.append((question, text))
            question = ""
    return Turns(system, tuple(exchanges), question, frozenset(out))
