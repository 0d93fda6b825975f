"""Keys let in whom they were made for, and their lines say so clearly."""

from __future__ import annotations

import pytest

from bot.api.keys import find_key, new_key, parse_keys
from feedback.errors import SettingsError, UsageError


def test_a_new_key_opens_what_its_line_says_and_the_line_does_not_hold_it() -> None:
    key, line = new_key("ci")
    other, other_line = new_key("helpdesk", "telegram:-100:7")
    keys = parse_keys([line, other_line])
    found, theirs = find_key(keys, key), find_key(keys, other)
    assert found is not None and (found.name, found.platform, found.community) == ("ci", None, "")
    assert theirs is not None
    # an id may hold colons of its own
    assert (theirs.name, theirs.platform, theirs.community) == ("helpdesk", "telegram", "-100:7")
    assert key not in line


@pytest.mark.parametrize("presented", ["", "thumbloop-", "zażółć", "\ud800"])
def test_another_key_opens_nothing(presented: str) -> None:
    _, line = new_key("ci")
    assert find_key(parse_keys([line]), presented) is None


def test_the_hash_itself_is_no_key() -> None:
    _, line = new_key("ci")
    assert find_key(parse_keys([line]), line.split(":")[1]) is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "begin with a name"),
        ("ci", "64 digits"),
        (f"ci:{'G' * 64}", "64 digits"),
        (f"ci:{'a' * 64}:irc:7", "'irc' is not a platform"),
        (f"ci:{'a' * 64}:discord:", "id is missing"),
        (f"ok:{'a' * 64}", "taken"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as told:
        parse_keys([f"ok:{'b' * 64}", line])
    assert "Line 2" in str(told.value)


@pytest.mark.parametrize(
    ("name", "community"), [("", None), ("a:b", None), ("ci", "irc:7"), ("ci", "discord")]
)
def test_a_key_for_nobody_is_not_made(name: str, community: str | None) -> None:
    with pytest.raises(UsageError):
        new_key(name, community)
