"""What the report says besides its verdict and figures, in its reader's language.

The page and its pictures are written in English; here is the Polish of each text. What settings and
measurements are called is in `name_texts`, hygiene's rules in `training.data.hygiene.rule_texts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from feedback.text import Text
from feedback.words import Language

SUBJECTS: Final[Mapping[str, str]] = {
    "base": "base model",
    "current": "in service",
    "candidate": "candidate",
}
"""What the report calls those that were examined."""

POLISH: Final[Mapping[str, str]] = {
    # who and what, as the record names it
    "base model": "model bazowy",
    "in service": "w użyciu",
    "candidate": "kandydat",
    "promoted": "przyjęty",
    "rejected": "odrzucony",
    "retired": "wycofany",
    "recall": "znane z treningu",
    "generalisation": "nowe",
    "unanswerable": "bez odpowiedzi",
    "qa": "zwykła odpowiedź",
    "explanation": "wyjaśnienie",
    "code": "kod",
    "checklist": "lista kroków",
    "not-knowing": "„nie wiem”",
    "language": "język",
    "conversation": "rozmowa",
    "community": "społeczność",
    "rightness": "trafność",
    "better": "lepiej",
    "worse": "gorzej",
    "no worse": "nie gorzej",
    "worse within limits": "gorzej, w granicach",
    "unsure": "niepewne",
    "unknown": "nie wiadomo",
    "train": "trening",
    "validation": "walidacja",
    "examination": "egzamin",
    "languages": "języki",
    "task types": "rodzaje zadań",
    # the frame
    "run {number}": "trening {number}",
    "Sections": "Części",
    "Figures": "Miary",
    "Training": "Trening",
    "Answers": "Odpowiedzi",
    "Learnt from": "Z czego",
    "How it was made": "Jak powstał",
    "{state} by a person": "{state} przez człowieka",
    "Run {number} · {finished_at} · started by {started_by} · on {base_model}": (
        "Trening {number} · {finished_at} · rozpoczęty przez: {started_by} · model {base_model}"
    ),
    "Made by Thumbloop from its record; report.json beside this page holds everything in it. `thumbloop report "
    "{number} --anew` writes it again.": (
        "Z zapisu Thumbloop; obok tej strony w report.json jest wszystko, co na niej stoi. `thumbloop report "
        "{number} --anew` pisze ją od nowa."
    ),
    # the verdict
    "Verdict": "Werdykt",
    "Rejected: it does not serve": "Odrzucony: nie będzie odpowiadać",
    "Promoted: it is surely righter, and worse elsewhere by no more than is allowed": (
        "Przyjęty: z pewnością odpowiada trafniej, a poza tym nie jest gorszy bardziej, niż wolno"
    ),
    "Promoted: it is worse nowhere by more than is allowed": (
        "Przyjęty: w niczym nie jest gorszy bardziej, niż wolno"
    ),
    "Promoted: it may serve": "Przyjęty: może odpowiadać",
    "of {questions} questions answered rightly, {rival} → candidate": (
        "z {questions} pytań z dobrą odpowiedzią, {rival} → kandydat"
    ),
    "that were right and are wrong": "było dobrze, jest źle",
    "shown first": "pokazane najpierw",
    "rightness, {rival} → candidate": "trafność, {rival} → kandydat",
    "surely better": "z pewnością lepiej",
    "surely worse": "z pewnością gorzej",
    "not surely better": "nie z pewnością lepiej",
    "held-out loss, base model → candidate, nats per token": (
        "strata na odłożonych pytaniach, model bazowy → kandydat, naty na token"
    ),
    "held-out loss of {adapter}, in service": "strata adaptera {adapter}, który jest w użyciu",
    "held-out questions, verdict at {confidence:g} % confidence": (
        "odłożonych pytań; werdykt z ufnością {confidence:g} %"
    ),
    "pairs learnt from; epochs: {epochs:g}, steps: {steps}": "par w treningu; epoki: {epochs:g}, kroki: {steps}",
    "of training, {tokens} tokens per second": "treningu, {tokens} tokenów na sekundę",
    "Symptoms": "Objawy",
    "What a practitioner would call it, with the figures behind it. A grave one keeps an adapter from serving; "
    "the verdict on one that may serve says the others, too.": (
        "Jak nazwałby to praktyk, z liczbami, z których to wynika. Ciężki objaw nie pozwala adapterowi odpowiadać; "
        "o innych mówi werdykt tego, który może."
    ),
    "This run was not looked at for symptoms.": "W tym treningu nie szukano objawów.",
    "None of the known ones: no unrelated answers, overfitting, domain hallucination, style collapse, lost "
    "abilities or underfitting was seen.": (
        "Żadnego ze znanych: ani odpowiedzi nie na temat, ani przeuczenia, ani zmyślania w dziedzinie, ani zaniku "
        "stylu, ani utraty umiejętności, ani niedouczenia."
    ),
    "grave": "ciężki",
    "To try:": "Co spróbować:",
    # the figures
    "All were asked the same {questions:held-out question|held-out questions}, and the same packaged ones, under "
    "equal conditions. "
    "Differences are the candidate's, with their paired-bootstrap interval at {confidence:g} % confidence; one is "
    "coloured where the interval leaves no doubt of its direction.": (
        "Wszystkim zadano {questions:to samo odłożone pytanie|te same odłożone pytania|tych samych odłożonych pytań} "
        "i te same dołączone, w równych warunkach. Różnice "
        "dotyczą kandydata, z przedziałem z parowanego bootstrapu o ufności {confidence:g} %; kolor mają te, "
        "których kierunek jest pewny."
    ),
    "One dot a question; below the dashed line the candidate is better.": (
        "Każda kropka to pytanie; pod przerywaną linią kandydat jest lepszy."
    ),
    "figure": "miara",
    "figure, without notes": "miara, bez notatek",
    "less that of: {rival}": "różnica, {rival}",
    "{low} to {high}": "{low} do {high}",
    "Show the figures and answers without notes": "Pokaż miary i odpowiedzi bez notatek",
    "The {questions:question|questions} that have notes, asked once more without them. They count for nothing in "
    "the verdict; beside the figures above they show what the notes do.": (
        "{questions:pytanie, które ma|pytania, które mają|pytań, które mają} notatki, zadane jeszcze raz bez nich. "
        "Nie liczy się to do werdyktu; obok miar powyżej widać, co dają notatki."
    ),
    "The candidate by language and community": "Kandydat według języka i społeczności",
    "questions of": "pytania",
    "number": "liczba",
    "What the gate compared, and what it allows": "Co porównano do werdyktu i na co wolno",
    "beside": "obok kogo",
    "the other": "ten drugi",
    "difference": "różnica",
    "allowed": "wolno",
    "questions": "pytania",
    "found": "wynik",
    "more than {allowed:g} better": "lepiej o więcej niż {allowed:g}",
    "{allowed:g} worse": "gorzej o {allowed:g}",
    "Rated blind by people": "Oceny ludzi w ciemno",
    "{raters:person|people} gave the answers to {questions:question|questions} 1 to 5 each, without knowing whose "
    "they were. Means over questions, with {confidence:g} % intervals; agreement is Krippendorff's alpha for ordinal values "
    "(1 is perfect, 0 is chance).": (
        "{raters:osoba dała|osoby dały|osób dało} odpowiedziom na {questions:pytanie|pytania|pytań} od 1 do 5, nie "
        "wiedząc, czyje są. Średnie po pytaniach, z przedziałami {confidence:g} %; zgodność to alfa "
        "Krippendorffa dla wartości porządkowych (1 to pełna, 0 to przypadek)."
    ),
    "scale": "skala",
    "agreement": "zgodność",
    "The training loss is of each step's own pairs; the validation loss is of pairs that training never sees. The "
    "adapter kept is the one of the lowest validation loss.": (
        "Strata treningu dotyczy par danego kroku, strata walidacji par, których trening nie widzi. Zostaje adapter "
        "o najniższej stracie walidacji."
    ),
    "Then by preferences ({method}, {examples} of them)": "Potem według preferencji ({method}, liczba: {examples})",
    "it helped on those held out, so this adapter was kept.": (
        "na odłożonych pomogło, więc został ten adapter."
    ),
    "it did not help on those held out, so the adapter from before it was kept.": (
        "na odłożonych nie pomogło, więc został adapter sprzed tego kroku."
    ),
    # the pictures
    "preference loss": "strata preferencji",
    "loss, nats per answer token": "strata, naty na token odpowiedzi",
    "optimiser step": "krok optymalizatora",
    "training": "trening",
    "lowest": "najniższa",
    "↑ more is better, ↓ less is better; chrF of 100": "↑ więcej to lepiej, ↓ mniej to lepiej; chrF ze 100",
    "loss of the base model": "strata modelu bazowego",
    "loss of the candidate": "strata kandydata",
    # the answers
    "Answers side by side": "Odpowiedzi obok siebie",
    "Every question of the examination: the approved answer, then what each said. Those that were right before "
    "and are wrong now come first. Beside a name stands the place of the approved answer among other questions' "
    "answers, by how much the question adds to each. Questions that nobody can answer are packaged and have no "
    "approved answer.": (
        "Każde pytanie egzaminu: zatwierdzona odpowiedź, potem to, co kto powiedział. Najpierw te, na które "
        "przedtem odpowiadano dobrze, a teraz źle. Obok nazwy stoi miejsce zatwierdzonej odpowiedzi wśród "
        "odpowiedzi na inne pytania, według tego, ile pytanie dodaje każdej. Pytania, na które nikt nie może znać "
        "odpowiedzi, są dołączone i nie mają zatwierdzonej."
    ),
    "Search questions and answers": "Szukaj w pytaniach i odpowiedziach",
    "was right, is wrong": "było dobrze, jest źle",
    "(forgotten)": "(zapomniane)",
    "approved answer": "zatwierdzona odpowiedź",
    "place of the approved answer among so many; loss on it, nats per token": (
        "miejsce zatwierdzonej odpowiedzi wśród tylu; strata na niej, naty na token"
    ),
    "right": "dobrze",
    "{rank} of {of}": "{rank} z {of}",
    "abstains": "mówi, że nie wie",
    "(nothing)": "(nic)",
    "without notes:": "bez notatek:",
    "Missing": "Brak",
    # what it learnt from, and how it was made
    "What it learnt from": "Z czego się uczył",
    "Dataset {label}, frozen: the same record and settings give the same bytes.": (
        "Zbiór {label}, zamrożony: ten sam zapis i te same ustawienia dają te same bajty."
    ),
    "The dataset is no longer in the record.": "Tego zbioru nie ma już w zapisie.",
    "Pairs": "Pary",
    "split by": "podział według",
    "approved by": "zatwierdzone przez",
    "left out, too long": "pominięte, za długie",
    "Hygiene and what was left out": "Higiena i co pominięto",
    "{number} left out": "{number} pominięto",
    "{number} mended": "{number} poprawiono",
    "nothing": "nic",
    "All pairs were kept.": "Wszystkie pary zostały.",
    "Samples of the pairs": "Przykładowe pary",
    "question": "pytanie",
    "task type": "rodzaj zadania",
    "turn": "tura",
    "packaged": "dołączona",
    "Lineage": "Pochodzenie",
    "adapter": "adapter",
    "its SHA-256": "jego SHA-256",
    "continues": "ciąg dalszy",
    "dataset": "zbiór",
    "turns": "tury",
    "reviews": "oceny",
    "compared with": "porównany z",
    "started, ended": "początek, koniec",
    "Measured": "Zmierzone",
    "preferences": "preferencje",
    "The plan, and why": "Plan i powody",
    "All settings of the run": "Wszystkie ustawienia treningu",
}
"""By the English; a name of the record that is not here is the same in both languages."""


@dataclass(frozen=True)
class Say:
    """Says the report's texts in a language."""

    language: Language

    def __call__(self, text: str, **parts: object) -> str:
        """A text, or a name of the record, with its {parts} filled in."""
        return Text(text, POLISH.get(text, text)).say(self.language, **parts)
