"""What moderators and administrators do: review, switch and go back, settings, training runs, figures."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest
import simcord
from transformers import AutoModelForCausalLM

from bot.commands import voting
from bot.platforms.discord import announcing
from bot.questions import Place
from bot.supervisor import end
from feedback.tables import Adapter, Audit, Rating, Run
from tests.bot.answering.conftest import ALL_LINEAR, save_adapter
from tests.bot.platforms.discord.conftest import Town, said
from tests.doubles.retrainer import Retrainer
from tests.doubles.tiny_model import write_tiny_model
from tests.rounds import open_round
from training.adapters import registry
from training.settings import TrainingSettings


def place(town: Town) -> Place:
    return Place("discord", str(town.guild.id), "", "Gardeners")


async def asked(town: Town, *questions: str) -> list[int]:
    """The turns of these questions, each answered."""
    for question in questions:
        await town.ask(question)
    return [turn.id or 0 for turn in await town.turns()]


async def press(
    by: simcord.MemberActor, shown: simcord.InteractionResult, label: str
) -> simcord.InteractionResult:
    assert shown.response is not None
    return await by.click(shown.response, label=label)


def found_button(town: Town, label: str, code: str, channel: simcord.ChannelHandle) -> discord.Message:
    """A message of the bot with a button that this member should never have come by."""
    button = {"type": 2, "style": 3, "label": label, "custom_id": code}
    stored = town.env.backend.create_message(
        channel.id, town.bot.user.id, "?", components=[{"type": 1, "components": [button]}]
    )
    return next(one for one in town.answers(channel) if one.id == stored.id)


# news


async def test_news_comes_into_the_log_channel_with_buttons_that_lead_on(town: Town) -> None:
    await asked(town, "When do I plant tomatoes?")
    log = town.guild.create_text_channel("log")
    await town.set(log_channel=str(log.id), created_at=datetime.now(UTC) - timedelta(days=30))
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

    await announcing.tell(town.bot.context)
    await announcing.tell(town.bot.context)
    news, weekly = town.answers(log)
    assert "Training run 1 failed." in news.content and "The disk is full." in news.content
    assert "1 question, 1 answered, 0 failed." in weekly.content

    shown = await town.moderator.click(weekly, label="Review what waits")
    assert shown.ephemeral and "When do I plant tomatoes?" in said(shown)
    shown = await town.ada.click(weekly, label="Review what waits")
    assert shown.ephemeral and "tomatoes" not in said(shown)


async def test_news_goes_on_when_the_clock_is_set_back(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    class Yesterday(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - timedelta(days=1)

    log = town.guild.create_text_channel("log")
    await town.set(log_channel=str(log.id), created_at=datetime.now(UTC) - timedelta(days=30))
    monkeypatch.setattr(announcing, "LOOK_EVERY_S", 0.01)
    telling = asyncio.create_task(announcing.keep_telling(town.bot.context))
    while not town.answers(log):
        await asyncio.sleep(0)
    clock = SimpleNamespace(datetime=Yesterday, timezone=timezone, timedelta=timedelta)
    monkeypatch.setattr("discord.utils.datetime", clock)
    lately = datetime.now(UTC) - timedelta(minutes=1)
    async with town.database.session() as session:
        session.add(Run(adapter_name="garden", started_by="schedule", state="failed", finished_at=lately))
    while len(town.answers(log)) < 2:
        await asyncio.sleep(0)
    await end(telling)
    assert "Training run 1 failed." in town.answers(log)[1].content


# review


async def test_review_shows_the_question_the_answer_the_votes_and_the_reasons(town: Town) -> None:
    (turn_id,) = await asked(town, "When do I plant tomatoes?")
    await voting.vote(
        town.core, place(town), str(town.ben.id), turn_id, -1, reason="tone", suggested_answer="In May."
    )

    shown = await town.moderator.slash(town.channel, "review")

    assert shown.ephemeral
    text = said(shown)
    answer = (await town.turns())[0].answer.strip()
    for part in ("When do I plant tomatoes?", answer, "👎 1", "tone", "In May.", "1 waits for review"):
        assert part in text


async def test_approving_shows_the_next_and_says_that_it_will_not_train_here(town: Town) -> None:
    await asked(town, "One?", "Two?")
    shown = await town.moderator.slash(town.channel, "review")
    await press(town.moderator, shown, "Approve")

    assert [turn.review_state for turn in await town.turns()] == ["approved", "waiting"]
    text = said(shown)
    assert "Approved. It will not train: Gardeners does not allow training" in text and "Two?" in text


async def test_who_approves_too_fast_is_told_that_it_waits_for_the_operator(
    town: Town, retrainer: Retrainer
) -> None:
    await town.set(training_allowed=True)
    retrainer.settings = TrainingSettings(held_burst=2)
    await asked(town, "One?", "Two?", "Three?")
    shown = await town.moderator.slash(town.channel, "review")
    await press(town.moderator, shown, "Approve")
    assert "Approved. 2 wait for review." in said(shown)
    await press(town.moderator, shown, "Approve")
    assert "It trains only once the operator says so: 2 of your approvals" in said(shown)
    form = await press(town.moderator, shown, "Edit")
    await town.moderator.submit_modal(form, {"part1": "After the last frost."})
    assert "Edited and approved. It trains only once the operator says so: 3 of your" in said(shown)


async def test_a_decision_can_be_undone_and_comes_back_at_once(town: Town) -> None:
    await asked(town, "One?")
    shown = await town.moderator.slash(town.channel, "review")
    await press(town.moderator, shown, "Reject")
    assert "Nothing waits for review." in said(shown)

    await press(town.moderator, shown, "Undo")
    assert (await town.turns())[0].review_state == "waiting"
    assert "Undone." in said(shown) and "One?" in said(shown)


async def test_skipping_leaves_the_answer_to_others(town: Town) -> None:
    await asked(town, "One?")
    shown = await town.moderator.slash(town.channel, "review")
    await press(town.moderator, shown, "Skip")

    assert "Nothing waits for review." in said(shown)
    assert (await town.turns())[0].review_state == "waiting"


async def test_an_edited_answer_is_what_will_be_learned(town: Town) -> None:
    await town.set(training_allowed=True)
    await asked(town, "When do I plant tomatoes?")
    shown = await town.moderator.slash(town.channel, "review")
    form = await press(town.moderator, shown, "Edit")
    turn = (await town.turns())[0]
    assert form.modal is not None
    assert form.modal["components"][0]["component"]["value"] == turn.answer

    await town.moderator.submit_modal(form, {"part1": "After the last frost."})
    turn = (await town.turns())[0]
    assert (turn.review_state, turn.approved_answer) == ("edited", "After the last frost.")
    assert "Edited and approved. Nothing waits" in said(shown)


async def test_an_answer_longer_than_a_form_field_can_be_edited_whole(town: Town) -> None:
    lines = [f"line {number} of a long answer" for number in range(400)]
    town.answerer.scripts = [["\n".join(lines)]]
    await asked(town, "A long text?")
    shown = await town.moderator.slash(town.channel, "review")
    assert shown.response is not None and shown.response.attachments, "what is clipped is attached whole"
    form = await press(town.moderator, shown, "Edit")
    assert form.modal is not None
    parts = {one["component"]["custom_id"]: one["component"]["value"] for one in form.modal["components"]}
    assert len(parts) > 1

    await town.moderator.submit_modal(form, parts)
    assert (await town.turns())[0].approved_answer.splitlines() == lines


async def test_a_card_works_after_a_restart_even_its_form(town: Town) -> None:
    await asked(town, "One?", "Two?")
    shown = await town.moderator.slash(town.channel, "review")
    form = await press(town.moderator, shown, "Edit")
    await town.restart()

    await town.moderator.submit_modal(form, {"part1": "Better."})
    assert (await town.turns())[0].approved_answer == "Better."
    await press(town.moderator, shown, "Approve")
    assert (await town.turns())[1].review_state == "approved"


async def test_a_message_can_be_reviewed_from_its_menu(town: Town) -> None:
    await asked(town, "One?", "Two?")
    shown = await town.moderator.context_menu(town.channel, "Review this answer", town.answers()[1])
    assert "Two?" in said(shown)

    question = await town.ben.send(town.channel, "Just talk")
    refused = await town.moderator.context_menu(town.channel, "Review this answer", question)
    assert said(refused) == "That message is no answer of mine."


async def test_who_does_not_moderate_decides_nothing(town: Town) -> None:
    await asked(town, "One?")
    message = found_button(town, "Approve", "tl1:approve:1", town.channel)
    assert said(await town.ben.click(message, label="Approve")) == "Only moderators may do that."
    assert (await town.turns())[0].review_state == "waiting"


async def test_a_role_that_the_settings_name_moderates(town: Town) -> None:
    role = town.guild.create_role("Helpers")
    helper = town.guild.add_member(town.env.create_user("helper"), roles=[role])
    await town.set(moderator_roles=[str(role.id)])
    await asked(town, "One?")
    shown = await town.moderator.slash(town.channel, "review")
    await press(town.moderator, shown, "Skip")

    card = found_button(town, "Approve", "tl1:approve:1", town.channel)
    await helper.click(card, label="Approve")
    assert (await town.turns())[0].review_state == "approved"


async def test_moderators_of_one_server_never_see_or_decide_anothers(town: Town) -> None:
    await asked(town, "Ours?")
    other = town.env.create_guild("Elsewhere")
    channel = other.create_text_channel("general")
    boss = other.create_role("Boss", permissions=discord.Permissions(manage_messages=True))
    stranger = other.add_member(town.env.create_user("stranger"), roles=[boss])
    await town.env.settle()

    assert said(await stranger.slash(channel, "review")) == "Nothing waits for review."
    card = found_button(town, "Approve", "tl1:approve:1", channel)
    await stranger.click(card, label="Approve")
    assert (await town.turns())[0].review_state == "waiting"


# adapters


@pytest.fixture
async def adapter(town: Town, tmp_path: Path) -> Adapter:
    """A real adapter of the tiny model, examined and found good."""
    folder = write_tiny_model(tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(folder)
    staged = save_adapter(model, tmp_path / "staged", seed=1, r=8, target_modules=ALL_LINEAR)
    metrics = {"base": {"loss": 2.5}, "candidate": {"loss": 1.25}, "training": {"pairs": 7}}
    async with town.database.session() as session:
        made = await registry.add(
            session,
            tmp_path,
            staged,
            name="garden",
            base_model="tiny",
            base_revision="r1",
            metrics=copy.deepcopy(metrics),
        )
        made.state = "promoted"
        session.add(made)
    return made


async def test_switching_shows_the_figures_asks_and_takes_effect_for_the_next_question(
    town: Town, adapter: Adapter
) -> None:
    log = town.guild.create_text_channel("bot-log")
    await town.set(log_channel=str(log.id))
    shown = await town.admin.slash(town.channel, "adapter switch", adapter="garden@1")
    assert shown.ephemeral
    assert "loss 1.25 (base 2.5)" in said(shown)
    await town.ask("Still the base?")

    await press(town.admin, shown, "Switch")
    await town.ask("Now the adapter?")

    assert [turn.adapter_id for turn in await town.turns()] == [None, adapter.id]
    assert "**garden@1** answers now; before, it was base." in said(shown)
    (announced,) = town.answers(log)
    assert announced.content == f"{town.admin.mention} switched the adapter: **garden@1** answers now; " + (
        "before, it was base."
    )
    (audit,) = [row for row in await town.rows(Audit) if row.action == "adapter.switch"]
    assert audit.actor == f"discord:{town.core.pseudonym('discord', str(town.admin.id))}"


async def test_a_switch_that_is_not_confirmed_changes_nothing(town: Town, adapter: Adapter) -> None:
    shown = await town.admin.slash(town.channel, "adapter switch", adapter="garden@1")
    await press(town.admin, shown, "Cancel")
    await town.ask("Who answers?")
    assert said(shown) == "Nothing was changed."
    assert (await town.turns())[0].adapter_id is None


async def test_a_rollback_brings_back_what_answered_before(town: Town, adapter: Adapter) -> None:
    shown = await town.admin.slash(town.channel, "adapter switch", adapter="garden@1")
    await press(town.admin, shown, "Switch")
    back = await town.admin.slash(town.channel, "adapter rollback")
    await town.ask("Who answers?")

    assert said(back) == "Rolled back: **base** answers again instead of garden@1."
    assert (await town.turns())[0].adapter_id is None
    nothing = await town.admin.slash(town.channel, "adapter rollback")
    assert "nothing to roll back to" in said(nothing)
    assert town.env.errors


async def test_damaged_files_are_found_before_they_serve(
    town: Town, adapter: Adapter, tmp_path: Path
) -> None:
    next(registry.folder(tmp_path, adapter).glob("*.safetensors")).write_bytes(b"broken")
    shown = await town.admin.slash(town.channel, "adapter switch", adapter="garden@1")
    assert "Its files are damaged" in said(shown)

    refused = await press(town.admin, shown, "Switch")
    assert "garden@1" in "".join(one.content for one in refused.followups)
    await town.ask("Who answers?")
    assert (await town.turns())[0].adapter_id is None


async def test_adapters_are_found_while_typing(town: Town, adapter: Adapter) -> None:
    offered = await town.admin.autocomplete(town.channel, "adapter switch", "adapter", "gar")
    assert [(one["value"], "loss 1.25 (base 2.5)" in one["name"]) for one in offered] == [("garden@1", True)]


async def test_the_list_and_about_say_who_answers_here(town: Town, adapter: Adapter) -> None:
    listed = said(await town.admin.slash(town.channel, "adapter list"))
    assert (
        "**base** · ✅ answers here" in listed and "**garden@1** · promoted · loss 1.25 (base 2.5)" in listed
    )

    shown = await town.admin.slash(town.channel, "adapter switch", adapter="garden@1")
    await press(town.admin, shown, "Switch")
    about = said(await town.ada.slash(town.channel, "about"))
    assert "**garden@1** answers here. It has answered since <t:" in about
    assert "It learned from 7 approved pairs." in about and "The base model is tiny." in about


async def test_info_tells_all_about_one_adapter_and_what_there_is_when_it_is_unknown(
    town: Town, adapter: Adapter
) -> None:
    assert "loss 1.25 (base 2.5)" in said(
        await town.admin.slash(town.channel, "adapter info", adapter="garden@1")
    )
    unknown = await town.admin.slash(town.channel, "adapter info", adapter="weeds@1")
    assert said(unknown) == "There is no adapter weeds@1. There are base, garden@1."
    assert town.env.errors


# settings


async def test_the_settings_panel_starts_with_safe_defaults(town: Town) -> None:
    shown = await town.admin.slash(town.channel, "settings")

    assert shown.ephemeral
    assert "Nothing from here trains the bot." in said(shown)
    assert "Adapter: **base**" in said(shown)
    community = await town.community()
    assert (community.training_allowed, community.own_channels) == (False, [])


async def test_each_setting_is_changed_by_a_tap_and_audited(town: Town) -> None:
    own = town.guild.create_text_channel("ask-me")
    role = town.guild.create_role("Helpers")
    shown = await town.admin.slash(town.channel, "settings")
    panel = shown.response
    assert panel is not None

    async def choose(name: str, *values: Any) -> None:
        await town.admin.select(panel, list(values), custom_id=f"tl1set:{name}")

    await choose("language", "pl")
    await choose("default_mode", "tldr")
    await choose("own_channels", own)
    await choose("moderator_roles", role)
    await choose("log_channel", own)

    now = await town.community()
    assert (now.language, now.default_mode, now.log_channel) == ("pl", "tldr", str(own.id))
    assert (now.own_channels, now.moderator_roles) == ([str(own.id)], [str(role.id)])
    audited = [row for row in await town.rows(Audit) if row.action == "settings.change"]
    assert len(audited) == 5 and all(row.actor.startswith("discord:") for row in audited)
    await choose("own_channels")
    assert (await town.community()).own_channels == []


async def test_persona_and_cooldown_are_written_into_forms(town: Town) -> None:
    shown = await town.admin.slash(town.channel, "settings")
    assert shown.response is not None
    form = await town.admin.click(shown.response, label="Persona")
    await town.admin.submit_modal(form, {"persona": "You love gardens."})
    form = await town.admin.click(shown.response, label="Cooldown")
    await town.admin.submit_modal(form, {"cooldown": "12"})

    now = await town.community()
    assert (now.persona, now.cooldown_seconds) == ("You love gardens.", 12)
    assert "You love gardens." in said(shown) and "12 s" in said(shown)
    form = await town.admin.click(shown.response, label="Cooldown")
    refused = await town.admin.submit_modal(form, {"cooldown": "soon"})
    assert said(refused) == "That is no number of seconds."
    form = await town.admin.click(shown.response, label="Cooldown")
    refused = await town.admin.submit_modal(form, {"cooldown": "99999"})
    assert said(refused) == "A cooldown of 99999 seconds is not possible. Use 0 to 3600."


async def test_switching_training_on_tells_members_here_and_in_the_bots_own_channels(town: Town) -> None:
    own = town.guild.create_text_channel("ask-me")
    await town.set(own_channels=[str(own.id)])
    shown = await town.admin.slash(town.channel, "settings")
    assert shown.response is not None
    await town.admin.click(shown.response, label="Allow training")

    assert (await town.community()).training_allowed
    for channel in (town.channel, own):
        told = [one for one in town.answers(channel) if one.content.startswith("From now on, answers here")]
        assert len(told) == 1 and not told[0].flags.ephemeral
    await town.admin.click(shown.response, label="Forbid training")
    assert not (await town.community()).training_allowed
    assert town.answers(own)[-1].content == "Talk here is no longer used for training."


async def test_a_setting_takes_effect_at_once(town: Town) -> None:
    own = town.guild.create_text_channel("ask-me")
    await town.ada.send(own, "Nobody is asked")
    shown = await town.admin.slash(town.channel, "settings")
    await town.admin.select(shown.response, [own], custom_id="tl1set:own_channels")
    await town.ada.send(own, "Now it is a question?")
    assert [turn.question for turn in await town.turns()] == ["Now it is a question?"]


async def test_the_panel_refuses_who_does_not_manage_the_server(town: Town) -> None:
    panel = found_button(town, "Allow", "tl1set:training", town.channel)
    refused = await town.moderator.click(panel, label="Allow")
    assert said(refused) == "Only administrators may do that."
    assert not (await town.community()).training_allowed


# training runs and figures


async def test_retrain_starts_a_run_in_the_administrators_name(town: Town, retrainer: Retrainer) -> None:
    shown = await town.admin.slash(town.channel, "retrain now")
    assert said(shown) == "A training run has started."
    assert retrainer.started_by == [f"discord:{town.core.pseudonym('discord', str(town.admin.id))}"]


async def test_only_operators_start_runs_once_the_settings_name_any(town: Town, retrainer: Retrainer) -> None:
    town.bot.context.settings.operators = (town.ada.id,)
    refused = await town.admin.slash(town.channel, "retrain now")
    assert said(refused) == "Only the bot's operators may do that." and not retrainer.started_by
    assert town.env.errors
    town.bot.context.settings.operators = (town.admin.id,)
    assert said(await town.admin.slash(town.channel, "retrain now")) == "A training run has started."


async def test_another_adapter_is_trained_by_its_name_and_a_wrong_name_is_told(
    town: Town, retrainer: Retrainer
) -> None:
    retrainer.settings = TrainingSettings.model_validate({"adapters": {"docs": {}, "blog": {}}})
    shown = await town.admin.slash(town.channel, "retrain now", adapter="docs")
    assert said(shown) == "A training run of docs has started." and retrainer.adapters == ["docs"]
    wrong = await town.admin.slash(town.channel, "retrain now", adapter="dosc")
    assert said(wrong) == "No adapter of that name is trained here. There are: community, docs, blog."
    assert town.env.errors and retrainer.adapters == ["docs"]


async def test_adapters_to_train_are_found_while_typing_by_those_who_may(
    town: Town, retrainer: Retrainer
) -> None:
    retrainer.settings = TrainingSettings.model_validate({"adapters": {"docs": {}, "blog": {}}})

    async def offered(by: simcord.MemberActor, typed: str) -> list[str]:
        return [one["value"] for one in await by.autocomplete(town.channel, "retrain now", "adapter", typed)]

    assert await offered(town.admin, "") == ["community", "docs", "blog"]
    assert await offered(town.admin, "DO") == ["docs"]
    town.bot.context.settings.operators = (town.ada.id,)
    assert await offered(town.admin, "") == []


async def test_status_and_history_tell_how_runs_went(town: Town) -> None:
    assert said(await town.admin.slash(town.channel, "retrain status")) == (
        "There has been no training run yet."
    )
    async with town.database.session() as session:
        session.add(
            Run(adapter_name="garden", started_by="schedule", state="rejected", verdict="Rejected: too few.")
        )
        session.add(
            Run(adapter_name="garden", started_by="schedule", step="train", progress={"done": 3, "total": 9})
        )
    status = said(await town.admin.slash(town.channel, "retrain status"))
    history = said(await town.admin.slash(town.channel, "retrain history"))
    assert "Run 2: **running** · train 3/9" in status and "Rejected" not in status
    assert "Run 1: **rejected**" in history and "Rejected: too few." in history


async def test_stats_count_this_server_only(town: Town) -> None:
    (turn_id,) = await asked(town, "One?")
    await voting.vote(town.core, place(town), str(town.ben.id), turn_id, 1)
    await town.ben.send_dm("Two?")
    text = said(await town.moderator.slash(town.channel, "stats"))
    assert "Questions: 1, answered 1" in text and "👍 1" in text and "1 waiting" in text
    assert "**base**: 1 answer," in text


# blind rating


async def test_a_moderator_rates_blind_on_a_card_between_two_messages(town: Town) -> None:
    (turn_id,) = await asked(town, "When do I plant tomatoes?")
    await open_round(town.database, [turn_id], {"base": "In winter.", "candidate": "In May."})

    shown = await town.moderator.slash(town.channel, "rate")
    assert shown.ephemeral
    for part in ("When do I plant tomatoes?", "In winter.", "In May.", "Question 1 of 1.", "is it right?"):
        assert part in said(shown)
    assert "candidate" not in said(shown) and "base" not in said(shown)
    for score in (5, 4, 5, 2, 2, 3):
        await press(town.moderator, shown, str(score))

    assert "Rated. There is nothing left for you to rate." in said(shown)
    assert sorted((one.accuracy, one.style, one.safety) for one in await town.rows(Rating)) == [
        (2, 2, 3),
        (5, 4, 5),
    ]
    await press(town.moderator, shown, "Undo")
    assert await town.rows(Rating) == [] and "is it right?" in said(shown)
