"""Out of talk come the questions that somebody answered, with why; small talk and private matters do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedback.imports.records import Message
from training.data.mining import cards, cues
from training.data.mining.answers import Candidate
from training.data.mining.cards import Mined, mine
from training.data.mining.notes import KEPT, Notes, Stretch, delete_old
from training.data.mining.threads import Disentangler

NAMES = {"Ann": "ann", "ben_k": "ben", "Cyd": "cyd", "Dora": "dora"}


class Talk:
    """Messages of a channel, a minute apart unless `after` says otherwise."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._at = 0.0

    def say(self, author: str, text: str, *, after: float = 60.0, **more: Any) -> str:
        self._at += after
        number = str(len(self.messages) + 1)
        self.messages.append(Message(number, more.pop("talk", "help"), author, self._at, text, **more))
        return number

    def mined(self, **more: Any) -> Mined:
        return mine(self.messages, NAMES, **more)

    def card(self) -> Candidate:
        (card,) = self.mined().cards
        return card


@pytest.fixture
def talk() -> Talk:
    return Talk()


def answered(
    talk: Talk,
    question: str,
    answer: str,
    asker: str = "ann",
    outcome: str = "thanks, that worked",
    **more: Any,
) -> None:
    """Somebody asks, ben answers with a reply link, and the asker says what came of it."""
    asked = talk.say(asker, question, after=7200, **more)
    told = talk.say("ben", answer, reply_to=asked)
    talk.say(asker, outcome, reply_to=told)


BASIL = ("How do I keep basil from wilting?", "Water the soil in the morning, never the leaves.")


# --- threads ---


def threads(talk: Talk, name: str = "ben_k") -> list[set[str]]:
    return [
        {one.message.id for one in thread.said}
        for thread in Disentangler({name: "ben"}).threads(talk.messages)
    ]


def test_a_reply_link_outweighs_all_that_was_said_between(talk: Talk) -> None:
    first = talk.say("ann", "How do I keep basil from wilting?")
    talk.say("cyd", "How do I sharpen a spade?")
    talk.say("dora", "With a flat file, along the edge.")
    talk.say("ben", "In the morning.", after=20 * 3600, reply_to=first)
    assert {"1", "4"} in threads(talk)


def test_whoever_is_addressed_by_name_is_answered(talk: Talk) -> None:
    talk.say("ben", "Which soil does basil need?")
    talk.say("cyd", "How do I sharpen a spade?")
    talk.say("dora", "ben_k: something loose")
    assert {"1", "3"} in threads(talk)


@pytest.mark.parametrize(
    "answer",
    [
        "ben_k something loose",
        "something loose, ben_k",
        "ben: something loose",
        "bne_k: something loose",
    ],
    ids=["bare, first", "bare, last", "half of the name", "slip of the hand"],
)
def test_a_name_is_recognised_without_anything_that_sets_it_apart(talk: Talk, answer: str) -> None:
    talk.say("ben", "Which soil does basil need?")
    talk.say("cyd", "How do I sharpen a spade?")
    talk.say("dora", answer)
    assert {"1", "3"} in threads(talk)


@pytest.mark.parametrize("name", ["may", "this", "soon"])
def test_a_word_that_somebody_is_called_by_chance_addresses_nobody(talk: Talk, name: str) -> None:
    talk.say("ben", "Which soil does basil need?")
    talk.say("cyd", "How do I sharpen a spade?")
    talk.say("dora", f"{name} be with a flat file")
    assert {"1", "3"} not in threads(talk, name)


def test_two_talks_at_once_are_told_apart_by_their_words_and_who_speaks(talk: Talk) -> None:
    talk.say("ann", "Which soil does basil need in a terracotta pot?", after=3600)
    talk.say("cyd", "How do I sharpen a spade with a grinder?", after=30)
    talk.say("ben", "basil in terracotta wants loose soil", after=30)
    talk.say("dora", "a grinder makes the spade too hot, take a file", after=30)
    assert [{"1", "3"}, {"2", "4"}] == sorted(threads(talk), key=min)


# --- question and answer ---


