"""The figures of an examination: what people call each, and what it means.

Named here as the record, the settings and docs/training.md name them. How each is measured is for
`text_metrics`, `facts`, `contrast` and `evaluation`; what may hold an adapter is for `comparisons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from feedback.text import Text
from training.examination.comparisons import JUDGE, LOSS, OWN_SHARE, RIGHTLY


@dataclass(frozen=True)
class Metric:
    """What people call a figure, what it means, with range and source, and whether more of it is better."""

    called: Text
    meaning: Text
    better: Literal["more", "less", "neither"] = "more"


METRICS: Final[Mapping[str, Metric]] = {
    "rank_recall": Metric(
        Text("rank of the right, recall", "miejsce właściwej, znane"),
        Text(
            "mean reciprocal rank of a question's own answer among other questions' answers, by how much the "
            "question adds to each; of questions whose answers training saw, 0 to 1",
            "średnia odwrotność miejsca odpowiedzi na pytanie wśród odpowiedzi na inne, według tego, ile pytanie "
            "dodaje każdej; pytania, których odpowiedzi trening widział, 0 do 1",
        ),
    ),
    "right_recall": Metric(
        Text("right comes first, recall", "właściwa pierwsza, znane"),
        Text(
            "share of those questions whose own answer has the first rank, 0 to 1",
            "udział tych pytań, w których właściwa odpowiedź jest pierwsza, 0 do 1",
        ),
    ),
    "rank_generalisation": Metric(
        Text("rank of the right, unseen", "miejsce właściwej, nowe"),
        Text(
            "the same mean of questions whose answers training never saw, 0 to 1",
            "ta sama średnia dla pytań, których odpowiedzi trening nie widział, 0 do 1",
        ),
    ),
    "right_generalisation": Metric(
        Text("right comes first, unseen", "właściwa pierwsza, nowe"),
        Text(
            "share of those questions whose own answer has the first rank, 0 to 1",
            "udział tych pytań, w których właściwa odpowiedź jest pierwsza, 0 do 1",
        ),
    ),
    RIGHTLY: Metric(
        Text("answered rightly", "dobre odpowiedzi"),
        Text(
            "share of answers that are right by their words: nearest to their own reference, much like it (chrF "
            "of 35 and more), and not contradicting it, 0 to 1",
            "udział odpowiedzi dobrych po słowach: najbliższych własnemu wzorcowi, podobnych do niego (chrF od 35) "
            "i nieprzeczących mu, 0 do 1",
        ),
    ),
    LOSS: Metric(
        Text("loss", "strata"),
        Text(
            "mean loss on the reference answers, nats per answer token; lower is better",
            "średnia strata na odpowiedziach wzorcowych, naty na token odpowiedzi; mniej znaczy lepiej",
        ),
        better="less",
    ),
    "chrf": Metric(
        Text("chrF", "chrF"),
        Text(
            "chrF, character n-grams shared with the reference, mean over answers, 0 to 100 (Popović 2015)",
            "chrF, wspólne z wzorcem n-gramy znaków, średnio na odpowiedź, 0 do 100 (Popović 2015)",
        ),
    ),
    "nearest_own": Metric(
        Text("nearest to its own", "najbliżej własnego wzorca"),
        Text(
            "share of answers that come nearest to their own reference, by chrF, among those in their language, "
            "0 to 1",
            "udział odpowiedzi, którym według chrF najbliżej do własnego wzorca wśród wzorców w ich języku, 0 do 1",
        ),
    ),
    "nearest_by_meaning": Metric(
        Text("nearest by meaning", "najbliżej znaczeniem"),
        Text(
            "share of answers that come nearest to their own reference by meaning, among those in their language "
            "(cosine of the first 300 characters by the embedding model of knowledge, where there is one), 0 to 1",
            "udział odpowiedzi, którym znaczeniem najbliżej do własnego wzorca wśród wzorców w ich języku (cosinus "
            "wektorów pierwszych 300 znaków z modelu wiedzy, gdzie taki jest), 0 do 1",
        ),
    ),
    OWN_SHARE: Metric(
        Text("likeness to its own", "podobieństwo do własnego wzorca"),
        Text(
            "how much more an answer is like its own reference than like the others in its language: chrF with its "
            "own by that and the mean of theirs, mean over answers, 0 to 1; 0.5 is luck",
            "o ile bardziej odpowiedź jest podobna do własnego wzorca niż do innych w jej języku: chrF z własnym "
            "przez sumę tego i średniej z innymi, średnio na odpowiedź, 0 do 1; 0,5 daje przypadek",
        ),
    ),
    "facts": Metric(
        Text("facts", "fakty"),
        Text(
            "share of a reference's numbers, names and code that the answer has, mean over answers, 0 to 1",
            "udział liczb, nazw i kodu wzorca, które są w odpowiedzi, średnio na odpowiedź, 0 do 1",
        ),
    ),
    "contradicted": Metric(
        Text("contradictions", "sprzeczności"),
        Text(
            "share of answers that have another number beside a word of the reference, or negate it, 0 to 1",
            "udział odpowiedzi z inną liczbą przy słowie wzorca albo z jego zaprzeczeniem, 0 do 1",
        ),
        better="less",
    ),
    "bleu": Metric(
        Text("BLEU", "BLEU"),
        Text(
            "BLEU, word n-grams shared with the references, 0 to 100 (Papineni et al. 2002, sacrebleu)",
            "BLEU, wspólne z wzorcami n-gramy słów, 0 do 100 (Papineni i in. 2002, sacrebleu)",
        ),
    ),
    "rouge_l": Metric(
        Text("ROUGE-L", "ROUGE-L"),
        Text(
            "ROUGE-L, longest common subsequence with the reference, F1 from 0 to 1 (Lin 2004)",
            "ROUGE-L, najdłuższy wspólny podciąg z wzorcem, F1 od 0 do 1 (Lin 2004)",
        ),
    ),
    "overlap": Metric(
        Text("overlap of triples", "wspólne trójki słów"),
        Text(
            "share of the reference's word triples that the answer has, mean over answers, 0 to 1",
            "udział trójek słów wzorca, które są w odpowiedzi, średnio na odpowiedź, 0 do 1",
        ),
    ),
    "distinct_1": Metric(
        Text("distinct words", "różne słowa"),
        Text(
            "different words as a share of all in the answers, 0 to 1 (Li et al. 2016)",
            "udział różnych słów wśród wszystkich w odpowiedziach, 0 do 1 (Li i in. 2016)",
        ),
    ),
    "distinct_2": Metric(
        Text("distinct word pairs", "różne pary słów"),
        Text(
            "different word pairs as a share of all in the answers, 0 to 1 (Li et al. 2016)",
            "udział różnych par słów wśród wszystkich w odpowiedziach, 0 do 1 (Li i in. 2016)",
        ),
    ),
    "repetition": Metric(
        Text("repetition", "powtarzanie się"),
        Text(
            "share of an answer's word 4-grams that it said before, mean over answers, 0 to 1",
            "udział czwórek słów, które odpowiedź już powiedziała, średnio na odpowiedź, 0 do 1",
        ),
        better="less",
    ),
    "memorisation": Metric(
        Text("verbatim training text", "dosłowny tekst z treningu"),
        Text(
            "share of an answer's word 8-grams that stand in a training answer but not in its own reference or "
            "notes, mean over answers, 0 to 1",
            "udział ósemek słów, które stoją w odpowiedzi z treningu, a nie we własnym wzorcu ani notatkach, "
            "średnio na odpowiedź, 0 do 1",
        ),
        better="less",
    ),
    "length_ratio": Metric(
        Text("length", "długość"),
        Text(
            "words of all answers by words of all references; 1 is as long",
            "słowa wszystkich odpowiedzi przez słowa wszystkich wzorców; 1 znaczy tak samo długie",
        ),
        better="neither",
    ),
    "length_spread": Metric(
        Text("spread of lengths", "rozrzut długości"),
        Text(
            "standard deviation of the answers' words by their mean; 0 is all the same length",
            "odchylenie standardowe liczby słów przez jej średnią; 0 znaczy wszystkie tak samo długie",
        ),
        better="neither",
    ),
    "same_opening": Metric(
        Text("same opening", "taki sam początek"),
        Text(
            "share of answers that begin with the three words that most begin with, 0 to 1",
            "udział odpowiedzi, które zaczynają się najczęstszymi trzema słowami, 0 do 1",
        ),
        better="less",
    ),
    "language_match": Metric(
        Text("right language", "właściwy język"),
        Text(
            "share of answers in the language of their reference, 0 to 1",
            "udział odpowiedzi w języku wzorca, 0 do 1",
        ),
    ),
    "not_knowing": Metric(
        Text("abstention, unanswerable", "„nie wiem”, bez odpowiedzi"),
        Text(
            "abstention rate on unanswerable questions (packaged, and held-out ones of task type not-knowing), "
            "0 to 1",
            "jak często przyznaje, że nie wie, przy pytaniach bez odpowiedzi (dołączonych i odłożonych rodzaju „nie "
            "wiem”), 0 do 1",
        ),
    ),
    "false_not_knowing": Metric(
        Text("abstention, answerable", "„nie wiem”, z odpowiedzią"),
        Text(
            "abstention rate on the other held-out questions, 0 to 1; lower is better",
            "jak często mówi, że nie wie, przy innych odłożonych pytaniach, 0 do 1; mniej znaczy lepiej",
        ),
        better="less",
    ),
    "style_distance": Metric(
        Text("style distance", "odległość stylu"),
        Text(
            "how differently from the approved answers they are written: Jensen-Shannon distance of function words, "
            "punctuation and lengths, 0 to 1",
            "jak bardzo różnią się pisaniem od zatwierdzonych odpowiedzi: odległość Jensena-Shannona słów "
            "funkcyjnych, interpunkcji i długości, 0 do 1",
        ),
        better="less",
    ),
    "general_loss": Metric(
        Text("general loss", "strata ogólna"),
        Text(
            "mean loss on packaged general knowledge, nats per token; rises as abilities are lost",
            "średnia strata na dołączonej wiedzy ogólnej, naty na token; rośnie, gdy giną umiejętności",
        ),
        better="less",
    ),
}
JUDGED: Final[Mapping[str, Metric]] = {
    JUDGE.format(rival): Metric(
        Text(f"judge, against {en}", f"sędzia, {pl}"),
        Text(
            f"the judge's preference for the candidate over {en}, asked in both orders, 0 to 1; 0.5 is as good",
            f"na ile sędzia woli kandydata, gdy obok jest {pl}, pytany w obu kolejnościach, 0 do 1; 0,5 znaczy tak "
            "samo dobrze",
        ),
    )
    for rival, en, pl in (
        ("base", "the base model", "model bazowy"),
        ("current", "the adapter in service", "adapter w użyciu"),
    )
}
"""Figures of a candidate where a judge is set."""
MEASURED: Final[Mapping[str, Metric]] = {**METRICS, **JUDGED}
"""All figures that an examination may have of a subject, by name."""
