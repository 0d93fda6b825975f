"""Personal data in questions and answers: recognised, and masked or left out by setting.

presidio's pattern recognisers find IBANs, cards and PESEL numbers with their check digits, and telephone
numbers by the phonenumbers library; the others are patterns of our own. What nobody is known by stays:
addresses at example.com, private IP addresses, decorators, placeholders such as YOUR_API_KEY.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from training.data.hygiene.rule import Drop, Mend, PairRule, each_text, outside_code
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

_EMAIL: Final = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?![\w@-])"
)
_NOBODYS: Final = re.compile(
    r"^(?:git|hg|svn)@|@(?:[\w-]+\.)*(?:example\.\w+|[\w-]+\.(?:example|test|invalid))$"
    r"|^(?:user|name|you|me|imie|adres)@(?:domain|domena|mail|email|host|firma|company)\.\w+$",
    re.IGNORECASE,
)
_LONG: Final = re.compile(r"[A-Za-z0-9_\-]{20}")
_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:sk|pk|rk)[-_](?:[A-Za-z]+[-_])*[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    r"|\bglpat-[\w\-]{20,}|\bhf_[A-Za-z0-9]{30,}|\bxox[abprs]-[\w\-]{10,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\bAIza[\w\-]{35}"
    r"|\beyJ[\w\-]{8,}\.eyJ[\w\-]{8,}\.[\w\-]{8,}"
    # the bots' own tokens: Discord's, then Telegram's
    r"|\b[A-Za-z\d_\-]{23,28}\.[\w\-]{6,7}\.[\w\-]{27,}|\b\d{8,10}:[\w\-]{35}\b",
    re.DOTALL,
)
_SECRET: Final = re.compile(
    r"(?P<name>\b(?:(?:api[_\- ]?key|access[_\- ]?token|auth[_\- ]?token|secret|token|password|passwd"
    r"|hasło|haslo)"
    r"[\"']?(?:\s+(?:is|to)\s+|\s*[:=]\s*)|bearer\s+)[\"']?)"
    r"(?P<value>(?=[^\s\"']*\d)(?=[^\s\"']*[A-Za-z])[^\s\"'`<>{}()\[\]]{8,})",
    re.IGNORECASE,
)
_MIXED: Final = re.compile(r"\d[A-Za-z]|[A-Za-z]\d")
_SECRET_HINTS: Final = ("key", "token", "bearer", "secret", "passw", "hasło", "haslo")
_NO_SECRET: Final = re.compile(
    r"your|example|twoj|xxx|\.{3}|^[a-z_]+[_.\-][a-z_]*\d{0,2}$|^\w+\.\w+", re.IGNORECASE
)
_DIGITS: Final = re.compile(r"\d[\d \-().:]{5,}\d")
_IBAN_LIKE: Final = re.compile(r"\b[A-Z]{2}\d{2}[ \-]?[A-Z0-9]{4}")
_DOMESTIC_ACCOUNT: Final = re.compile(r"(?<![\w\-])\d{2}(?:[ \-]?\d{4}){6}(?![\w\-])")
_CARD_LIKE: Final = re.compile(r"(?<![\w.,:/\-])[13-6]\d{3}(?:[ \-]?\d{3,4}){2}[ \-]?\d{3,5}(?![\w\-])")
_PESEL_LIKE: Final = re.compile(r"(?<![\w.,])\d{11}(?!\w|[.,]\d)")
_PHONE_LIKE: Final = re.compile(
    r"(?<![\w.,=*/×+\-])(?:(?:\+|00)\d{1,3}[ \-]?)?(?:\(\d{2,4}\)[ \-]?)?\d{2,4}(?:[ \-.]?\d{2,4}){1,4}"
    r"(?!\w|[.,]\d|\s?[%=*/×+]|\s-\s|\s(?:zł|pln|usd|eur|tokens?|param|bajt|bytes?|[kmg]b)\b)",
    re.IGNORECASE,
)
_PHONE_WORD: Final = re.compile(
    r"(?:\btel\b|telef|phone|mobile|\bcell|\bcall|\bsms|whatsapp|zadzwo|dzwo[nń]|komórk|\bkom\b|\bnumer"
    r"|\bnr\b|\bnumber)"
    r"[^\d]{0,25}$",
    re.IGNORECASE,
)
_PHONE_GROUPS: Final = re.compile(r"\d{3}([ \-])\d{3}\1\d{3}|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4}")
_FEWEST_PHONE_DIGITS: Final = 9
_IP: Final = re.compile(
    r"(?<![\w.\-])(?:\d{1,3}\.){3}\d{1,3}(?![\w\-]|\.\d)"
    r"|(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}(?::|[0-9a-f]{1,4})(?::?[0-9a-f]{1,4})*(?![\w:])",
    re.IGNORECASE,
)
_IP_HINT: Final = re.compile(r":[0-9A-Fa-f]{0,4}:|\.\d{1,3}\.\d")
_EVERYBODYS: Final = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"})
"""Public name servers, which every other guide names."""
_VERSION: Final = re.compile(r"(?:\bv|version|wersj\w|release|[=<>~]=)\s*$", re.IGNORECASE)
_PLATFORM_MENTION: Final = re.compile(r"<(?:@[!&]?|#)\d{5,20}>")
_NAME: Final = re.compile(r"(?<![\w@/.`<:+\-])@(?P<name>[A-Za-z]\w{2,31})\b(?![/(\w]|\.\w|-\w)")
_NOT_NAMES: Final = """
property dataclass staticmethod classmethod abstractmethod override overload cached_property lru_cache
cache wraps contextmanager pytest fixture torch media import keyframes everyone here param return
returns throws deprecated test autowired component latest matmul decorator author see since types
supports apply layer tailwind charset final
"""
"""What follows an @ in programs and is nobody's name."""