def test_an_answer_that_ended_the_asking_is_found_with_its_reasons(talk: Talk) -> None:
    answered(talk, *BASIL)
    card = talk.card()
    assert (card.question, card.answers[0].text) == BASIL
    assert card.score > 0.9
    assert {"replied", "thanked", "solved"} <= {reason for reason, _ in card.answers[0].reasons}


def test_in_a_thread_whose_links_all_lead_to_the_question_answers_are_put_together_and_thanked_for(
    talk: Talk,
) -> None:
    asked = talk.say("ann", BASIL[0])
    talk.say("ben", "Water the soil in the morning,", reply_to=asked)
    talk.say("ben", "never the leaves.", reply_to=asked, after=10)
    talk.say("ann", "thanks, that worked", reply_to=asked)
    answer = talk.card().answers[0]
    assert answer.text == "Water the soil in the morning,\nnever the leaves."
    assert {"thanked", "solved"} <= {reason for reason, _ in answer.reasons}


def test_several_messages_of_one_person_are_one_question_and_one_answer(talk: Talk) -> None:
    talk.say("ann", "I am trying to grow basil on the balcony")
    talk.say("ann", "How do I keep it from wilting?", after=10)
    talk.say("ben", "Water the soil in the morning,", after=30, mentions=("ann",))
    talk.say("ben", "never the leaves.", after=10)
    talk.say("ann", "thank you ben_k, works now", after=300)
    card = talk.card()
    assert card.question == "I am trying to grow basil on the balcony\nHow do I keep it from wilting?"
    assert card.answers[0].text == "Water the soil in the morning,\nnever the leaves."


def test_the_answer_that_was_marked_comes_before_the_longer_one(talk: Talk) -> None:
    asked = talk.say("ann", "How do I keep basil from wilting?")
    talk.say("cyd", "You could put the whole pot into a bucket of water for an hour or so.", reply_to=asked)
    talk.say("ben", "Water the soil in the morning.", reply_to=asked, reactions=(("✅", 2),))
    card = talk.card()
    assert [answer.author for answer in card.answers] == ["ben", "cyd"]
    assert ("accepted", 2) in card.answers[0].reasons


def test_an_answer_after_which_the_asker_was_still_stuck_is_worth_less() -> None:
    helped, stuck = Talk(), Talk()
    for talk, outcome in ((helped, "thanks, that worked"), (stuck, "that didn't work, same error")):
        answered(talk, *BASIL, outcome=outcome)
    (best,) = helped.mined().cards
    worse = stuck.mined().cards
    assert not worse or worse[0].score < best.score - 0.3


def test_quotes_are_cut_and_what_a_question_leans_on_is_its_input(talk: Talk) -> None:
    first = talk.say("cyd", "I water my basil with cold tea every evening.")
    answered(
        talk,
        "> with cold tea\nWhy does that make the leaves fall off?",
        "Because tea is acid, and the roots cannot take up iron then.",
        reply_to=first,
    )
    card = talk.card()
    assert card.question == "Why does that make the leaves fall off?"
    assert card.input == "I water my basil with cold tea every evening."


def test_what_one_person_answers_bit_by_bit_is_one_answer(talk: Talk) -> None:
    talk.say("ann", "How do I keep basil from wilting?")
    talk.say("ben", "Ann: water the soil in the morning", after=20)
    talk.say("ann", "only the soil, never the leaves", after=20)
    talk.say("ben", "Ann: and give it some shade at noon", after=20)
    talk.say("ann", "ben_k: thank you!", after=20)
    assert talk.card().answers[0].text == "water the soil in the morning\nand give it some shade at noon"


def test_what_is_said_to_somebody_else_in_between_is_no_part_of_an_answer(talk: Talk) -> None:
    talk.say("cyd", "My spade is blunt.")
    talk.say("ann", "How do I keep basil from wilting?")
    talk.say("ben", "cyd: take a file, along the edge", after=20)
    talk.say("ben", "Ann: water the soil in the morning", after=20)
    talk.say("ann", "ben_k: thank you!", after=20)
    assert talk.card().answers[0].text == "water the soil in the morning"


