"""The sentences of a verdict: kept as what they say and its figures, and said in the reader's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from feedback.text import Text
from feedback.words import Language
from training.examination.comparisons import WATCHED
from training.examination.metrics import METRICS

_SURE: Final = (
    "difference {difference:+.3f}, with {confidence:g} % confidence between {low:+.3f} and {high:+.3f}",
    "różnica {difference:+.3f}, z ufnością {confidence:g} % między {low:+.3f} a {high:+.3f}",
)
_WORSE: Final = (
    "{metric_name}, {candidate:.3f} against {other:.3f} of {rival_name}, and {allowed:g}{unit} worse is allowed "
    f"({{setting}}; {_SURE[0]})",
    "{metric_name}, {candidate:.3f} wobec {other:.3f} (ma {rival_name}), a dopuszczalne jest pogorszenie o "
    f"{{allowed:g}}{{unit}} ({{setting}}; {_SURE[1]})",
)
_PREFERENCE: Final = ("the judge's preference", "ocena sędziego")

SENTENCES: Final[Mapping[str, Text]] = {
    "said": Text("{text}", "{text}"),
    "counts": Text("{counted}", "{counted}"),
    "rightness": Text(
        "Over {questions:question|questions}, in telling right answers from others and in what it answers, it is {righter} {rival_name}: {candidate:.3f} against {other:.3f} (difference {difference:+.3f}, with {confidence:g} % confidence at least {low:+.3f}).",
        "Na {questions:pytaniu|pytaniach|pytaniach}, w odróżnianiu dobrych odpowiedzi od innych i w tym, co odpowiada, {righter} {rival_name}: {candidate:.3f} wobec {other:.3f} (różnica {difference:+.3f}, z ufnością {confidence:g} % co najmniej {low:+.3f}).",
    ),
    "bound": Text(
        "{questions:question|questions} can show a gain of {margin:.3f} and more; the {difference:.3f} that it gained would take about {needed:question|questions} or, held out as now, {pairs:pair|pairs}. Hold out more (training.validation_share, `thumbloop import --held-out`), ask more of them (training.examination_questions), or approve more answers.",
        "{questions:pytanie może|pytania mogą|pytań może} wykazać poprawę o {margin:.3f} i więcej; zyskane {difference:.3f} wymagałoby około {needed} pytań albo, przy tym samym podziale, {pairs} par. Odłóż więcej pytań (training.validation_share, `thumbloop import --held-out`), zadawaj ich więcej (training.examination_questions) albo zatwierdź więcej odpowiedzi.",
    ),
    "bound without pairs": Text(
        "{questions:question|questions} can show a gain of {margin:.3f} and more; the {difference:.3f} that it gained would take about {needed:question|questions}. Hold out more (training.validation_share, `thumbloop import --held-out`), ask more of them (training.examination_questions), or approve more answers.",
        "{questions:pytanie może|pytania mogą|pytań może} wykazać poprawę o {margin:.3f} i więcej; zyskane {difference:.3f} wymagałoby około {needed} pytań. Odłóż więcej pytań (training.validation_share, `thumbloop import --held-out`), zadawaj ich więcej (training.examination_questions) albo zatwierdź więcej odpowiedzi.",
    ),
    "no gain": Text(
        "{questions:question|questions} can show a gain of {margin:.3f} and more, and it gained nothing.",
        "{questions:pytanie może|pytania mogą|pytań może} wykazać poprawę o {margin:.3f} i więcej, a poprawy nie ma.",
    ),
    "rank": Text(
        "{asked}, it is {tells} {rival_name} at telling the right answer from others: {right} of {questions} against "
        f"{{other_right}}, mean reciprocal rank {{candidate:.3f}} against {{other:.3f}} ({_SURE[0]}).",
        "{asked}, {tells} {rival_name}: {right} z {questions} wobec "
        f"{{other_right}}, średnia odwrotność miejsca {{candidate:.3f}} wobec {{other:.3f}} ({_SURE[1]}).",
    ),
    "rightly": Text(
        "What it answers is {answers} what {rival_name} answers: {right} of {questions} against {other_right} "
        "(sign test, {confidence:g} % confidence).",
        "{answers} te, które daje {rival_name}: {right} z {questions} wobec {other_right} "
        "(test znaków, ufność {confidence:g} %).",
    ),
    "too few": Text(
        "There were {recall} held-out questions whose answers training had seen and {generalisation} others that "
        "could be told from one another, and with fewer than {least} of a kind (gate.min_questions) luck cannot "
        "be told from learning: approve more different answers in more conversations.",
        "Odłożonych pytań, których odpowiedzi dało się porównać z innymi, było {recall} o odpowiedzi znane z "
        "treningu i {generalisation} o inne, a gdy jednego rodzaju jest mniej niż {least} (gate.min_questions), "
        "nie da się odróżnić szczęścia od wiedzy: zatwierdź więcej różnych odpowiedzi w większej liczbie rozmów.",
    ),
    "too few elsewhere": Text(
        "{asked}, it was not judged, with only {number:such question|such questions}.",
        "{asked}, nie był oceniany: takich pytań było {number}.",
    ),
    "not worse": Text(
        "Not surely worse: {metric_names}.", "Nie ma pewności, by gorsze było: {metric_names}."
    ),
    "worse within limits": Text(
        f"Worse, but by no more than is allowed: {_WORSE[0]}.",
        f"Gorzej, ale nie bardziej, niż wolno: {_WORSE[1]}.",
    ),
    "worse": Text(
        f"Worse by more than is allowed: {_WORSE[0]}.", f"Gorzej, i to bardziej, niż wolno: {_WORSE[1]}."
    ),
    "judge within limits": Text(
        f"Worse, but by no more than is allowed: {_PREFERENCE[0]}, {{candidate:.2f}}, where one half is as good.",
        f"Gorzej, ale nie bardziej, niż wolno: {_PREFERENCE[1]}, {{candidate:.2f}}, gdzie połowa znaczy tak samo "
        "dobrze.",
    ),
    "judge prefers": Text(
        "The judge prefers {rival_name}: {candidate:.2f} for the candidate, where one half is as good "
        f"({_SURE[0]}).",
        "Sędzia woli to, co mówi {rival_name}: {candidate:.2f} dla kandydata, gdzie połowa znaczy tak samo dobrze "
        f"({_SURE[1]}).",
    ),
    "judge is silent": Text(
        "The judge gave no opinion of the candidate beside {rival_name} on every question.",
        "Sędzia nie ocenił przy każdym pytaniu, czy lepszy jest kandydat, czy {rival_name}.",
    ),
    "no rank": Text(
        "Whether {rival_name} tells right answers from others is not known, so the two cannot be compared.",
        "Nie wiadomo, czy {rival_name} odróżnia właściwe odpowiedzi od innych, więc nie ma jak porównać.",
    ),
    "no figure": Text(
        "There is no figure for the {metric_name} of {rival_name}, so the two cannot be compared.",
        "Brak liczby ({metric_name}, {rival_name}), więc nie ma jak porównać.",
    ),
    "shows": Text("It shows {symptom_name}: {symptom_meaning}.", "Objaw, {symptom_name}: {symptom_meaning}."),
    "shows too": Text(
        "It shows {symptom_name}, too: {symptom_meaning}.", "Także objaw, {symptom_name}: {symptom_meaning}."
    ),
    "raters": Text(
        "People find it surely {finding_name} than {rival_name}: {ratings}.",
        "Ludzie oceniają go z pewnością {finding_name} niż {rival_name}: {ratings}.",
    ),
    "changed meanwhile": Text(
        "Another adapter was put into service while this run was under way, and the candidate was not compared "
        "with that one; `thumbloop adapter switch` lets it serve all the same.",
        "W czasie tego treningu zaczął działać inny adapter, z którym kandydata nie porównano; mimo to można go "
        "włączyć poleceniem `thumbloop adapter switch`.",
    ),
    "not served": Text(
        "It is a DoRA adapter, which neither Thumbloop's engine nor vLLM serves; `thumbloop adapter export` gives it to other servers.",
        "To adapter DoRA, którego nie obsługuje ani silnik Thumbloop, ani vLLM; `thumbloop adapter export` oddaje go innym serwerom.",
    ),
    "other base model": Text(
        "{adapter}, in service, belongs to another base model ({base_model}), so only the base model could be "
        "compared with.",
        "{adapter}, który jest w użyciu, należy do innego modelu bazowego ({base_model}), więc porównać można było "
        "tylko z modelem bazowym.",
    ),
    "damaged": Text(
        "{problem} So only the base model could be compared with.",
        "{problem} Porównać można było więc tylko z modelem bazowym.",
    ),
    "keeps serving": Text(
        "{adapter} keeps serving {number} of its communities: it was not compared with that.",
        "{adapter} dalej odpowiada w części jego społeczności ({number}): z nim go nie porównano.",
    ),
    "base keeps serving": Text(
        "The base model keeps serving {number} of its communities: it was not compared with that.",
        "Model bazowy dalej odpowiada w części jego społeczności ({number}): z nim go nie porównano.",
    ),
    "documents against": Text(
        "The documents say {said} of the approved answers, but only {own} of these to their own question, where luck alone gives {luck:.0f}: questions and answers seem to be mixed up. Compare them with the documents, reject or edit what is wrong, and retrain.",
        "Dokumenty mówią to samo co zatwierdzone odpowiedzi w {said} przypadkach, ale tylko w {own} na własne pytanie, a sam przypadek daje {luck:.0f}: pytania i odpowiedzi wyglądają na pomieszane. Porównaj je z dokumentami, odrzuć lub popraw błędne i trenuj ponownie.",
    ),
    "earlier against": Text(
        "{contradicted} of the {pairs} approved answers contradict others to the same question and are left out; with so many the rest may be mixed up, too. Settle them (`thumbloop dataset contradictions`), and retrain.",
        "{contradicted} z {pairs} zatwierdzonych odpowiedzi przeczy innym na to samo pytanie i zostało pominiętych; przy tylu także reszta może być pomieszana. Rozstrzygnij je (`thumbloop dataset contradictions`) i trenuj ponownie.",
    ),
    "votes against": Text(
        "Members voted down {down} of the {voted} approved answers that they voted on: look at these again, reject or edit what is wrong, and retrain.",
        "Członkowie głosowali przeciw {down} z {voted} zatwierdzonych odpowiedzi, które ocenili: obejrzyj je jeszcze raz, odrzuć lub popraw błędne i trenuj ponownie.",
    ),
    "quarantined": Text(
        "{approvals:approval|approvals} by {reviewer} came faster than anybody reads; quarantined until "
        "`thumbloop review trust {reviewer}` releases them.",
        "{approvals:zatwierdzenie|zatwierdzenia|zatwierdzeń} od {reviewer} w tempie, w jakim nikt nie czyta; "
        "czekają, aż zwolni je `thumbloop review trust {reviewer}`.",
    ),
    "base prefers": Text(
        "of {questions:question|questions} the base model finds the approved answer the most fitting for {right}, where luck alone gives {luck:.0f}",
        "na {questions:pytanie|pytania|pytań} model bazowy uważa zatwierdzoną odpowiedź za najlepiej pasującą przy {right}, a sam przypadek daje {luck:.0f}",
    ),
    "went": Text(
        "{figure_name}: from {before:.0f} % to {after:.0f} %",
        "{figure_name}: z {before:.0f} % na {after:.0f} %",
    ),
    "loss fell": Text(
        "the held-out loss fell by {gain:.2f} nats per token",
        "strata na odłożonych pytaniach spadła o {gain:.2f} nata na token",
    ),
    "abstained": Text(
        "{share:.0f} % of unanswerable questions were answered by abstaining",
        "przy {share:.0f} % pytań bez odpowiedzi przyznał, że nie wie",
    ),
    "overlaps": Text(
        "{share:.0f} % of the references' word triples stand in its answers",
        "{share:.0f} % trójek słów z wzorców jest w jego odpowiedziach",
    ),
    "open alike": Text(
        "{share:.0f} % of its answers begin with the same three words, and {usual:.0f} % of the approved ones",
        "{share:.0f} % jego odpowiedzi zaczyna się tymi samymi trzema słowami, a zatwierdzonych {usual:.0f} %",
    ),
    "lengths": Text(
        "its lengths vary by {spread:.0f} % of their mean (the approved by {usual:.0f} %)",
        "długości jego odpowiedzi wahają się o {spread:.0f} % średniej (zatwierdzonych o {usual:.0f} %)",
    ),
    "general rose": Text(
        "loss on general knowledge rose by {rise:.0f} % ({before:.2f} to {after:.2f})",
        "strata na wiedzy ogólnej wzrosła o {rise:.0f} % (z {before:.2f} na {after:.2f})",
    ),
    "loss moved": Text(
        "held-out loss went from {before:.3f} to {after:.3f} nats per token",
        "strata na odłożonych pytaniach: z {before:.3f} na {after:.3f} nata na token",
    ),
    "training loss moved": Text(
        "training loss from {before:.3f} to {after:.3f}", "strata treningu: z {before:.3f} na {after:.3f}"
    ),
    "validation rose": Text(
        "validation loss rose from {lowest:.3f} at step {step} to {last:.3f} while training loss fell from {before:.3f} to {after:.3f}",
        "strata walidacji wzrosła z {lowest:.3f} w kroku {step} do {last:.3f}, a strata treningu spadła z {before:.3f} na {after:.3f}",
    ),
    "repeated sentence": Text(
        "{pairs:pair|pairs} of the dataset have the same sentence in different answers: “{sentence}” If it is no "
        "phrase that you want, edit or reject them (`thumbloop dataset show` names their turns).",
        "{pairs:para|pary|par} zbioru ma to samo zdanie w różnych odpowiedziach: „{sentence}” Jeśli to nie jest "
        "zwrot, którego chcesz, popraw je lub odrzuć (`thumbloop dataset show` podaje ich tury).",
    ),
}
"""What a reason may say, by its key; its parts are named as there, or as `_WORDS` looks them up."""

SYMPTOMS: Final[Mapping[str, tuple[Text, Text, Text]]] = {
    "unrelated answers": (
        Text("unrelated answers", "odpowiedzi nie na temat"),
        Text(
            "the approved answers do not seem to belong to their questions",
            "zatwierdzone odpowiedzi nie wyglądają na odpowiedzi na swoje pytania",
        ),
        Text(
            "Look whether questions and answers were mixed up: an import with shifted columns, or approvals "
            "unread. Where they do belong together and the base model only cannot know it, overrule the verdict.",
            "Sprawdź, czy pytania i odpowiedzi nie zostały pomieszane: przesunięte kolumny przy imporcie albo "
            "zatwierdzanie bez czytania. Jeśli do siebie pasują, a tylko model bazowy nie może tego wiedzieć, "
            "uchyl werdykt.",
        ),
    ),
    "overfitting": (
        Text("overfitting", "przeuczenie"),
        Text("it recites its training pairs", "recytuje pary, na których był trenowany"),
        Text(
            "Fewer epochs (training.epochs), a larger validation share, more and more varied answers, a lower "
            "rank (training.rank), or some dropout (training.dropout).",
            "Mniej epok (training.epochs), większy udział walidacji, więcej i bardziej różnych odpowiedzi, niższy "
            "rząd (training.rank) albo trochę dropoutu (training.dropout).",
        ),
    ),
    "domain hallucination": (
        Text("domain hallucination", "zmyślanie w dziedzinie"),
        Text(
            "it sounds like the community and asserts what it cannot know",
            "brzmi jak społeczność i twierdzi to, czego nie może wiedzieć",
        ),
        Text(
            "Approve honest answers of the task type not-knowing, and answers to the questions that it got "
            "wrong; look at the side-by-side answers before it serves.",
            "Zatwierdź szczere odpowiedzi rodzaju „nie wiem” i odpowiedzi na pytania, na które odpowiedział źle; "
            "zanim zacznie odpowiadać, obejrzyj odpowiedzi obok siebie.",
        ),
    ),
    "style collapse": (
        Text("style collapse", "zanik stylu"),
        Text("its answers all look the same", "wszystkie jego odpowiedzi wyglądają tak samo"),
        Text(
            "Approve answers of different length and form, cap what one member or topic may give, or train fewer "
            "epochs (training.epochs).",
            "Zatwierdzaj odpowiedzi różnej długości i formy, ogranicz udział jednej osoby lub jednego tematu albo "
            "trenuj mniej epok (training.epochs).",
        ),
    ),
    "too aggressive target modules": (
        Text("too aggressive target modules", "za mocna zmiana warstw"),
        Text("it lost abilities that the base model has", "stracił umiejętności, które ma model bazowy"),
        Text(
            "Adapt fewer layers (training.target_modules=q_proj,v_proj), or take smaller steps "
            "(training.learning_rate, training.alpha).",
            "Zmieniaj mniej warstw (training.target_modules=q_proj,v_proj) albo rób mniejsze kroki "
            "(training.learning_rate, training.alpha).",
        ),
    ),
    "underfitting": (
        Text("underfitting", "niedouczenie"),
        Text(
            "it has hardly learnt anything that helps on new questions",
            "nie nauczył się prawie niczego, co pomaga przy nowych pytaniach",
        ),
        Text(
            "More epochs (training.epochs), larger steps (training.learning_rate), a higher rank "
            "(training.rank), or more approved answers.",
            "Więcej epok (training.epochs), większe kroki (training.learning_rate), wyższy rząd (training.rank) "
            "albo więcej zatwierdzonych odpowiedzi.",
        ),
    ),
}
"""Of each symptom what it is called, what it means, and what to try."""

_JUDGE_NAME: Final = Text(*_PREFERENCE)
_METRICS: Final = {name: watched.called for name, watched in WATCHED.items()}
_RIVALS: Final = {
    "base": Text("the base model", "model bazowy"),
    "current": Text("the adapter in service", "adapter w użyciu"),
    "candidate": Text("the candidate", "kandydat"),
}
_WORDS: Final[Mapping[str, tuple[str, Mapping[str, Text]]]] = {
    "figure_name": ("figure", {name: one.called for name, one in METRICS.items()}),
    "rival_name": ("rival", _RIVALS),
    "metric_name": ("metric", _METRICS),
    "unit": ("metric", {name: watched.unit for name, watched in WATCHED.items()}),
    "symptom_name": ("symptom", {name: texts[0] for name, texts in SYMPTOMS.items()}),
    "symptom_meaning": ("symptom", {name: texts[1] for name, texts in SYMPTOMS.items()}),
    "finding_name": ("finding", {"better": Text("better", "lepiej"), "worse": Text("worse", "gorzej")}),
    "asked": (
        "examination",
        {
            "recall": Text(
                "Asked in new words for answers that it was trained on",
                "Pytany innymi słowami o odpowiedzi, na których był trenowany",
            ),
            "generalisation": Text(
                "Asked for answers that its training never saw",
                "Pytany o odpowiedzi, których jego trening nie widział",
            ),
        },
    ),
    "tells": (
        "finding",
        {
            "better": Text(
                "surely better than", "odróżnia właściwą odpowiedź od innych z pewnością lepiej niż"
            ),
            "worse": Text(
                "surely worse than", "odróżnia właściwą odpowiedź od innych z pewnością gorzej niż"
            ),
            "unsure": Text(
                "not surely better than", "nie wykazał, że odróżnia właściwą odpowiedź od innych lepiej niż"
            ),
        },
    ),
    "righter": (
        "finding",
        {
            "better": Text("surely righter than", "z pewnością jest lepszy niż"),
            "worse": Text("surely less right than", "z pewnością jest gorszy niż"),
            "unsure": Text("not surely righter than", "nie wykazano, by był lepszy niż"),
            "no worse": Text(
                "no further behind than gate.min_gain allows, beside",
                "nie jest gorszy o więcej, niż pozwala gate.min_gain, niż",
            ),
        },
    ),
    "answers": (
        "finding",
        {
            "better": Text(
                "right surely more often than", "Jego odpowiedzi są z pewnością częściej dobre niż"
            ),
            "worse": Text(
                "right surely less often than", "Jego odpowiedzi są z pewnością rzadziej dobre niż"
            ),
            "unsure": Text(
                "not surely right more often than", "Nie wykazano, by jego odpowiedzi były częściej dobre niż"
            ),
        },
    ),
}
"""A name in the sentences, by the part that it is looked up by."""


_PROMOTED: Final = Text("Promoted:", "Przyjęty:")
_REJECTED: Final = Text("Rejected:", "Odrzucony:")


@dataclass(frozen=True)
class Reason:
    """One sentence of a verdict: its `key` in `SENTENCES`, and the figures and names that are filled in.

    `parts` are plain data, as the record keeps it. A part in several languages is a mapping by language.
    """

    key: str
    parts: Mapping[str, Any] = field(default_factory=dict)

    def say(self, language: Language) -> str:
        """The sentence in that language."""
        parts: dict[str, object] = {
            name: value[language] if isinstance(value, Mapping) else value
            for name, value in self.parts.items()
        }
        for name, (part, words) in _WORDS.items():
            if self.parts.get(part) in words:
                parts[name] = words[self.parts[part]].say(language)
        if "metrics" in parts:
            names = [_METRICS.get(metric, _JUDGE_NAME).say(language) for metric in self.parts["metrics"]]
            parts["metric_names"] = ", ".join(names)
        return SENTENCES[self.key].say(language, **parts)

    def __str__(self) -> str:
        return self.say("en")


def verdict(promote: bool, reasons: Iterable[Reason], language: Language) -> str:
    """A whole verdict, the decision first."""
    return " ".join(
        [(_PROMOTED if promote else _REJECTED).say(language), *(one.say(language) for one in reasons)]
    )


def is_verdict(sentence: str) -> bool:
    """Whether a sentence that the record keeps is a run's whole verdict, in English."""
    return sentence.startswith((_PROMOTED.en, _REJECTED.en))


def stored(reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    """The reasons as the record keeps them."""
    return [asdict(reason) for reason in reasons]


def kept(found: Iterable[Any]) -> list[Reason]:
    """Those that the record keeps; an older run kept sentences, in English, and says them as they are."""
    return [
        Reason("said", {"text": one}) if isinstance(one, str) else Reason(one["key"], one["parts"])
        for one in found
    ]


class SymptomSaid(NamedTuple):
    """What a symptom is called, what it means, its figures, and what to try."""

    name: str
    meaning: str
    figures: list[str]
    remedy: str


def symptom_said(symptom: Mapping[str, Any], language: Language) -> SymptomSaid:
    """A symptom that the record keeps, in that language; one of an older version as it was kept."""
    figures = [one.say(language) for one in kept(symptom["figures"])]
    if language == "en" or symptom["name"] not in SYMPTOMS:
        return SymptomSaid(symptom["name"], symptom["meaning"], figures, symptom.get("remedy", ""))
    name, meaning, remedy = (text.say(language) for text in SYMPTOMS[symptom["name"]])
    return SymptomSaid(name, meaning, figures, remedy)