@lru_cache(maxsize=1)
def _recognisers() -> dict[str, EntityRecognizer]:
    """Presidio's recognisers by the kind of personal data that they find."""
    # imported here: it takes seconds, and most communities' pairs never need it
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        IbanRecognizer,
        PhoneRecognizer,
        PlPeselRecognizer,
    )

    return {
        "IBAN": IbanRecognizer(),
        "card": CreditCardRecognizer(),
        "PESEL": PlPeselRecognizer(),
        "phone": PhoneRecognizer(supported_regions=("PL", "GB", "US")),
    }


def masked(text: str) -> tuple[str, list[str]]:
    """The text with what is personal in it replaced by its kind in brackets; the kinds found."""
    kinds: dict[str, None] = {}

    def mask(
        pattern: re.Pattern[str], kind: str, is_personal: Callable[[re.Match[str]], bool], text: str
    ) -> str:
        def replaced(match: re.Match[str]) -> str:
            if not is_personal(match):
                return match[0]
            kinds[kind] = None
            return f"[{kind}]"

        return pattern.sub(replaced, text)

    def secret(match: re.Match[str]) -> str:
        if _NO_SECRET.search(match["value"]):
            return match[0]
        kinds["key"] = None
        return f"{match['name']}[key]"

    if _LONG.search(text) or "PRIVATE KEY" in text:
        text = mask(_KEY, "key", _always, text)
    if _names_a_secret(text):
        text = _SECRET.sub(secret, text)
    if "@" in text:
        text = mask(_EMAIL, "e-mail", lambda match: not _NOBODYS.search(match[0]), text)
        text = mask(_PLATFORM_MENTION, "mention", _always, text)
        text = outside_code(text, lambda prose: mask(_NAME, "mention", _is_name, prose))
    elif "<#" in text:
        text = mask(_PLATFORM_MENTION, "mention", _always, text)
    if _IP_HINT.search(text):
        text = mask(_IP, "IP address", _is_somebodys_ip, text)
    if _DIGITS.search(text):
        if _IBAN_LIKE.search(text):
            text = _with_ibans_masked(text, kinds)
        text = mask(_DOMESTIC_ACCOUNT, "IBAN", lambda match: _is_valid("IBAN", f"PL{match[0]}"), text)
        text = mask(_CARD_LIKE, "card", lambda match: _is_valid("card", match[0]), text)
        text = mask(_PESEL_LIKE, "PESEL", lambda match: _is_valid("PESEL", match[0]), text)
        text = mask(_PHONE_LIKE, "phone", _is_phone, text)
    return text, list(kinds)


def _may_be_personal(text: str) -> bool:
    """A quick look: whether `masked` could find anything."""
    return (
        "@" in text
        or "<#" in text
        or "PRIVATE KEY" in text
        or _DIGITS.search(text) is not None
        or _IP_HINT.search(text) is not None
        or _LONG.search(text) is not None
        or _names_a_secret(text)
    )


def _names_a_secret(text: str) -> bool:
    small = text.lower()
    return any(map(small.__contains__, _SECRET_HINTS)) and _MIXED.search(text) is not None


def _always(_: re.Match[str]) -> bool:
    return True


def _is_name(match: re.Match[str]) -> bool:
    return match["name"].casefold() not in _NOT_NAMES.split()


def _is_valid(kind: str, text: str) -> bool:
    """Whether a recogniser takes the whole text for what it looks like, its check digits included."""
    found = _recognisers()[kind].analyze(text, [])
    return any(one.score >= 1 and one.end - one.start == len(text) for one in found)


def _with_ibans_masked(text: str, kinds: dict[str, None]) -> str:
    """An IBAN's end depends on its country, which presidio knows: it says where each one lies."""
    found = _recognisers()["IBAN"].analyze(text, [])
    for one in sorted((one for one in found if one.score >= 1), key=lambda one: one.start, reverse=True):
        text = f"{text[: one.start]}[IBAN]{text[one.end :]}"
        kinds["IBAN"] = None
    return text


def _is_phone(match: re.Match[str]) -> bool:
    number = match[0]
    if sum(letter.isdigit() for letter in number) < _FEWEST_PHONE_DIGITS:
        return False
    before = match.string[: match.start()]
    # numbers without a sign of what they are count as such only where they are written like telephone numbers
    if not (
        number.startswith(("+", "00")) or _PHONE_GROUPS.fullmatch(number) or _PHONE_WORD.search(before[-60:])
    ):
        return False
    return bool(_recognisers()["phone"].analyze(number, []))


def _is_somebodys_ip(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    return (
        address.is_global
        and match[0] not in _EVERYBODYS
        and not _VERSION.search(match.string[max(0, match.start() - 12) : match.start()])
    )


def _look(pair: TrainingPair, settings: HygieneSettings) -> Drop | Mend | None:
    """Mask personal data in all texts of the pair, or drop the pair, as the settings say."""
    if not _may_be_personal(f"{pair.instruction}\n{pair.input}\n{pair.output}"):
        return None
    kinds: dict[str, None] = {}

    def change(text: str) -> str:
        changed, found = masked(text)
        kinds.update(dict.fromkeys(found))
        return changed

    mended = each_text(pair, change)
    if mended is pair:
        return None
    why = ", ".join(sorted(kinds))
    return Drop(why) if settings.personal_data == "drop" else Mend(mended, why)


RULE: Final = PairRule(
    "personal-data",
    "E-mail addresses, phone numbers, IBANs, cards, PESEL numbers, keys and tokens, public IP addresses and "
    "mentions of members are masked ([e-mail]), or their pair left out, by `personal_data`.",
    _look,
)