def test_another_question_of_the_asker_has_answers_of_its_own(talk: Talk) -> None:
    talk.say("ann", "How do I keep basil from wilting?")
    talk.say("ben", "Ann: water the soil of the basil, it wilts from wet leaves")
    talk.say("ann", "ben_k: thanks!")
    talk.say("ann", "Now that it lives, which pot should I take for it on a balcony in the sun?")
    talk.say("ben", "Ann: a large one of clay, it dries out slower")
    talk.say("ann", "ben_k: thanks, that worked")
    cards = {card.question[:3]: card.answers[0].text for card in talk.mined().cards}
    assert cards["How"] == "water the soil of the basil, it wilts from wet leaves"


def test_what_a_helper_asks_back_is_no_question_of_its_own(talk: Talk) -> None:
    talk.say("ann", "How do I keep basil from wilting?")
    talk.say("ben", "Ann: which window does it stand at, to the south or to the north?")
    talk.say("ann", "ben_k: it stands at the south window, in the sun from ten to four")
    talk.say("ben", "Ann: then water the soil twice a day, and basil keeps from wilting")
    talk.say("ann", "ben_k: thanks!")
    assert [card.question for card in talk.mined().cards] == ["How do I keep basil from wilting?"]


def test_a_question_that_begins_with_i_stands_by_itself(talk: Talk) -> None:
    first = talk.say("cyd", "The weather is going to be fine.")
    answered(talk, "I have basil that wilts, how do I keep it alive?", BASIL[1], reply_to=first)
    assert talk.card().input == ""


def test_an_answer_that_comes_late_and_says_to_whom_by_name_only_is_worth_less() -> None:
    soon, late = Talk(), Talk()
    for talk, after in ((soon, 60), (late, 3600)):
        talk.say("ann", "How do I keep basil from wilting on a balcony?")
        talk.say("ben", "Ann: water the soil of the basil in the morning", after=after)
        talk.say("ann", "ben_k: thanks!")
    assert soon.card().score > max((card.score for card in late.mined().cards), default=0.0) + 0.1


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("how are you all doing today?", "very well, thank you for asking so kindly"),
        ("who wants to play chess tonight?", "me, I will be there at nine o'clock sharp"),
        ("my girlfriend left me, what should I do now?", "You should talk to her about what happened."),
        ("co tam u was słychać dzisiaj?", "wszystko dobrze, właśnie wróciłem z pracy do domu"),
        ("is the server down right now?", "yes, it is down for me too"),
    ],
)
def test_small_talk_private_matters_and_what_passes_stay_out(talk: Talk, question: str, answer: str) -> None:
    answered(talk, question, answer)
    assert talk.mined().cards == []


@pytest.mark.parametrize(
    "answer",
    [
        "no idea, sorry about that",
        "idk lol",
        "Which version of it do you have?",
        "um, the calendar says when it rains, but I cannot find anything about basil in it",
        "herbs are not supported here, #gardening for that",
        "please give details when you ask, which pot and how much water",
    ],
)
def test_what_only_looks_like_an_answer_is_none(talk: Talk, answer: str) -> None:
    asked = talk.say("ann", BASIL[0])
    talk.say("ben", answer, reply_to=asked)
    assert talk.mined().cards == []


@pytest.mark.parametrize(
    ("question", "outcome", "reasons"),
    [
        ("Jak ustawić podlewanie bazylii, żeby nie więdła?", "dzięki, działa", {"thanked", "solved"}),
        ("hejka, wie ktoś czym podlewac bazylie", "dziekuje bardzo, pomoglo", {"thanked", "solved"}),
        ("Mam problem z bazylią, więdnie mi na balkonie", "faktycznie, udało się!", {"solved"}),
        ("do czego służy ta doniczka z dziurką?", "uratowałaś mnie", {"thanked"}),
        ("Mógłby ktoś podpowiedzieć, gdzie postawić bazylię", "dziękówka :)", {"thanked"}),
    ],
)
def test_polish_talk_is_understood(talk: Talk, question: str, outcome: str, reasons: set[str]) -> None:
    answered(talk, question, "Ustaw zegar na szósty rano i wpisz pięć minut.", outcome=outcome)
    assert reasons <= {reason for reason, _ in talk.card().answers[0].reasons}


@pytest.mark.parametrize("outcome", ["dzięki temu nie wiem nic", "a ty?", "nadal więdnie, nic nie dało"])
def test_polish_words_that_look_like_thanks_are_none(talk: Talk, outcome: str) -> None:
    answered(talk, "Jak ustawić podlewanie bazylii, żeby nie więdła?", BASIL[1], outcome=outcome)
    reasons = {reason for card in talk.mined().cards for reason, _ in card.answers[0].reasons}
    assert not reasons & {"thanked", "solved"}


