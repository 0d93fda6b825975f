"""A run as a page that a person reads: what it learnt from, how it went, what it was found to be, and why.

`data/reports/run-N/` holds `report.html` and, in Polish, `report.pl.html`, each one file that opens
offline, `curves.png` and `metrics.png` to show elsewhere, and `report.json` with everything in it. All of it
is drawn from the record and the frozen dataset, so it can be written again at any time. Every text in it was
somebody's, and is shown as text, never as markup.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import rating_results
from feedback.database import Database
from feedback.errors import NotFound
from feedback.rating_results import Results
from feedback.tables import Adapter, Community, Dataset, Evaluation, Pair, Review, Run
from feedback.text import kept_said
from feedback.words import Language
from training import files
from training.adapters import registry
from training.data import retrieval
from training.data.hygiene.rule_texts import reason_said, rule_said
from training.data.pair_files.reading import read_pairs
from training.errors import PairsError, TrainingError
from training.examination import bootstrap, reasons
from training.examination.comparisons import RIGHTLY, RIGHTNESS, SEED, is_lost
from training.examination.metrics import MEASURED, METRICS
from training.examination.results import Answer, Examined, by_group, means, restored
from training.run import charts, lifecycle, name_texts
from training.run.report_texts import SUBJECTS, Say

PAGES: Final[Mapping[Language, str]] = {"en": "report.html", "pl": "report.pl.html"}
DATA: Final = "report.json"
SAMPLES: Final = 12
"""Pairs shown of those that a run learnt from."""
COUNTED: Final = (
    "pairs",
    "packaged",
    "languages",
    "task_types",
    "grouped_by",
    "filter",
    "turns",
    "reviews",
    "left_out",
    "seed",
    "validation_share",
)


def page(data: Path, run_id: int, language: Language = "en") -> Path:
    """Where the report of a run lies in that language, once it is written."""
    return data / lifecycle.REPORTS / f"run-{run_id}" / PAGES[language]


async def newest(database: Database) -> int:
    """The last run that came to a verdict. Raises NotFound."""
    last = (
        select(Run.id).where(col(Run.state).in_(lifecycle.WITH_VERDICT)).order_by(col(Run.id).desc()).limit(1)
    )
    async with database.session(read_only=True) as session:
        found = (await session.exec(last)).one_or_none()
    if found is None:
        raise NotFound("run", "with a verdict", "`thumbloop retrain` makes one.")
    return found


async def write(database: Database, data: Path, run_id: int) -> Path:
    """Write the report of a run with a verdict in every language, replacing any; its English page.

    Raises NotFound for a run without a verdict, and TrainingError when it cannot be written.
    """
    content = await _content(database, data, run_id)
    place = page(data, run_id).parent
    with files.faults_explained("Writing the report to", place, TrainingError):
        await asyncio.to_thread(_write, place, content)
    return page(data, run_id)


async def ready(
    database: Database, data: Path, run_id: int, language: Language = "en", *, anew: bool = False
) -> Path:
    """The page of a run in that language, written if it is not there, or `anew`. Raises as `write`.

    A page that lies there but tells of another run of that number, as after a database was recreated, is no
    report of this one; least of all where this one was stopped or failed. Nor is one from before people
    rated its answers.
    """
    async with database.session(read_only=True) as session:
        run = await _with_verdict(session, run_id)
        rated = await rating_results.find(session, run_id=run_id)
    if anew or not await asyncio.to_thread(_tells_of, page(data, run_id).parent, run, _rated(rated, "en")):
        await write(database, data, run_id)
    return page(data, run_id, language)


def forget(data: Path, turn_ids: Iterable[int]) -> list[int]:
    """Remove every report that quotes one of these turns; the runs whose reports are gone.

    Once the record has forgotten the turns, too, such a report can be written again, without them.
    """
    forgotten = set(turn_ids)
    removed = []
    for place in sorted((data / lifecycle.REPORTS).glob("run-*")):
        try:
            quoted = set(json.loads((place / DATA).read_bytes())["turns"])
        except (OSError, ValueError, KeyError, TypeError):
            quoted = forgotten  # what cannot be read might quote anybody
        if quoted & forgotten:
            shutil.rmtree(place, ignore_errors=True)
            removed.append(int(place.name.removeprefix("run-")))
    return removed


async def _with_verdict(session: AsyncSession, run_id: int) -> Run:
    """The run of that number. Raises NotFound for one without a verdict: it was stopped, or it failed."""
    run = await lifecycle.find(session, run_id)
    if run.state not in lifecycle.WITH_VERDICT:
        raise NotFound(
            "report of run", run_id, f"It is {run.state}, and only a run with a verdict has a report."
        )
    return run


def _tells_of(place: Path, run: Run, rated: dict[str, Any]) -> bool:
    """Whether the report in that folder is whole, and of that very run with what people gave it since."""
    try:
        told = json.loads((place / DATA).read_bytes())
        times = (told["run"]["started_at"], told["run"]["finished_at"])
        ratings_told = told.get("ratings", {})
    except (OSError, ValueError, KeyError, TypeError):
        return False
    told_all = times == _times(run) and ratings_told == json.loads(
        files.canonical_json(lifecycle.storable(rated))
    )
    return told_all and all((place / name).is_file() for name in PAGES.values())


def _rated(found: Results | None, language: Language) -> dict[str, Any]:
    """What people found who rated the run's answers blind, as plain data; empty where nobody has."""
    if found is None:
        return {}
    return asdict(found) | {
        "sure": [
            {"finding": finding, "rival": rival, "said": found.sentence(scale, rival, language)}
            for finding in ("better", "worse")
            for rival in found.differences
            for scale in found.surely(finding, rival)
        ]
    }


