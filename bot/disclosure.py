"""What members and callers of the API read of an error: a public sentence, and a reference to the log.

The operator's own edges (command line, terminal, console) show errors whole.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import structlog

from bot.errors import AnsweringFailed
from bot.texts import FAILED, describe_error
from feedback.errors import ThumbloopError
from feedback.words import Language

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Disclosure:
    """The sentence, "" when nothing may be said, and the reference under which the log has the rest."""

    sentence: str
    reference: str = ""


def disclose(error: Exception) -> Disclosure:
    """What anybody may read of `error`; what is withheld is logged under a reference."""
    if isinstance(error, ThumbloopError) and not error.withholds:
        return Disclosure(error.public)
    reference = (isinstance(error, AnsweringFailed) and error.reference) or secrets.token_hex(4)
    log.error("an error was told by its reference only", reference=reference, exc_info=error)
    return Disclosure(error.public if isinstance(error, ThumbloopError) else "", reference)


def sentence_for_member(error: Exception, language: Language) -> str:
    """`error` in the words of a chat; what is withheld is logged under the reference that they name."""
    if isinstance(error, ThumbloopError) and not error.withholds:
        return describe_error(error, language)
    disclosed = disclose(error)
    failed = FAILED.say(language, reference=disclosed.reference)
    if language == "en" and disclosed.sentence:
        return f"{disclosed.sentence} {failed}"
    return failed