def test_who_helps_and_asks_back_by_name_is_not_taken_for_an_asker(talk: Talk) -> None:
    talk.say("ben", "Every evening my basil hangs its leaves and looks dead")
    talk.say("ann", "ben_k: press the soil, is it dry? what does the saucer hold, water or nothing at all?")
    talk.say("ben", "Ann: the saucer holds nothing at all, and the soil is dry as dust")
    assert talk.mined().cards == []


def test_what_is_said_after_the_asker_asked_on_answers_that_and_not_the_first_question(talk: Talk) -> None:
    talk.say("ann", "How do I keep basil from wilting?")
    talk.say("ben", "Ann: water the soil in the morning, never the leaves of the basil")
    talk.say("ann", "ben_k: thanks!")
    talk.say("ann", "so why does the basil in the shop never wilt?", after=20)
    talk.say("cyd", "Ann: because that basil is two weeks old and thrown away after", after=20)
    talk.say("ann", "ah, that makes sense", after=20)
    card = next(card for card in talk.mined().cards if card.question == BASIL[0])
    assert [answer.author for answer in card.answers] == ["ben"]


def test_an_answer_that_begins_by_asking_is_worth_less() -> None:
    asking, telling = Talk(), Talk()
    for one, opening in ((asking, "Ann: which pot does it stand in? "), (telling, "Ann: ")):
        one.say("ann", BASIL[0])
        one.say("ben", f"{opening}the leaves wilt when they are wet")
        one.say("ben", "water the soil in the morning", after=10)
        one.say("ann", "thanks, that worked")
    assert telling.card().score > asking.card().score + 0.05


def test_who_thanks_and_says_that_it_was_of_no_use_is_still_stuck(talk: Talk) -> None:
    answered(talk, *BASIL, outcome="Thanks! I'd looked in there, but neither of them does that")
    reasons = {reason for card in talk.mined().cards for reason, _ in card.answers[0].reasons}
    assert "thanked" not in reasons


def test_an_answer_that_no_link_ties_to_its_question_needs_more_that_speaks_for_it() -> None:
    linked, named = Talk(), Talk()
    asked = linked.say("ann", BASIL[0])
    linked.say("ben", BASIL[1], reply_to=asked)
    named.say("ann", BASIL[0])
    named.say("ben", "Ann: water the soil of the basil in the morning, never the leaves")
    assert linked.card().score < 0.6
    assert named.mined().cards == []
    named.say("ann", "ben_k: thanks, that worked")
    assert named.card().score > 0.7


def test_what_was_true_when_it_was_said_is_worth_less_than_what_stays_true() -> None:
    lasting, passing = Talk(), Talk()
    for one, answer in (
        (lasting, "the page needs a cookie, allow it"),
        (passing, "seems fine now, try it again"),
    ):
        answered(one, "Why does the page of the garden show error 500?", answer)
    assert lasting.card().score > passing.card().score + 0.05


# --- cards ---


def test_the_same_question_asked_otherwise_is_one_card_with_all_phrasings(talk: Talk) -> None:
    answered(talk, "How do I keep basil from wilting on the balcony?", BASIL[1])
    answered(
        talk,
        "how can I keep basil on my balcony from wilting",
        "Give it shade at noon and feed it weekly.",
        "cyd",
    )
    card = talk.card()
    assert [one.question for one in card.phrasings] == ["how can I keep basil on my balcony from wilting"]
    assert len(card.answers) == 2
    assert set(card.voices) == {"ann", "ben", "cyd"}


def test_the_best_comes_first(talk: Talk) -> None:
    asked = talk.say("ann", "Which pot should I take for rosemary?")
    talk.say("ben", "Take a clay pot, it dries out faster.", reply_to=asked, reactions=(("👍", 1),))
    answered(talk, *BASIL)
    scores = [card.score for card in talk.mined().cards]
    assert len(scores) == 2 and scores[0] > scores[1]