def _times(run: Run) -> tuple[str, str]:
    return _moment(run.started_at), _moment(run.finished_at or run.started_at)


async def _content(database: Database, data: Path, run_id: int) -> dict[str, Any]:
    """Everything that the report shows, as data; `_said` says it in a language."""
    async with database.session(read_only=True) as session:
        run = await _with_verdict(session, run_id)
        adapter = (await session.exec(select(Adapter).where(Adapter.run_id == run_id))).one_or_none()
        dataset = await session.get(Dataset, run.dataset_id) if run.dataset_id else None
        rows = (await session.exec(select(Evaluation).where(Evaluation.run_id == run_id))).all()
        labels = {row.subject: row.adapter_id for row in rows}
        current = await session.get(Adapter, labels["current"]) if labels.get("current") else None
        continued = adapter.continues_id if adapter else None
        parent = await session.get(Adapter, continued) if continued else None
        examination = select(Pair.turn_id).where(
            Pair.dataset_id == run.dataset_id, Pair.split == "examination"
        )
        held_out = set((await session.exec(examination)).all())
        communities = {
            f"community {community.id}": community.name
            for community in (await session.exec(select(Community))).all()
            if community.name
        }
        reviewers = {
            reviewer: number for reviewer, number in (await session.exec(_reviewers(run.dataset_id))).all()
        }
        rated = await rating_results.find(session, run_id=run_id)
    by_subject = {row.subject: restored(row.subject, row.metrics, row.answers) for row in rows}  # type: ignore[arg-type]
    examined = [by_subject[subject] for subject in SUBJECTS if subject in by_subject]
    known = adapter.metrics if adapter else {}
    samples = await asyncio.to_thread(_samples, data, dataset)
    noted = await asyncio.to_thread(_noted, data, dataset)
    confidence = known.get("gate", {}).get("confidence", 0.95)
    answers = _lost_first(_side_by_side(examined))
    return {
        "run": {
            "number": run.id,
            "state": run.state,
            "verdict": run.verdict,
            "started_by": run.started_by,
            "started_at": _times(run)[0],
            "finished_at": _times(run)[1],
            "settings": {
                name: value
                for name, value in run.settings.items()
                if name not in ("plan", "preferences", "measured", lifecycle.REASONS)
            },
        },
        "plan": run.settings.get("plan", {}),
        "preferences": run.settings.get("preferences", {}),
        "adapter": {
            "label": registry.label(adapter) if adapter else run.adapter_name,
            "state": adapter.state if adapter else "",
            "folder": adapter.folder if adapter else "",
            "content_hash": adapter.content_hash if adapter else "",
            "base_model": adapter.base_model if adapter else "",
            "base_revision": adapter.base_revision if adapter else "",
            "compared_with": registry.label(current) if current else registry.BASE,
            "continues": registry.label(parent) if parent else "",
        },
        "dataset": {
            "label": f"{dataset.name}@{dataset.version}" if dataset else "",
            "content_hash": dataset.content_hash if dataset else "",
            "manifest": _counted(dataset.manifest) if dataset else {},
            "reviewers": reviewers,
        },
        "reasons": reasons.kept(
            run.settings.get(lifecycle.REASONS)
            or known.get("reasons")
            or [run.verdict.partition(": ")[2] or run.verdict]
        ),
        "hygiene": dataset.manifest if dataset else {},
        "training": known.get("training", {}),
        "symptoms": known.get("symptoms", []),
        "gate": known.get("gate", {}),
        "counts": known.get("counts", {}),
        "comparisons": known.get("comparisons", []),
        "confidence": confidence,
        "metrics": {one.subject: one.metrics for one in examined},
        "differences": await asyncio.to_thread(_differences, examined, confidence),
        "groups": {
            one.subject: {_named(group, communities): found for group, found in by_group(one).items()}
            for one in examined
        },
        "without_notes": {
            one.subject: {"questions": len(one.without_notes), **means(one.without_notes)}
            for one in examined
            if one.without_notes
        },
        "ratings": rated,
        "answers": answers,
        "samples": samples,
        "turns": sorted(
            held_out | noted | {one["turn"] for one in [*answers, *samples] if one["turn"] is not None}
        ),
    }


