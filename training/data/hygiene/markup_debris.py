"""HTML, log lines and a chat template's own tokens that stuck to a text when it was copied."""

from __future__ import annotations

import html
import re
from typing import Final

from training.data.hygiene.rule import (
    Drop,
    Mend,
    PairRule,
    each_text,
    outside_code,
    question_of,
    without_code,
)
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_NAMES: Final = (
    r"(?:p|br|div|span|b|i|u|em|strong|a|ul|ol|li|h[1-6]|table|tbody|thead|tr|td|th|font|img|hr|center"
    r"|blockquote)"
)
_SURE: Final = re.compile(rf"</{_NAMES}\s*>|<br\s*/?>|<{_NAMES}\s+[a-z-]+\s*=", re.IGNORECASE)
"""A lone <b> or <i> may be a type parameter or a comparison; one of these is HTML."""
_SCRIPT: Final = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK: Final = re.compile(r"<br\s*/?>|</(?:p|div|li|tr|h[1-6])\s*>", re.IGNORECASE)
_TAG: Final = re.compile(rf"</?{_NAMES}(?:\s+[^<>]*)?/?>", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&(?:[a-z]{2,8}|#\d{2,5}|#x[0-9a-f]{2,5});", re.IGNORECASE)
_ABOUT_MARKUP: Final = re.compile(
    r"html|xml|svg|jsx|markup|markdown|\bcss\b|\btags?\b|znacznik|\btag(?:i|u|ów|iem)?\b"
    r"|(?<![</])\b(?:div|span)s?\b|entit|encj|escap"
    r"|strona www",
    re.IGNORECASE,
)
_LOG_LINE: Final = re.compile(
    r"^\W{0,2}(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d(?:[.,]\d+)?\S*\s"
    r"|^\W?(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL|TRACE)\W*[:\]|]\s?",
)
_TRACEBACK: Final = re.compile(
    r'^Traceback \(most recent call last\):$|^\s+File ".+", line \d+', re.MULTILINE
)
_CHAT_HEADER: Final = re.compile(
    r"(?:—|–| - |\[)\s?(?:Today|Yesterday|Dzisiaj|Dziś|Wczoraj)\s(?:at|o)\s\d{1,2}:\d\d", re.IGNORECASE
)
_SPECIAL_TOKEN: Final = re.compile(
    r"<\|(?:im_start|im_end|endoftext|eot_id|begin_of_text|start_header_id|end_header_id|user|assistant"
    r"|system)\|>"
    r"|\[/?INST\]|<</?SYS>>|</s>"
)


def _without_html(text: str) -> str:
    if "<" in text and _SURE.search(text):
        text = _TAG.sub("", _BREAK.sub("\n", _SCRIPT.sub("", text)))
    if "&" in text and _ENTITY.search(text):
        text = html.unescape(text).replace("\xa0", " ")
    return text


def _cleaned(text: str) -> str:
    return outside_code(text, _without_html) if "<" in text or "&" in text else text


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | Mend | None:
    output = pair.output
    if (why := _debris(output)) is not None:
        return Drop(why)
    if "<" not in output and "[" not in output and "&" not in output and "<" not in pair.instruction:
        return None
    question = question_of(pair)
    if _SPECIAL_TOKEN.search(without_code(output)) and not _SPECIAL_TOKEN.search(question):
        return Drop("tokens of a chat template")
    if _ABOUT_MARKUP.search(question) or _ABOUT_MARKUP.search(output):
        return None
    mended = each_text(pair, _cleaned)
    return None if mended is pair else Mend(mended, "HTML taken out")


def _debris(output: str) -> str | None:
    if ":" not in output:
        return None
    if "line " in output and _TRACEBACK.search(without_code(output)):
        return "a stack trace"
    if _CHAT_HEADER.search(output):
        return "headers of a copied chat"
    if "\n" in output and _LOG_LINE.match(output):
        lines = [line for line in without_code(output).splitlines() if line.strip()]
        if len(lines) >= 2 and 2 * sum(bool(_LOG_LINE.match(line)) for line in lines) > len(lines):
            return "log lines"
    return None


RULE: Final = PairRule(
    "markup-debris",
    "HTML tags and entities are taken out where nobody speaks of HTML, outside code; an answer that is a "
    "log, a stack trace, a copied chat or holds a chat template's tokens is left out.",
    _look,
)