def test_names_and_personal_data_are_masked_and_ordinary_words_stay(talk: Talk) -> None:
    answered(
        talk,
        "How do I keep basil from wilting? Dora said will power is enough.",
        "Ann: ask ben_k or write to ben.k@garden.org, and water the soil.",
    )
    card = talk.card()
    assert card.question == "How do I keep basil from wilting? [name] said will power is enough."
    assert card.answers[0].text == "ask [name] or write to [e-mail], and water the soil."


def test_of_members_who_opted_out_no_word_is_taken(talk: Talk) -> None:
    answered(talk, *BASIL)
    mined = talk.mined(opted_out=frozenset({"ben"}))
    assert mined.cards == []
    assert mined.left_out == {"members who opted out": 1}


def test_bots_neither_ask_nor_answer(talk: Talk) -> None:
    asked = talk.say("ann", BASIL[0])
    talk.say("ben", BASIL[1], reply_to=asked, is_bot=True, reactions=(("✅", 2),))
    assert talk.mined().cards == []


def test_the_same_talk_gives_the_same_cards(talk: Talk) -> None:
    for number in range(30):
        answered(
            talk,
            f"How do I repot the plant number {number}?",
            f"Take a pot of {number + 3} litres and new soil.",
        )
    assert talk.mined() == talk.mined()


def test_a_text_that_is_all_quote_says_nothing() -> None:
    assert cues.without_quotes("> a\n> b") == ""
    assert cues.without_quotes("> a\nb > a") == "b > a"


# --- interruptions ---


def long_talk(questions: int) -> Talk:
    talk = Talk()
    things = ("basil", "parsley", "thyme", "sage", "dill", "mint")
    for number in range(questions):
        thing = f"{things[number % 6]} of row {number}"
        answered(talk, f"How do I keep the {thing} from wilting?", f"Water it in the morning, {number} cups.")
    return talk


def test_what_was_noted_of_a_talk_is_not_mined_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "STRETCH", 30)
    talk = long_talk(20)
    whole = talk.mined()
    notes = Notes(tmp_path, "hash")
    assert talk.mined(notes=notes).cards == whole.cards
    silent = [replace(message, text="hm") for message in talk.messages[:30]]
    again = mine([*silent, *talk.messages[30:]], NAMES, notes=notes)
    assert again.cards == whole.cards
    assert (again.messages, again.threads, again.questions) == (60, whole.threads, whole.questions)


@pytest.mark.parametrize(
    "tear", [lambda line: line[:-40], lambda line: line.replace('"method": ', '"method": 9')]
)
def test_a_torn_or_foreign_note_is_mined_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tear: Callable[[str], str]
) -> None:
    monkeypatch.setattr(cards, "STRETCH", 30)
    talk = long_talk(20)
    notes = Notes(tmp_path, "hash")
    whole = talk.mined(notes=notes)
    (path,) = tmp_path.rglob("*.jsonl")
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first + tear(second))
    assert talk.mined(notes=notes).cards == whole.cards
    assert path.read_text().splitlines(keepends=True) == [first, second]


def test_the_same_file_noted_by_two_processes_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "STRETCH", 30)
    talk = long_talk(20)
    notes = Notes(tmp_path, "hash")
    whole = talk.mined(notes=notes)
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_text("".join(2 * line for line in path.read_text().splitlines(keepends=True)))
    again = talk.mined(notes=notes)
    assert (again.messages, again.cards) == (whole.messages, whole.cards)


def test_notes_are_for_one_user_only_and_deleted_in_time(tmp_path: Path) -> None:
    notes = Notes(tmp_path, "hash")
    notes.write(Stretch(messages=1), 0)
    (path,) = tmp_path.rglob("*.jsonl")
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0
    delete_old(tmp_path, path.stat().st_mtime + KEPT.total_seconds() - 1)
    assert path.exists()
    delete_old(tmp_path, path.stat().st_mtime + KEPT.total_seconds() + 1)
    assert not path.exists()


def test_whoever_opts_out_while_an_import_is_interrupted_is_left_out_of_what_was_noted(
    talk: Talk, tmp_path: Path
) -> None:
    answered(talk, *BASIL)
    notes = Notes(tmp_path, "hash")
    assert talk.mined(notes=notes).cards
    assert talk.mined(notes=notes, opted_out=frozenset({"ben"})).cards == []