def _said(content: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """The content as plain data, with what has to be said in that language."""
    return {
        **content,
        "reasons": [one.say(language) for one in content["reasons"]],
        "symptoms": [{**one, **reasons.symptom_said(one, language)._asdict()} for one in content["symptoms"]],
        "meanings": {name: one.meaning.say(language) for name, one in MEASURED.items()},
        "hygiene": _left_out(content["hygiene"], Say(language)),
        "plan": content["plan"]
        and {
            **content["plan"],
            "reasons": [kept_said(one, language) for one in content["plan"].get("reasons", ())],
        },
        "ratings": _rated(content["ratings"], language),
    }


def _named(group: str, communities: Mapping[str, str]) -> str:
    return f"{group} ({communities[group]})" if group in communities else group


def _reviewers(dataset_id: int | None) -> Any:
    """Who approved how many of a dataset's pairs."""
    return (
        select(Review.reviewer, func.count())
        .join(Pair, col(Pair.review_id) == Review.id)
        .where(Pair.dataset_id == dataset_id)
        .group_by(Review.reviewer)
        .order_by(func.count().desc(), Review.reviewer)
    )


def _counted(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest counts; what it quotes of people's texts is not repeated."""
    return {name: manifest[name] for name in COUNTED if name in manifest}


def _left_out(manifest: Mapping[str, Any], say: Say) -> dict[str, str]:
    """Why pairs were left out or changed, with their number; what concerned none is not said."""
    found = {
        reason_said(reason, say.language): say("{number} left out", number=number)
        for reason, number in manifest.get("left_out", {}).items()
        if number and reason != "hygiene"  # its rules are said one by one
    }
    for rule, said in manifest.get("hygiene", {}).get("rules", {}).items():
        counts = [
            say(called, number=said[did])
            for did, called in (("dropped", "{number} left out"), ("changed", "{number} mended"))
            if said.get(did)
        ]
        if counts:
            found[rule_said(rule, say.language)] = ", ".join(counts)
    return found


def _samples(data: Path, dataset: Dataset | None) -> list[dict[str, Any]]:
    """Pairs evenly from all over the training split; none when its file is gone or no longer readable."""
    if dataset is None:
        return []
    pairs = dataset.manifest.get("pairs", {}).get("train", 0)
    try:
        rows = islice(read_pairs(data / dataset.folder / "train.jsonl"), 0, None, max(1, pairs // SAMPLES))
        return [
            {
                "question": pair.instruction,
                "input": pair.input,
                "answer": pair.output,
                "task_type": pair.task_type,
                "language": pair.language,
                "turn": (pair.lineage or {}).get("turn"),
            }
            for pair in islice(rows, SAMPLES)
        ]
    except (PairsError, OSError):
        return []


def _noted(data: Path, dataset: Dataset | None) -> set[int]:
    """The turns whose answers stood in the notes of the examination: answers may repeat them."""
    if dataset is None:
        return set()
    try:
        pairs = list(read_pairs(data / dataset.folder / "examination.jsonl"))
    except (PairsError, OSError):
        return set()
    return {note.turn for pair in pairs for note in retrieval.notes(pair) if note.turn is not None}


def _side_by_side(examined: Sequence[Examined]) -> list[dict[str, Any]]:
    """Each question with everybody's answer, and each answer's own figures."""
    asked: list[dict[str, Any]] = []
    for number, first in enumerate(_answered(examined[0]) if examined else ()):
        everyone = {one.subject: _answered(one)[number] for one in examined}
        without = {one.subject: _asked_again(one, first) for one in examined}
        asked.append(
            {
                "number": number + 1,
                "question": first.question,
                "reference": first.reference,
                "kind": first.kind,
                "language": first.language,
                "task_type": first.task_type,
                "turn": first.turn,
                "community": first.community,
                "examination": first.examination,
                "answers": {
                    subject: {
                        "text": answer.answer,
                        "without_notes": without[subject],
                        "loss": answer.loss,
                        "rank": int(answer.rank) if math.isfinite(answer.rank) else None,
                        "of": answer.competitors + 1,
                        "values": answer.values,
                        "reasons": answer.reasons,
                    }
                    for subject, answer in everyone.items()
                },
            }
        )
    return asked


def _asked_again(examined: Examined, asked: Answer) -> str | None:
    """What the subject said to the same question without notes; None where it was not asked so."""
    return next(
        (
            answer.answer
            for answer in examined.without_notes
            if (answer.turn, answer.question) == (asked.turn, asked.question)
        ),
        None,
    )


def _lost_first(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The questions that were answered rightly before and are not now come first, and say so by `lost`."""
    for one in asked:
        one["lost"] = is_lost(
            {subject: answer["values"].get(RIGHTLY) for subject, answer in one["answers"].items()}
        )
    return sorted(asked, key=lambda one: not one["lost"])


def _answered(examined: Examined) -> list[Any]:
    return [*examined.answers, *(one for one in examined.packaged if one.kind == "unanswerable")]


def _differences(examined: Sequence[Examined], confidence: float) -> dict[str, dict[str, dict[str, float]]]:
    """By rival and metric: the difference of the candidate with its interval, where questions have values."""
    figures = {one.subject: one.figures for one in examined}
    ours = figures.get("candidate")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for rival, theirs in figures.items():
        if ours is None or rival == "candidate":
            continue
        found[rival] = {
            metric: asdict(
                bootstrap.paired(
                    ours.values[metric],
                    theirs.values[metric],
                    ours.weights.get(metric),
                    confidence=confidence,
                    seed=SEED,
                )
            )
            for metric in METRICS
            if metric in ours.values and len(theirs.values.get(metric, ())) == len(ours.values[metric])
        }
    return found


def _write(place: Path, content: dict[str, Any]) -> None:
    """The whole folder, or nothing of it."""
    with files.part_folder(place) as part:
        charts.save(part, content)
        for language, name in PAGES.items():
            (part / name).write_text(_html(_said(content, language), language), encoding="utf-8")
        (part / DATA).write_bytes(files.canonical_json(lifecycle.storable(_said(content, "en"))))
        files.replace_folder(part, place)


def _html(content: Mapping[str, Any], language: Language) -> str:
    """The page of what `_said` gives: one file, with its styles, script and pictures inside."""
    from jinja2 import Environment, StrictUndefined

    folder = resources.files("training.run")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": _figure, "signed": _signed, "duration": _duration}
    say = Say(language)
    template = environment.from_string(folder.joinpath("report.html.jinja").read_text(encoding="utf-8"))
    script = folder.joinpath("report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(
        **content,
        language=language,
        say=say,
        called=partial(name_texts.called, language=language),
        shown=partial(name_texts.shown, language=language),
        every_setting=name_texts.flat({**content["run"]["settings"], "gate": content["gate"]}),
        names={subject: say(name) for subject, name in SUBJECTS.items()},
        figures=MEASURED,
        scales=rating_results.SCALES,
        deciding=[RIGHTNESS, RIGHTLY],
        moved=_moved,
        subjects=[subject for subject in SUBJECTS if subject in content["metrics"]],
        pictures=charts.drawn(content, language),
        script=script,
        script_hash=digest,
    )


def _figure(value: Any) -> str:
    """A figure for people; a dash for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or (value == int(value) and abs(value) >= 1000):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.1f}" if abs(value) >= 20 else f"{value:.3f}"


def _signed(value: float) -> str:
    return (
        "–"
        if not math.isfinite(value)
        else ("+" if value > 0 else "−" if value < 0 else "") + _figure(abs(value))
    )


def _moved(metric: str, found: Mapping[str, float]) -> str:
    """ "better" or "worse" where the interval leaves no doubt, else ""."""
    better = METRICS[metric].better
    if better == "neither" or not (found["low"] > 0 or found["high"] < 0):
        return ""
    return "better" if (found["high"] < 0) == (better == "less") else "worse"


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
