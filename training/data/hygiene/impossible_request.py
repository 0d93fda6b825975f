"""Requests that no text model can meet, answered as if it had: draw, play, call, open this page."""

from __future__ import annotations

import re
from typing import Final

from training.data.hygiene.rule import Drop, PairRule, question_of
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_START: Final = (
    r"(?:^|[.!?\n]\s*)\W*(?:please |pls |hey,? |hi,? |can you |could you |would you |will you |i want you to "
    r"|proszę,? |hej,? |cześć,? |czy możesz |możesz |mógłbyś |mogłabyś |chcę,? żebyś )*(?:please |proszę )?"
)
_REQUESTS: Final = tuple(
    (why, re.compile(pattern, re.IGNORECASE))
    for why, pattern in (
        (
            "a picture wanted",
            _START
            + r"(?:(?:draw|paint|sketch)(?: me| us)? (?:a|an|the|some|my|our) (?!conclusion|distinction"
            r"|line |lines "
            r"|parallel|comparison|sample|random|batch|lot|card|inference|connection|graph of the)"
            r"|(?:narysuj|namaluj|naszkicuj)\b(?! wniosk))",
        ),
        (
            "sound wanted",
            _START
            + r"(?:(?:play|sing)(?: me| us)? (?:a|an|the|some|my) (?:\w+ ){0,2}(?:song|music|tune|melody"
            r"|track|piece"
            r"|video|lullaby|playlist)|(?:zagraj|zaśpiewaj|puść|odtwórz)\b(?: mi"
            r"| nam)? (?:\w+ ){0,2}(?:piosenk|muzyk|utw[oó]r"
            r"|melodi|film|kołysank|playlist))",
        ),
        (
            "a call or message wanted",
            _START + r"(?:(?:call|phone|ring|text|e-?mail) (?:me\b|us\b|him\b|her\b|my (?!function|api|code"
            r"|method|script|model)\w+"
            r"|mr\.? |mrs\.? |the police|an ambulance|\+?\d{3})|send (?:an? )?(?:e-?mail|sms|text|message"
            r"|letter) to "
            r"(?!the (?:api|server|queue|broker|endpoint))|(?:book|order|buy)(?: me| us)? (?:a|an|some"
            r"|two|three) "
            r"(?!of magnitude)\w+|(?:zadzwoń|zatelefonuj)\b|wyślij\b(?: mu| jej| im)? (?:\w+ )?(?:maila"
            r"|e-maila|sms|list) do "
            r"|zamów (?:mi|nam)\b|zarezerwuj\b)",
        ),
        (
            "a page to be opened",
            _START
            + r"(?:open|visit|go to|browse|read|summari[sz]e|check|click|watch|listen to|look at|otwórz"
            r"|odwiedź|wejdź"
            r"|przejdź|przeczytaj|streść|podsumuj|sprawdź|kliknij|obejrzyj|zobacz)\b[^\n]{0,60}\bhttps?://",
        ),
        (
            "an attachment that is not there",
            r"\b(?:attached|enclosed|uploaded) (?:image|picture|photo|screenshot|file|document|pdf|audio"
            r"|video|spreadsheet)\b"
            r"|\b(?:in|on|of|at|from|describe|see) (?:this|the above|the following) (?:image|photo"
            r"|picture|screenshot|audio"
            r"|video)s?(?=\s*[?.!,:\n]|$)|\b(?:image|photo|picture|screenshot) (?:above|below|attached)\b"
            r"|\bzałączon\w+ (?:obraz|zdjęci|plik|zrzu|dokumen|nagrani|film)\w*|\bw załączniku\b"
            r"|\bna (?:tym|powyższym|poniższym) (?:zdjęciu|obrazku|obrazie|zrzucie)\b",
        ),
    )
)
_HINTS: Final = (
    *("draw", "paint", "sketch", "play", "sing", "call", "phone", "ring ", "text ", "mail", "send"),
    *("book", "order", "buy", "http", "attached", "enclosed", "uploaded", "image", "picture"),
    *("photo", "screenshot", "audio", "video", "rysuj", "namaluj", "szkicuj", "zagraj", "śpiewaj"),
    *("puść", "odtwórz", "zadzwoń", "telefonuj", "wyślij", "zamów", "zarezerwuj", "załącz", "zdjęci"),
    *("obraz", "zrzuc"),
)
"""In a question without one of these there is no such request; a quick look before the slow one."""
_DECLINES: Final = re.compile(
    r"\b(?:can ?no|can['’]t|could ?n['’]t|unable|not able|do(?:es)? ?n['’]t|do(?:es)? not|did ?n['’]t"
    r"|won['’]t|no way to"
    r"|no (?:image|picture|photo|attachment|file|link|access)|only (?:text|write|as text)|nie)\b|\bcannot\b",
    re.IGNORECASE,
)
_ENOUGH: Final = 300
"""Characters of an answer's beginning in which it must say that it cannot."""
_INPUT_FOLLOWS: Final = 40
"""An input of so many characters is what "the attached file" meant."""


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    question = question_of(pair)
    small = question.lower()
    if not any(map(small.__contains__, _HINTS)):
        return None
    for why, request in _REQUESTS:
        if request.search(question):
            # drawn as text, as code or as a diagram it is a picture after all
            if "```" in pair.output or "<svg" in pair.output or _DECLINES.search(pair.output[:_ENOUGH]):
                return None
            if why == "an attachment that is not there" and len(pair.input) >= _INPUT_FOLLOWS:
                return None
            return Drop(why)
    return None


RULE: Final = PairRule(
    "impossible-request",
    "A request to draw, play, call, write to somebody, open a page or look at an attachment, whose "
    "answer does not say that this cannot be done, is left out.",
    _look,
)
