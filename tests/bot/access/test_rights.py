"""What a role lets somebody do, and where."""

from __future__ import annotations

from typing import get_args

import pytest

from bot.access.actor import ROLES, Actor, Role
from bot.access.rights import NEEDS, OF_ALL, Action, may, require
from bot.errors import NotAllowed
from bot.texts import describe_error

HERE, ELSEWHERE = 1, 2


def test_every_action_has_its_row_in_the_table() -> None:
    assert set(NEEDS) == set(get_args(Action))


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("member", set()),
        (
            "moderator",
            {
                "answers.manage",
                "statistics.view",
                "review",
                "answers.rate",
                "adapter.try",
                "documents.manage",
            },
        ),
        (
            "administrator",
            {"answers.manage", "statistics.view", "review", "answers.rate", "adapter.try", "documents.manage"}
            | {"adapter.view", "adapter.switch", "settings.change", "run.view", "ratings.manage"},
        ),
        ("operator", set(get_args(Action)) - OF_ALL),
    ],
)
def test_each_role_may_do_what_it_is_for(role: Role, allowed: set[str]) -> None:
    actor = Actor("discord", "ada", role, HERE)
    assert {action for action in NEEDS if may(actor, action, HERE)} == allowed


@pytest.mark.parametrize("role", ROLES)
def test_a_role_in_one_community_holds_neither_elsewhere_nor_for_all(role: Role) -> None:
    actor = Actor("discord", "ada", role, HERE)
    assert not [action for action in NEEDS if may(actor, action, ELSEWHERE) or may(actor, action, None)]


def test_an_operator_of_the_bot_may_do_everything_everywhere() -> None:
    actor = Actor("terminal", "root", "operator")
    assert all(may(actor, action, where) for action in NEEDS for where in (HERE, ELSEWHERE, None))


def test_who_may_not_is_told_who_may_in_their_language() -> None:
    with pytest.raises(NotAllowed) as refused:
        require(Actor("telegram", "ada", "moderator", HERE), "adapter.switch", HERE)
    assert describe_error(refused.value, "en") == "Only administrators may do that."
    assert describe_error(refused.value, "pl") == "Mogą to robić tylko administratorzy."


def test_the_record_names_people_by_platform_and_pseudonym() -> None:
    assert Actor("discord", "3f1c").name == "discord:3f1c"
    assert Actor("console", role="operator").name == "console"
