"""What administrators and operators do on Telegram: review, adapters, settings, training, figures."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.platforms.telegram import announcing
from feedback.tables import Audit, Deployment, Rating, Review, Run
from tests.bot.assembly import Assembly
from tests.bot.platforms.telegram.conftest import ADA, ADMIN, BEN, BOT, GARDEN, OPERATOR, POLISH, Town
from tests.doubles.telegram_server import labels
from tests.rounds import open_round
from training.settings import TrainingSettings

GROUP = GARDEN["id"]
SEVERAL = TrainingSettings.model_validate({"adapters": {"docs": {}}})


@pytest.fixture
async def adapters(town: Town, model_folder: Path, tmp_path: Path) -> list[str]:
    """Two promoted adapters."""
    made = Assembly(town.database, tmp_path, model_folder)
    found = [await made.add_adapter("garden", seed=seed) for seed in (1, 2)]
    return [f"{one.name}@{one.version}" for one in found]


# rights


@pytest.mark.parametrize("command", ["/review", "/adapter list", "/adapter rollback", "/settings", "/stats"])
async def test_in_a_group_only_its_administrators_may(town: Town, command: str) -> None:
    town.api.write(command, by=ADA, chat=GARDEN)
    await town.heard("Only", GROUP)
    town.api.write(command, by=ADMIN, chat=GARDEN)
    await town.api.until(lambda: len(town.api.said(GROUP)) == 2)
    assert "Only" not in town.api.said(GROUP)[-1]["text"]


async def test_training_is_the_operators(town: Town) -> None:
    town.api.write("/retrain now", by=ADMIN, chat=GARDEN)
    await town.heard("Only the bot's operators may do that.", GROUP)
    town.api.write("/retrain now", by=OPERATOR)
    await town.heard("A training run has started.", OPERATOR["id"])
    (started_by,) = town.retrainer.started_by
    assert started_by.startswith("telegram:") and str(OPERATOR["id"]) not in started_by


async def test_another_adapter_is_trained_by_its_name_and_a_wrong_name_is_told(town: Town) -> None:
    town.retrainer.settings = SEVERAL
    town.api.write("/retrain now docs", by=OPERATOR)
    await town.heard("A training run of docs has started.", OPERATOR["id"])
    town.api.write("/retrain now dosc", by=OPERATOR)
    await town.heard("No adapter of that name is trained here. There are: community, docs.", OPERATOR["id"])
    town.api.write("/retrain now", by=OPERATOR)
    await town.heard("A training run has started.", OPERATOR["id"])
    assert town.retrainer.adapters == ["docs", "community"]


async def test_a_wrong_name_is_told_in_polish_too(town: Town) -> None:
    town.settings.operators = (POLISH["id"],)
    town.api.write("/retrain now dosc", by=POLISH)
    await town.heard("Nie trenuje się tu adaptera o tej nazwie. Są: community.", POLISH["id"])


async def test_telegram_is_asked_who_administers_once_for_several_commands(town: Town) -> None:
    for count in (1, 2, 3):
        town.api.write("/stats", by=ADMIN, chat=GARDEN)
        await town.api.until(lambda count=count: len(town.api.said(GROUP)) == count)
    assert len(town.api.made("getChatAdministrators")) == 1


async def test_who_administers_no_longer_may_no_longer_tap(town: Town) -> None:
    town.api.write("/settings", by=ADMIN, chat=GARDEN)
    panel = await town.heard("Settings of Gardeners", GROUP)
    assert await town.toast(town.api.tap(panel, "Polski", by=BEN)) == "Only administrators may do that."
    assert (await town.community(str(GROUP))).language == "auto"


async def test_the_menu_offers_each_scope_its_commands_in_each_language(town: Town) -> None:
    await town.menu_set()
    members = town.api.menus["all_group_chats", ""]
    admins = town.api.menus["all_chat_administrators", "pl"]
    operator = town.api.menus[f"chat:{OPERATOR['id']}", ""]
    assert "ask" in members and "review" not in members
    assert {"review", "adapter", "settings"} <= set(admins) and "retrain" not in admins
    assert "retrain" in operator


async def test_the_menu_is_told_once_not_at_every_start(town: Town) -> None:
    await town.menu_set()
    told = len(town.api.made("setMyCommands"))
    await town.end()
    await town.begin()
    await town.menu_set()
    assert len(town.api.made("setMyCommands")) == told > 0


# news


async def test_news_comes_into_the_chat_that_an_administrator_chose_with_buttons_that_lead_on(
    town: Town,
) -> None:
    await town.ask(f"{BOT} One?", chat=GARDEN)
    town.api.write("/settings", by=ADMIN, chat=GARDEN)
    panel = await town.heard("Settings of Gardeners", GROUP)
    await town.toast(town.api.tap(panel, "Tell moderators news here", by=ADMIN))
    await town.idle()
    assert (await town.community(str(GROUP))).log_channel == "0"
    await town.set(str(GROUP), created_at=datetime.now(UTC) - timedelta(days=30))
    await failed_run(town)

    assert town.bot is not None
    await announcing.tell(town.bot.context)
    news = await town.heard("Training run 1 failed.", GROUP)
    assert "The disk is full." in news["text"] and labels(news) == ["Adapters"]
    weekly = await town.heard("The last seven days", GROUP)
    await announcing.tell(town.bot.context)
    assert len([one for one in town.api.said(GROUP) if "Training run 1" in one["text"]]) == 1

    refused = await town.toast(town.api.tap(weekly, "Review what waits", by=ADA))
    assert "Only" in refused
    town.api.tap(weekly, "Review what waits", by=ADMIN)
    await town.heard("1 waits for review.", GROUP)
    town.api.tap(weekly, "Adapters", by=ADMIN)
    await town.heard("base", GROUP)


async def failed_run(town: Town) -> None:
    """A training run that ended a minute ago."""
    async with town.database.session() as session:
        session.add(
            Run(
                adapter_name="garden",
                started_by="schedule",
                state="failed",
                verdict="The disk is full.",
                finished_at=datetime.now(UTC) - timedelta(minutes=1),
            )
        )


# review


async def test_a_moderator_approves_and_is_shown_the_next(town: Town) -> None:
    await town.ask(f"{BOT} One?", chat=GARDEN)
    await town.ask(f"{BOT} Two?", chat=GARDEN)
    town.api.write("/review", by=ADMIN, chat=GARDEN)
    card = await town.heard("2 wait for review.", GROUP)
    await town.toast(town.api.tap(card, "Approve", by=ADMIN))
    await town.heard("Approved.", GROUP)
    assert [turn.review_state for turn in await town.turns()].count("approved") == 1
    (review,) = await town.rows(Review)
    assert review.reviewer.startswith("telegram:") and str(ADMIN["id"]) not in review.reviewer
    assert "does not allow training" in town.api.said(GROUP)[-1]["text"], "nobody approves in vain unknowing"


async def test_who_approves_too_fast_is_told_that_it_waits_for_the_operator(town: Town) -> None:
    await town.set(str(GROUP), training_allowed=True)
    town.retrainer.settings = TrainingSettings(held_burst=2)
    await town.ask(f"{BOT} One?", chat=GARDEN)
    await town.ask(f"{BOT} Two?", chat=GARDEN)
    town.api.write("/review", by=ADMIN, chat=GARDEN)
    town.api.tap(await town.heard("2 wait for review.", GROUP), "Approve", by=ADMIN)
    town.api.tap(await town.heard("Approved. 1 waits for review.", GROUP), "Approve", by=ADMIN)
    await town.heard("It trains only once the operator says so: 2 of your approvals", GROUP)


async def test_an_edit_is_a_reply_and_can_be_undone(town: Town) -> None:
    await town.ask(f"{BOT} One?", chat=GARDEN)
    town.api.write("/review", by=ADMIN, chat=GARDEN)
    card = await town.heard("1 waits for review.", GROUP)
    town.api.tap(card, "Edit", by=ADMIN)
    asked = await town.heard("Reply to this message", GROUP)
    town.api.write("In May.", by=BEN, chat=GARDEN, reply_to=asked)
    town.api.write("In June.", by=ADMIN, chat=GARDEN, reply_to=asked)
    after = await town.heard("Edited and approved.", GROUP)
    (turn,) = await town.turns()
    assert (turn.review_state, turn.approved_answer) == ("edited", "In June.")

    town.api.tap(after, "Undo", by=ADMIN)
    await town.heard("Undone.", GROUP)
    assert [turn.review_state for turn in await town.turns()] == ["waiting"]


async def test_review_as_a_reply_shows_that_answer(town: Town) -> None:
    first = await town.ask(f"{BOT} One?", chat=GARDEN)
    await town.ask(f"{BOT} Two?", chat=GARDEN)
    town.api.write("/review", by=ADMIN, chat=GARDEN, reply_to=first)
    card = await town.api.until(lambda: [one for one in town.api.said(GROUP) if "✅ Approve" in labels(one)])
    assert "One?" in card[0]["text"]


async def test_a_moderator_decides_on_nothing_of_another_chat(town: Town) -> None:
    await town.ask("My own secret?")
    town.api.write("/review", by=ADMIN, chat=GARDEN)
    await town.heard("Nothing waits for review.", GROUP)
    (turn,) = await town.turns()
    panel = {
        "message_id": 99,
        "chat": GARDEN,
        "date": 1,
        "reply_markup": {"inline_keyboard": [[{"text": "x", "callback_data": f"tl1:approve:{turn.id}"}]]},
    }
    await town.toast(town.api.tap(panel, "x", by=ADMIN))
    assert [turn.review_state for turn in await town.turns()] == ["waiting"]


# adapters


async def test_switching_asks_first_then_the_next_question_has_the_new_adapter(
    town: Town, adapters: list[str]
) -> None:
    town.api.write("/adapter switch garden@1", by=ADMIN, chat=GARDEN)
    card = await town.heard("Let garden@1 answer here", GROUP)
    assert await town.rows(Deployment) == []
    town.api.tap(card, "Switch", by=ADMIN)
    await town.heard("garden@1 answers now; before, it was base.", GROUP)
    await town.ask(f"{BOT} How?", chat=GARDEN)
    await town.ask("And in private?")
    assert [turn.adapter_id for turn in await town.turns()] == [1, None], "the chat's own, nobody else's"


async def test_only_an_administrator_cancels_what_an_administrator_was_asked(
    town: Town, adapters: list[str]
) -> None:
    town.api.write("/adapter switch garden@1", by=ADMIN, chat=GARDEN)
    card = await town.heard("Let garden@1 answer here", GROUP)
    assert await town.toast(town.api.tap(card, "Cancel", by=BEN)) == "Only administrators may do that."
    town.api.tap(card, "Cancel", by=ADMIN)
    await town.heard("Nothing was changed.", GROUP)


async def test_rollback_goes_back_at_once(town: Town, adapters: list[str]) -> None:
    for label in adapters:
        town.api.write(f"/adapter switch {label}", by=ADMIN, chat=GARDEN)
        town.api.tap(await town.heard(f"Let {label} answer", GROUP), "Switch", by=ADMIN)
        await town.heard(f"{label} answers now", GROUP)
    town.api.write("/adapter rollback", by=ADMIN, chat=GARDEN)
    await town.heard("Rolled back: garden@1 answers again instead of garden@2.", GROUP)
    town.api.write("/adapter list", by=ADMIN, chat=GARDEN)
    listed = await town.heard("answers here", GROUP)
    (here,) = [line for line in listed["text"].splitlines() if "✅" in line]
    assert here.startswith("garden@1")


async def test_an_unknown_adapter_is_named_with_what_there_is(town: Town, adapters: list[str]) -> None:
    town.api.write("/adapter info gardens@1", by=ADMIN, chat=GARDEN)
    told = await town.heard("There is no adapter gardens@1.", GROUP)
    assert "garden@1" in told["text"]


async def test_adapter_without_sense_says_what_can_be_said(town: Town) -> None:
    town.api.write("/adapter fly", by=ADMIN, chat=GARDEN)
    await town.heard("Write /adapter list", GROUP)


# settings


async def test_the_panel_changes_what_is_tapped_and_audits_it(town: Town) -> None:
    town.api.write("/settings", by=ADMIN, chat=GARDEN)
    panel = await town.heard("Settings of Gardeners", GROUP)
    for label in ("Polski", "TL;DR", "Every message here", "Allow training"):
        await town.toast(town.api.tap(town.api.messages[GROUP, panel["message_id"]], label, by=ADMIN))
        await town.idle()
    row = await town.community(str(GROUP))
    assert (row.language, row.default_mode, row.own_channels, row.training_allowed) == (
        "pl",
        "tldr",
        ["0"],
        True,
    )
    assert len([one for one in await town.rows(Audit) if one.action == "settings.change"]) == 4
    assert town.api.said(GROUP)[-1]["text"].startswith("Od teraz zatwierdzone tu odpowiedzi")


async def test_what_is_written_out_is_set_by_the_command(town: Town) -> None:
    town.api.write("/settings persona You are a gardener.", by=ADMIN, chat=GARDEN)
    await town.heard("Persona: You are a gardener.", GROUP)
    town.api.write("/settings cooldown 7", by=ADMIN, chat=GARDEN)
    await town.heard("a member: 7 s", GROUP)
    town.api.write("/settings cooldown 99999", by=ADMIN, chat=GARDEN)
    await town.heard("A cooldown of 99999 seconds is not possible.", GROUP)


async def test_a_member_chooses_a_mode(town: Town) -> None:
    town.api.write("/mode", by=POLISH)
    asked = await town.heard("Jak mam Ci odtąd odpowiadać?", POLISH["id"])
    assert "W skrócie" in await town.toast(town.api.tap(asked, "W skrócie", by=POLISH))
    await town.ask("Jak?", by=POLISH)
    assert [turn.mode for turn in await town.turns()] == ["tldr"]


async def test_about_and_stats_say_how_it_goes(town: Town) -> None:
    answer = await town.ask(f"{BOT} How?", chat=GARDEN)
    await town.toast(town.api.tap(answer, "👍", by=ADA))
    town.api.write("/about", by=ADA, chat=GARDEN)
    await town.heard("base answers here. The base model is tiny.", GROUP)
    town.api.write("/stats", by=ADMIN, chat=GARDEN)
    told = await town.heard("Questions: 1, answered 1", GROUP)
    assert "👍 1" in told["text"]


async def test_help_lists_what_the_caller_may(town: Town) -> None:
    town.api.write("/help", by=ADA)
    told = await town.heard("/privacy", ADA["id"])
    assert "/review" not in told["text"]
    town.api.write("/nonsense", by=OPERATOR)
    assert "/retrain" in (await town.heard("/help", OPERATOR["id"]))["text"]


# privacy


async def test_privacy_is_talked_about_in_private(town: Town) -> None:
    town.api.write("/privacy", by=ADA, chat=GARDEN)
    told = await town.heard("in private", GROUP)
    url = told["reply_markup"]["inline_keyboard"][0][0]["url"]
    assert url == "https://t.me/thumbloop_bot?start=privacy"
    town.api.write("/start privacy", by=ADA)
    await town.heard("Kept are your questions")


async def test_a_member_opts_out_has_their_data_and_is_forgotten(town: Town) -> None:
    await town.ask("My secret?")
    town.api.write("/privacy", by=ADA)
    panel = await town.heard("Kept are your questions")
    town.api.tap(panel, "Stay out", by=ADA)
    await town.heard("Your words stay out of training.")
    town.api.tap(panel, "My data", by=ADA)
    (file,) = await town.api.until(lambda: town.api.documents)
    assert json.loads(file)["turns"][0]["question"] == "My secret?"
    town.api.tap(panel, "Forget me", by=ADA)
    sure = await town.heard("This cannot be undone.")
    town.api.tap(sure, "Yes, forget me", by=ADA)
    await town.heard("Done: 1 question with its answer is erased")
    (turn,) = await town.turns()
    assert (turn.state, turn.question, turn.member_id) == ("erased", "", None)


# blind rating


async def test_a_moderator_rates_blind_on_a_card_that_nobody_else_may_tap_on(town: Town) -> None:
    await town.ask(f"{BOT} When do I plant tomatoes?", chat=GARDEN)
    (turn,) = await town.turns()
    await open_round(town.database, [turn.id or 0], {"base": "In winter.", "candidate": "In May."})
    town.api.write("/rate", by=ADMIN, chat=GARDEN)
    card = await town.heard("Question 1 of 1.", GROUP)
    assert "In winter." in card["text"] and "candidate" not in card["text"]
    assert await town.toast(town.api.tap(card, "5", by=BEN)) == "Only moderators may do that."
    for number, score in enumerate((5, 4, 5, 2, 2, 3)):
        await town.toast(town.api.tap(card, str(score), by=ADMIN))
        if number < 5:
            card = await town.heard(
                ("is it right?", "read well?", "safe to follow?")[(number + 1) % 3], GROUP
            )
    given = sorted((one.accuracy, one.style, one.safety) for one in await town.rows(Rating))
    assert given == [(2, 2, 3), (5, 4, 5)]
