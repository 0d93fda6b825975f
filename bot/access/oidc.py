"""Roles by OpenID Connect: what a team's provider says of somebody, as a role in the one table of rights.

A line `VALUE=operator` gives the role to everybody in whose claim VALUE stands, `VALUE=moderator:discord:123`
in one community. The protocol itself is `bot.console.oidc`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from bot.access.actor import ROLES, Role
from feedback.errors import SettingsError
from feedback.words import Platform

PLATFORM: Final = "oidc"
"""What an operator's name in the audit begins with who signed in so."""


@dataclass(frozen=True)
class Grant:
    """The role of everybody in whose claim `value` stands: in one community, or, for operators, in all."""

    value: str
    role: Role
    platform: Platform | None = None
    community: str = ""


def grants_of(lines: Sequence[str]) -> list[Grant]:
    """What the lines of the setting mean. Raises SettingsError."""
    return [_grant(line) for line in lines]


def _grant(line: str) -> Grant:
    value, _, given = line.rpartition("=")
    role, _, place = given.partition(":")
    platform, _, community = place.partition(":")
    if value and role == "operator" and not place:
        return Grant(value, "operator")
    if value and role in ("moderator", "administrator") and platform in get_args(Platform) and community:
        return Grant(value, cast(Role, role), cast(Platform, platform), community)
    raise SettingsError(
        f"The setting oidc.roles has the line {line!r}.",
        "Write VALUE=operator, or VALUE=moderator:discord:ID of the community.",
    )


def granted(grants: Sequence[Grant], claims: Mapping[str, Any], claim: str) -> Grant | None:
    """The greatest role that the claim, one value or a list of them, gives; None is none."""
    said = claims.get(claim)
    values = said if isinstance(said, list) else [said]
    given = [one for one in grants if one.value in values]
    return max(given, key=lambda one: ROLES.index(one.role), default=None)
