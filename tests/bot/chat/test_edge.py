"""Whatever goes wrong, a member is told a sentence, and telling them breaks nothing else."""

from __future__ import annotations

import pytest

from bot.chat.edge import guarded
from bot.chat.surface import MayNotWrite, MessageGone
from bot.errors import Busy


async def _failing(error: Exception) -> None:
    raise error


@pytest.fixture
def said() -> list[str]:
    return []


async def test_our_own_errors_speak_for_themselves(said: list[str]) -> None:
    async def tell(text: str) -> None:
        said.append(text)

    await guarded(_failing(Busy(3)), "pl", tell)
    assert said == ["Jestem zajęty: przed Tobą w kolejce: 3 pytania. Zapytaj ponownie za minutę."]


async def test_a_fault_that_nobody_foresaw_is_a_reference_and_nothing_of_its_text(said: list[str]) -> None:
    async def tell(text: str) -> None:
        said.append(text)

    await guarded(_failing(KeyError("/home/ada/secret")), "en", tell)
    assert said[0].startswith("That failed. Try again; if it goes on, tell the operator the reference ")
    assert "secret" not in said[0]


@pytest.mark.parametrize("error", [KeyError("chat"), OSError("away"), MayNotWrite(), MessageGone()])
async def test_a_member_who_cannot_be_told_is_no_fault_of_the_rest(error: Exception) -> None:
    async def tell(text: str) -> None:
        raise error

    await guarded(_failing(ValueError()), "en", tell)


async def test_nobody_is_told_where_the_chat_is_closed_to_us(said: list[str]) -> None:
    async def tell(text: str) -> None:
        said.append(text)

    await guarded(_failing(MayNotWrite()), "en", tell)
    assert said == []
