"""Bearer keys of the API: made once, shown once, kept as SHA-256.

A settings line is `name:sha256` or `name:sha256:platform:community`. A key is 256 random bits, so a plain
hash tells nobody what it was. Leaves to others: where the lines are kept (`bot.settings`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast, get_args

from bot.access.actor import Actor
from feedback.errors import SettingsError, UsageError
from feedback.words import Platform

PREFIX: Final = "thumbloop-"
PLATFORMS: Final[tuple[str, ...]] = get_args(Platform)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ApiKey:
    """Who may call. Turns are logged as those of `community` on `platform`; without one they are not."""

    name: str
    digest: str
    platform: Platform | None = None
    community: str = ""

    @property
    def actor(self) -> Actor:
        """Who calls with it: the operator trusts a key's holder to choose the adapter that answers them."""
        return Actor("api", self.name, "moderator")


def new_key(name: str, community: str | None = None) -> tuple[str, str]:
    """A new key, and the settings line that lets it in; `community` is written `platform:id`.

    Raises UsageError when the name or the community cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a key.",
            "Use 1 to 63 letters, digits, '.', '_' and '-', and begin with a letter or digit.",
        )
    key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{_digest(key)}" + (f":{community}" if community else "")
    try:
        _parse(line)
    except ValueError as error:
        raise UsageError(f"The key cannot belong to {community!r}: {error}.", _COMMUNITY) from None
    return key, line


def parse_keys(lines: Sequence[str]) -> list[ApiKey]:
    """The keys of the settings lines. Raises SettingsError naming the line that cannot be read."""
    keys: list[ApiKey] = []
    for number, line in enumerate(lines, 1):
        try:
            key = _parse(line)
            if any(key.name == other.name for other in keys):
                raise ValueError(f"the name {key.name} is taken by a line before it")
        except ValueError as error:
            raise SettingsError(
                f"Line {number} of the API's keys cannot be used: {error}.",
                "Write it as `thumbloop api-key NAME` printed it.",
            ) from None
        keys.append(key)
    return keys


def find_key(keys: Sequence[ApiKey], presented: str) -> ApiKey | None:
    """The key that `presented` is. Every key is compared, in constant time, so timing tells nothing."""
    digest = _digest(presented)
    found: ApiKey | None = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


_COMMUNITY = f"Write platform:id, the platform being one of {', '.join(PLATFORMS)}."


def _parse(line: str) -> ApiKey:
    name, _, rest = line.partition(":")
    digest, _, community = rest.partition(":")
    if not _NAME.fullmatch(name):
        raise ValueError("it does not begin with a name")
    if not _DIGEST.fullmatch(digest):
        raise ValueError("the SHA-256 after the name is not 64 digits of 0-9a-f")
    if not community:
        return ApiKey(name, digest)
    platform, _, external_id = community.partition(":")
    if platform not in PLATFORMS:
        raise ValueError(f"{platform!r} is not a platform")
    if not external_id:
        raise ValueError("the community's id is missing")
    return ApiKey(name, digest, cast(Platform, platform), external_id)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
