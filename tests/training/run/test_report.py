"""The report: a run on one page that opens offline, shows texts as texts, and is whole or not there."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from feedback import consent, ratings
from feedback.database import Database
from feedback.errors import NotFound
from feedback.ratings import Scores
from feedback.tables import Dataset, Run
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.training import finished, lessons
from training.data import dataset
from training.errors import TrainingError
from training.examination import reasons
from training.examination.reasons import Reason
from training.run import erasure, lifecycle, name_texts, report, report_texts
from training.settings import GateSettings, TrainingSettings

EVIL = "<script>alert('x')</script> & <img src=x onerror=alert(1)>"
SYMPTOM = {
    "name": "style collapse",
    "meaning": "its answers all look the same",
    "figures": ["90 % begin with the same three words"],
    "remedy": "Train fewer epochs.",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def _page(database: Database, data: Path, run_id: int) -> str:
    return (await report.write(database, data, run_id)).read_text(encoding="utf-8")


async def test_the_page_says_verdict_figures_symptoms_and_what_each_said(
    database: Database, data: Path
) -> None:
    reasons = ["Its loss is below that of the base model.", "Nothing else got worse."]
    curve = [{"step": 1, "loss": 4.0}, {"step": 2, "validation_loss": 3.0}]
    known = {"reasons": reasons, "symptoms": [SYMPTOM], "training": {"pairs": 80, "curve": curve}}
    page = await _page(database, data, await finished.run(database, metrics=known))
    for said in (
        "community@1",
        "Promoted",
        *reasons,
        "90 % begin with the same three words",
        "Train fewer epochs.",
        "Question 3?",
        "The approved answer 3.",
        "What base said 3.",
        "What candidate said 3.",
        "Who am I?",
    ):
        assert said in page
    assert "Two and two?" not in page, "what nobody answered is not among the answers"


@SQLITE
async def test_what_was_right_and_is_wrong_is_counted_and_shown_first(database: Database, data: Path) -> None:
    counts = {"questions": 6, "right": 4, "before": 3, "lost": 1, "rival": "base"}
    run = await finished.run(database, metrics={"counts": counts}, lost="Question 4?")
    page = await _page(database, data, run)
    assert (
        page.index("Question 4?") < page.index("Question 0?")
        and page.count("was right, is wrong</span>") == 1
    )
    assert "of 6 questions answered rightly" in page and "that were right and are wrong" in page


@SQLITE
async def test_what_stands_beside_the_deciding_figure_is_among_the_figures(
    database: Database, data: Path
) -> None:
    page = await _page(database, data, await finished.run(database, judged=0.625))
    for called, shown in (
        ("nearest to its own", "0.500"),
        ("nearest by meaning", "0.500"),
        ("facts", "0.500"),
        ("contradictions", "0.500"),
        ("judge, against the base model", "0.625"),
    ):
        row = page.partition(f'<th scope="row">{called}<small>')[2].partition("</tr>")[0]
        assert shown in row, called
    plain = await _page(database, data, await finished.run(database))
    assert "judge, against the base model" not in plain


@SQLITE
async def test_a_polish_reader_gets_verdict_symptoms_figures_and_answers_in_polish(
    chronicle: Chronicle, data: Path
) -> None:
    sign = Reason("open alike", {"share": 90.0, "usual": 20.0})
    known = {
        "reasons": reasons.stored([Reason("too few elsewhere", {"examination": "recall", "number": 3})]),
        "symptoms": [{**SYMPTOM, "figures": reasons.stored([sign]), "grave": True}],
        "counts": {"questions": 6, "right": 4, "before": 3, "lost": 1, "rival": "base"},
        "training": {"pairs": 80, "curve": [{"step": 1, "loss": 4.0}]},
    }
    run = await finished.run(chronicle.database, metrics=known, lost="Question 4?", noted=2)
    await report.write(chronicle.database, data, run)
    page = (await report.ready(chronicle.database, data, run, "pl")).read_text(encoding="utf-8")
    for said in (
        "Przyjęty: może odpowiadać",
        "Pytany innymi słowami o odpowiedzi, na których był trenowany, nie był oceniany",
        "z 6 pytań z dobrą odpowiedzią, model bazowy → kandydat",
        "Zanik stylu",
        "90 % jego odpowiedzi zaczyna się tymi samymi trzema słowami",
        "Wszystkie jego odpowiedzi wyglądają tak samo",
        "powtarzanie się ↓",
        "Pokaż miary i odpowiedzi bez notatek",
        "było dobrze, jest źle</span>",
        "The approved answer 3.",
    ):
        assert said in page
    # what is left in English are names, and what members and models wrote
    visible = re.sub(r"<(script|style)>.*?</\1>|<details>.*?</details>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\b(the|and|of|with|questions)\b", visible.split("Odpowiedzi obok siebie")[0])
    told = json.loads((report.page(data, run).parent / report.DATA).read_bytes())
    assert told["symptoms"][0]["figures"] == [str(sign)], "machines read English, whoever asked"


def test_every_text_of_the_page_and_its_pictures_has_its_polish() -> None:
    folder = Path(report.__file__).parent
    sources = [folder / "report.html.jinja", folder / "charts.py", folder / "report.py"]
    texts = {
        text
        for source in sources
        for text in re.findall(r'say\("([^"]+)"', source.read_text(encoding="utf-8"))
    }
    assert len(texts) > 80 and not texts - report_texts.POLISH.keys()


def test_every_setting_and_measurement_has_its_polish() -> None:
    settings = {
        **TrainingSettings().model_dump(exclude={"judge_key", "adapters"}),
        "gate": GateSettings().model_dump(),
    }
    packaged = json.loads((resources.files("bot.demo") / "finished" / "run.json").read_bytes())
    told = {*packaged["settings"]["plan"], *packaged["metrics"]["training"]} - {"reasons", "curve"}
    assert not (name_texts.flat(settings).keys() | told) - name_texts.POLISH.keys()


def test_a_setting_that_a_record_holds_as_a_whole_number_reads_as_the_same() -> None:
    assert name_texts.shown(0, "en") == name_texts.shown(0.0, "en") == "0"
    assert name_texts.shown(0.05, "en") == "0.05"


@SQLITE
async def test_a_polish_reader_gets_plan_settings_and_hygiene_s_rules_in_polish(
    database: Database, data: Path
) -> None:
    settings = {
        "rank": 4,
        "notes": True,
        "hygiene": {"same_answer": 0.85},
        "plan": {
            "checkpointing": False,
            "reasons": [{"en": "It is set.", "pl": "Tak ustawiono."}, "As an older version kept it."],
        },
    }
    rules = {"repeated-answer": {"dropped": 8}, "personal-data": {"dropped": 0, "changed": 2}}
    async with database.session() as session:
        frozen = Dataset(name="community", version=1, folder="gone", content_hash="0" * 64)
        frozen.manifest = {"hygiene": {"rules": rules}}
        session.add(frozen)
        await session.flush()
        dataset_id = frozen.id
    known = {"gate": {"min_questions": 5}}
    run = await finished.run(database, metrics=known, settings=settings, dataset_id=dataset_id)
    await report.write(database, data, run)
    page = (await report.ready(database, data, run, "pl")).read_text(encoding="utf-8")
    for said in (
        "<li>Tak ustawiono.</li><li>As an older version kept it.</li>",
        "<dt>aktywacje liczone dwa razy</dt><dd>nie</dd>",
        "<dt>powtarzana odpowiedź</dt><dd>8 pominięto</dd>",
        "<dt>dane osobowe</dt><dd>2 poprawiono</dd>",
        "<dt>rząd <code>rank</code></dt><dd>4</dd>",
        "<dt>notatki <code>notes</code></dt><dd>tak</dd>",
        "<dt>higiena: ta sama odpowiedź od <code>hygiene.same_answer</code></dt><dd>0.85</dd>",
        "<dt>werdykt: najmniej pytań <code>gate.min_questions</code></dt><dd>5</dd>",
    ):
        assert said in page, said
    told = json.loads((report.page(data, run).parent / report.DATA).read_bytes())
    assert told["plan"]["reasons"] == ["It is set.", "As an older version kept it."]


@SQLITE
async def test_a_switch_shows_what_each_said_without_notes_where_there_were_some(
    database: Database, data: Path
) -> None:
    noted = await finished.run(database, noted=2)
    page = (await report.write(database, data, noted)).read_text(encoding="utf-8")
    assert 'id="without-notes"' in page and "The 2 questions that have notes" in page
    assert page.count("What candidate made up.") == 2
    told = json.loads((report.page(data, noted).parent / report.DATA).read_bytes())
    assert told["without_notes"]["candidate"]["questions"] == 2
    plain = await finished.run(database)
    assert 'id="without-notes"' not in (await report.write(database, data, plain)).read_text(encoding="utf-8")


async def test_preferences_that_followed_have_their_own_curve_and_whether_they_helped(
    database: Database, data: Path
) -> None:
    curve = [{"step": 1, "loss": 0.69}, {"step": 2, "validation_loss": 0.5}]
    preference = {"method": "dpo", "examples": 21, "helped": True, "curve": curve}
    known = {"training": {"pairs": 80, "curve": curve, "preference": preference}}
    page = await _page(database, data, await finished.run(database, metrics=known))
    assert "by preferences (DPO, 21 of them): it helped" in page and page.count("<svg") == 5
    alone = await _page(
        database, data, await finished.run(database, metrics={"training": preference | {"curve": curve}})
    )
    assert "preference loss" in alone and alone.count("<svg") == 4


@SQLITE
async def test_the_page_is_one_file_that_loads_nothing(database: Database, data: Path) -> None:
    page = await _page(database, data, await finished.run(database))
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "@import" not in page and "url(http" not in page
    policy = re.search(r"script-src 'sha256-([^']+)'", page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert policy and len(scripts) == 1
    assert base64.b64decode(policy[1]) == hashlib.sha256(scripts[0].encode()).digest()


@SQLITE
async def test_people_s_texts_are_shown_as_text(database: Database, data: Path) -> None:
    known = {"symptoms": [SYMPTOM | {"figures": [EVIL]}], "reasons": [EVIL]}
    page = await _page(database, data, await finished.run(database, questions=[EVIL], metrics=known))
    assert EVIL not in page and "<img" not in page
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)") == 3


async def test_the_data_holds_the_same_for_machines_and_no_number_is_null(
    database: Database, data: Path
) -> None:
    page = await report.write(database, data, await finished.run(database))
    told = json.loads((page.parent / report.DATA).read_text(encoding="utf-8"))
    assert told["run"]["state"] == "promoted" and told["metrics"]["candidate"]["loss"] == 1.5
    assert told["metrics"]["base"]["bleu"] is None
    assert told["turns"] == list(range(1, 1 + finished.QUESTIONS))
    gained = told["differences"]["base"]["loss"]
    assert gained["difference"] == pytest.approx(-2.5) and gained["low"] <= -2.5 <= gained["high"]
    for picture in ("curves.png", "metrics.png"):
        assert (page.parent / picture).read_bytes().startswith(b"\x89PNG")


async def test_samples_and_counts_of_what_it_learnt_from_are_shown(chronicle: Chronicle, data: Path) -> None:
    for number in range(30):
        await chronicle.approved(
            f"What is item {number}?", f"Item {number} is a lamp.", conversation=f"thread {number}"
        )
    built = await dataset.build(
        chronicle.database, data, name="community", settings=lessons.settings(), default_persona="plain"
    )
    run = await finished.run(chronicle.database, dataset_id=built.id)
    page = await report.write(chronicle.database, data, run)
    told = json.loads((page.parent / report.DATA).read_text(encoding="utf-8"))
    trained = {pair.instruction for pair in dataset.load(data, built).train}
    assert 5 < len(told["samples"]) <= report.SAMPLES
    assert {one["question"] for one in told["samples"]} <= trained
    text = page.read_text(encoding="utf-8")
    assert told["samples"][0]["question"] in text and f"Dataset {dataset.label(built)}" in text
    assert sum(told["dataset"]["reviewers"].values()) == 30

    (
        data / built.folder / "train.jsonl"
    ).unlink()  # a pruned or broken dataset is no reason to have no report
    assert (await report.write(chronicle.database, data, run)).exists()


async def test_a_rejected_run_has_a_report_and_one_without_a_verdict_has_none(
    database: Database, data: Path
) -> None:
    assert "Rejected: it does not serve" in await _page(
        database, data, await finished.run(database, state="rejected")
    )
    async with database.session() as session:
        failed = Run(adapter_name="community", started_by="ada", state="failed")
        session.add(failed)
    with pytest.raises(NotFound, match="It is failed, and only a run with a verdict has a report"):
        await report.write(database, data, failed.id or 0)
    with pytest.raises(NotFound):
        await report.write(database, data, 99)


async def test_a_page_of_another_run_with_that_number_is_no_report_of_this_one(
    database: Database, data: Path
) -> None:
    run_id = await finished.run(database)
    old = await report.ready(database, data, run_id)
    async with database.session() as session:
        run = (await session.exec(select(Run).where(Run.id == run_id))).one()
        run.started_at += timedelta(days=1)
        run.finished_at = None
        session.add(run)
    old.write_text("of a run before")
    assert "of a run before" not in (await report.ready(database, data, run_id)).read_text(encoding="utf-8")
    for state in ("running", "cancelled", "failed"):
        async with database.session() as session:
            run = (await session.exec(select(Run).where(Run.id == run_id))).one()
            run.state = state
            session.add(run)
        with pytest.raises(NotFound, match=f"It is {state}, and only a run with a verdict has a report"):
            await report.ready(database, data, run_id)


async def test_the_newest_report_is_that_of_the_last_run_with_a_verdict(database: Database) -> None:
    with pytest.raises(NotFound, match="thumbloop retrain"):
        await report.newest(database)
    last = [await finished.run(database) for _ in range(2)][-1]
    async with database.session() as session:
        session.add(Run(adapter_name="community", started_by="ada", state="cancelled"))
    assert await report.newest(database) == last


@SQLITE
async def test_a_run_of_an_older_version_has_a_report_of_what_it_kept(database: Database, data: Path) -> None:
    """Answers were once kept without values, tokens and kinds."""
    run = await finished.run(database)
    await _strip(database, ("question", "reference", "answer", "loss"))
    assert "What candidate said 3." in await _page(database, data, run)


async def _strip(database: Database, kept: Sequence[str]) -> None:
    from sqlmodel import select

    from feedback.tables import Evaluation

    async with database.session() as session:
        for row in (await session.exec(select(Evaluation))).all():
            answers: list[dict[str, Any]] = [
                {name: answer[name] for name in kept}
                for answer in row.answers
                if answer["kind"] == "held-out"
            ]
            row.answers = answers
            session.add(row)


# --- whole or not there ---


@SQLITE
async def test_a_report_that_cannot_be_written_leaves_nothing_and_says_so(
    database: Database, data: Path
) -> None:
    run = await finished.run(database)
    data.mkdir()
    (data / lifecycle.REPORTS).write_text("in the way", encoding="utf-8")
    with pytest.raises(TrainingError, match="Writing the report to"):
        await report.write(database, data, run)
    assert [path.name for path in data.iterdir()] == [lifecycle.REPORTS]


@SQLITE
async def test_a_report_is_written_once_and_anew_when_asked(database: Database, data: Path) -> None:
    run = await finished.run(database)
    page = await report.ready(database, data, run)
    page.write_text("mine", encoding="utf-8")
    assert (await report.ready(database, data, run)).read_text(encoding="utf-8") == "mine"
    assert "community@1" in (await report.ready(database, data, run, anew=True)).read_text(encoding="utf-8")
    assert [path.name for path in (data / lifecycle.REPORTS).iterdir()] == [f"run-{run}"]


@SQLITE
async def test_what_people_rated_blind_stands_in_the_report_as_soon_as_they_have(
    chronicle: Chronicle, data: Path
) -> None:
    database = chronicle.database
    turns = await chronicle.approved_at_once([f"Question {number}?" for number in range(finished.QUESTIONS)])
    run = await finished.run(database, first_turn=turns[0])
    before = await report.ready(database, data, run)
    assert "Rated blind by people" not in before.read_text(encoding="utf-8")
    async with database.session() as session:
        await ratings.open_round(session, run, by="mo")
        asked = await ratings.next_question(session, "mo")
        assert asked is not None
        scores = [Scores(5, 4, 5) if "candidate" in said else Scores(2, 4, 5) for said in asked.answers]
        await ratings.rate(session, asked.question_id, "mo", scores)
    page = (await report.ready(database, data, run)).read_text(encoding="utf-8")
    assert "Rated blind by people" in page and "1 person gave the answers to 1 question 1 to 5" in page
    told = json.loads((data / lifecycle.REPORTS / f"run-{run}" / report.DATA).read_bytes())
    assert told["ratings"]["figures"]["candidate"]["accuracy"]["mean"] == 5
    before.write_text("mine", encoding="utf-8")
    assert (await report.ready(database, data, run)).read_text(encoding="utf-8") == "mine"


# --- forgetting ---


@SQLITE
async def test_a_report_that_quotes_a_forgotten_turn_is_removed_and_the_others_stay(
    database: Database, data: Path
) -> None:
    first = await finished.run(database, first_turn=1)
    second = await finished.run(database, first_turn=100)
    pages = [await report.write(database, data, run) for run in (first, second)]
    assert report.forget(data, [3, 5000]) == [first]
    assert not pages[0].parent.exists() and pages[1].exists()


@SQLITE
async def test_a_report_that_cannot_be_read_goes_with_the_first_that_is_forgotten(
    database: Database, data: Path
) -> None:
    page = await report.write(database, data, await finished.run(database))
    (page.parent / report.DATA).write_text("{broken", encoding="utf-8")
    assert report.forget(data, []) == [] and page.exists()
    assert report.forget(data, [12345]) and not page.exists()


async def test_a_member_who_asks_to_be_forgotten_is_in_no_report_any_more_not_even_written_anew(
    chronicle: Chronicle, data: Path
) -> None:
    for number in range(12):
        await chronicle.approved(f"Question {number}?", "A lamp.", conversation=f"thread {number}")
    turn = await chronicle.approved("MARMALADE?", "Jam.", conversation="thread of cleo", by="cleo")
    database = chronicle.database
    built = await dataset.build(
        database, data, name="community", settings=lessons.settings(), default_persona="plain"
    )
    run = await finished.run(database, questions=["MARMALADE?"], first_turn=turn, dataset_id=built.id)
    page = await report.write(database, data, run)
    assert "MARMALADE" in page.read_text(encoding="utf-8")
    async with database.session() as session:
        await consent.forget(session, await chronicle.member("cleo"))
    await erasure.carry_out(database, data)
    assert not page.exists()
    assert "MARMALADE" not in await _page(database, data, run)


def test_without_reports_there_is_nothing_to_forget(data: Path) -> None:
    assert report.forget(data, [1]) == []
