"""What a verdict says, in the reader's language."""

from __future__ import annotations

import json
import re
from string import Formatter

import pytest

from feedback.tables import Run
from feedback.words import Language
from training.examination import gate, reasons
from training.examination.comparisons import DECIDING, JUDGE, RIGHTLY, WATCHED, Comparison, Figures, Finding
from training.examination.reasons import SENTENCES, SYMPTOMS, Reason
from training.run import lifecycle
from training.settings import GateSettings

FIGURES = {
    subject: Figures({}, {DECIDING["recall"]: [1.0, 0.5], RIGHTLY: [1.0, 0.0]})
    for subject in ("base", "candidate")
}


def _verdict(*found: tuple[str, Finding]) -> gate.Verdict:
    made = [
        Comparison("base", metric, 0.5, 0.25, 0.25, 0.125, 0.375, 0.02, 20, finding)
        for metric, finding in found
    ]
    return gate.verdict(FIGURES, made, [], GateSettings())


@pytest.mark.parametrize("key", SENTENCES)
def test_a_sentence_fills_in_the_same_in_both_languages(key: str) -> None:
    parts = [
        sorted(name for _, name, _, _ in Formatter().parse(text) if name)
        for text in (SENTENCES[key].en, SENTENCES[key].pl)
    ]
    assert set(parts[0]) == set(parts[1])


@pytest.mark.parametrize("language", ["en", "pl"])
@pytest.mark.parametrize("metric", [DECIDING["recall"], RIGHTLY, JUDGE.format("base"), *WATCHED])
def test_every_finding_is_said_in_both_languages_from_what_the_record_keeps(
    metric: str, language: Language
) -> None:
    for finding in ("better", "worse", "worse within limits", "unsure", "unknown", "no worse"):
        if metric in (DECIDING["recall"], RIGHTLY) and finding in ("worse within limits", "no worse"):
            continue
        verdict = _verdict((metric, finding), (DECIDING["recall"], "better"))
        kept = reasons.kept(json.loads(json.dumps(lifecycle.storable(reasons.stored(verdict.reasons)))))
        said = reasons.verdict(verdict.promote, kept, language)
        assert not re.search(r"[{}]", said)
        assert said.startswith(
            {"en": ("Promoted:", "Rejected:"), "pl": ("Przyjęty:", "Odrzucony:")}[language]
        )
        if language == "en":
            assert said == str(verdict)


def test_polish_names_figures_and_rivals_in_polish() -> None:
    said = reasons.verdict(
        False, _verdict((DECIDING["recall"], "better"), ("general_loss", "worse")).reasons, "pl"
    )
    assert said.startswith("Odrzucony: Na 2 pytania dobrze odpowiada na 1 (przedtem: 1)")
    assert "strata na wiedzy ogólnej, 0.500 wobec 0.250 (ma model bazowy)" in said
    assert not re.search(r"\b(the|and|of|with)\b", said)


@pytest.mark.parametrize("name", SYMPTOMS)
def test_a_symptom_is_said_in_the_reader_s_language_and_an_unknown_one_as_it_was_kept(name: str) -> None:
    kept = {"name": name, "meaning": "it was kept", "remedy": "Try.", "figures": ["90 % of them"]}
    assert reasons.symptom_said(kept, "en") == (name, "it was kept", ["90 % of them"], "Try.")
    called, meaning, remedy = (text.pl for text in SYMPTOMS[name])
    assert reasons.symptom_said(kept, "pl") == (called, meaning, ["90 % of them"], remedy)
    other = kept | {"name": "a symptom of another version"}
    assert reasons.symptom_said(other, "pl") == (other["name"], "it was kept", ["90 % of them"], "Try.")


def test_a_run_s_verdict_is_said_in_polish_and_what_an_older_run_said_stays_readable() -> None:
    kept = reasons.stored([Reason("too few elsewhere", {"examination": "recall", "number": 3})])
    run = Run(state="promoted", verdict="Promoted: it is.", settings={lifecycle.REASONS: kept})
    assert lifecycle.verdict(run, "pl").startswith("Przyjęty: Pytany innymi słowami")
    older = Run(state="promoted", verdict="Promoted: it is.", settings={})
    assert {lifecycle.verdict(older, language) for language in ("en", "pl")} == {"Promoted: it is."}  # type: ignore[arg-type]
    assert [str(one) for one in reasons.kept(["It answers more rightly."])] == ["It answers more rightly."]
