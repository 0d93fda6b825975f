"""The key that turns platform ids into pseudonyms: the setting, or a file in the data folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import Final

from bot.settings import Settings
from feedback.errors import DatabaseError
from training import files

KEY_FILE: Final = "pseudonym.key"


def pseudonym_key(settings: Settings) -> bytes:
    """The key, its file made on first use. Raises DatabaseError when the file is damaged or unreadable."""
    given = settings.record.pseudonym_key.get_secret_value()
    if given:
        return given.encode()
    place = settings.data / KEY_FILE
    with files.faults_explained("Reading the pseudonym key", place, DatabaseError):
        settings.data.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            part = files.part_of(place)
            try:
                with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(32))
                # of two first starts at once, one makes the key and the other takes it
                with contextlib.suppress(FileExistsError):
                    os.link(part, place)
            finally:
                part.unlink(missing_ok=True)
        key = place.read_bytes()
    if len(key) != 32:
        raise DatabaseError(
            f"The pseudonym key {place} is damaged: it has {len(key)} bytes instead of 32.",
            "Restore it from a backup; without it, members are no longer recognised.",
        )
    return key
