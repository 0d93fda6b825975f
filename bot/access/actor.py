"""Somebody who decides something: who they are, and what they are in the community where they act.

Edges make an `Actor` from what their platform vouches for and hand it to the commands, which ask
`bot.access.rights`. What members do for themselves (ask, vote, look after their own data) needs no role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Role = Literal["member", "moderator", "administrator", "operator"]
"""From the least rights to the most: each may do what those before it may."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)


@dataclass(frozen=True)
class Actor:
    """`pseudonym` on `platform`, with a `role` in the community whose row has the id `community_id`.

    A role with `community_id` None holds in every community. People who are not known by a pseudonym, such
    as whoever sits at the terminal, have their own name instead; the console's operator has none.
    """

    platform: str
    pseudonym: str = ""
    role: Role = "member"
    community_id: int | None = None

    @property
    def name(self) -> str:
        """How the record and the audit name them, such as `discord:3f1c…`, `terminal:ada` or `console`."""
        return f"{self.platform}:{self.pseudonym}" if self.pseudonym else self.platform
