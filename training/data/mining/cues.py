"""What words give away, in English and Polish: that somebody asks, thanks, is still stuck, jokes, chats.

Short patterns on the text as it was typed, Polish with its diacritics or without; they are looked at a million
times an import.
"""

from __future__ import annotations

import re
from typing import Final

_BARE: Final = dict(zip("ąćęłńóśźż", "acelnoszz", strict=True))


def _cue(pattern: str) -> re.Pattern[str]:
    """The pattern in any case, with Polish letters as they are or without their diacritics."""
    return re.compile(
        "".join(f"[{one}{_BARE[one]}]" if one in _BARE else one for one in pattern), re.IGNORECASE
    )


_ASKING: Final = "jak|jaki(?:e|ego|ej|m|mi|ch)?|jak[aą]|czy|czym|czemu|dlaczego|kiedy|gdzie|dokąd|skąd|ile|ilu|co|kto|któr(?:y|a|e|ą|ej|ego|ym)"
_SOMEBODY: Final = (
    "(?:wie|zna|ma|miał|używał|umie|ogarnia|orientuje się|pamięta|kojarzy|potrafi|próbował|pomoże|podpowie|mógłby(?: mi)?|może) ktoś"
    "|ktoś (?:wie|zna|ma|miał|używał|umie|ogarnia|się orientuje|pamięta|kojarzy|potrafi|próbował|pomoże|podpowie|mógłby|może)"
    "|(?:macie|znacie|wiecie|możecie|polecacie|używacie)"
)
"""How Polish asks a question, and asks whether anybody can help."""
QUESTION: Final = _cue(
    r"^\W*(?:(?:hi|hey|hello|yo|cześć|hejk?a?|siemk?a|elo|witam|witajcie|dzień dobry|słuchajcie|ludzie|panowie|(?:mam )?pytanie(?: do \w+)?|morning|afternoon|evening|guys|folks|all|please|pls|ok|so|and|also|but)\b[\s,!.:]*)*"
    r"(?:how|what|why|when|where|which|who|whose|is there|are there|is it|does|do|did|can|could|should|would|has"
    r"|if (?:i|you|we|one) .{3,60}?\b(?:will|would|does|do|can|is)|have(?! to)|any(?:one|body)|some(?:one|body)|is|are|will|may"
    r"|(?:[wznod]|na|do|od|po|przez|za|ze|we|dla|przy) (?:czego|czym|co|kiedy|kogo|kim|ilu|jak\w*|któr\w+)"
    rf"|{_ASKING}|da się|można|mog(?:ę|ł[ao]?by)|{_SOMEBODY})\b",
)
"""How a question begins, after a greeting."""
QUESTION_WITHIN: Final = _cue(
    r"[.,!?;:)\n]\s*(?:and |so |but |ok )?(?:how|what|why|when|where|which|who|is|are|does|do|did|can|could|should|would|will"
    rf"|{_ASKING}|{_SOMEBODY})\b[^.!]*\?",
)
"""A question that comes after something else."""
HELP: Final = _cue(
    r"(?:^|[.!?:;\n] ?|\b(?:know|ideas?|sure|out|understand|remember|recall|explain|wonder\w*|me|see|on) )how to\b"
    r"|\b(?:how (?:do|can|would|should)|what(?:'s| is| are) the|i(?:'m| am) (?:trying|unable|stuck|getting)"
    r"|i (?:can'?t|cannot|couldn'?t) (?:get|find|figure|seem|make|install|open|use|see|connect|start|run)"
    r"|(?:get|getting|got|gives?|throws?|see|seeing) (?:an?|this|the|these)? ?(?:\w+ )?(?:error|exception|warning)"
    r"|(?:does|do|did)n'?t work|not working|won'?t (?:start|work|boot|open|connect|install|run|load)"
    r"|is there (?:a|an|any) (?:way|tool|command|option|setting|package)|any (?:idea|ideas|advice|tips|suggestions?)"
    r"|i (?:want(?:ed)?|have|need) to (?:know|install|remove|get|make|use|set|find|change|deploy|run|move|delete|connect)"
    r"|for some reason|having (?:an? )?(?:issues?|trouble|problems?)|(?:need|want|trying) to \w+ .*(?:pls|plz|please)|need(?:ing)? (?:some )?help|(?:pls|plz|please) help|help (?:me|with|please|pls|plz)|does any(?:one|body) know|nie (?:działa|mogę|umiem|potrafię|wiem,? (?:jak|gdzie|co)|widzę|odpala|startuje|wchodzi|chce (?:mi )?się|daje się|udaje mi się)"
    r"|wywala|wyskakuje|wiesza się|zacina się|błąd|błędem|(?:mam|jest) (?:\w+ )?(?:problem|kłopot)|próbuję|potrzebuję pomocy"
    r"|jak (?:mogę|można|się|to|\w+ć)|co (?:z tym |mam |można )?(?:zrobić|robić|poradzić)"
    rf"|(?:jakieś|jakiś) (?:pomysły?|rady)|{_SOMEBODY}|pomocy|pomóżcie|wytłumaczyć)\b",
)
"""What somebody says who wants help, with or without a question mark."""
THANKS: Final = _cue(
    r"\b(?:thanks?|thank you|thx|thnx|tnx|ty(?= *(?:$|[!.,:)]| so | very | for | man))|tysm|tyvm|cheers|appreciate|much obliged|thank u|lifesaver"
    r"|dzięki(?! (?:temu|czemu|niemu|niej|nim|tej)\b)|dzięk(?:uję|s|ówk?a)|dzien(?:ki|a)|podziękował|doceniam"
    r"|jesteś (?:wielk|niezastąpion|najleps|genialn|super|mistrz|kochan)\w*|rat(?:ujesz|uje pani?|ował[ae]ś)|uratował[ae]ś)\b",
)
SOLVED: Final = _cue(
    r"\b(?:(?:that|it|this|which)(?:'s| is| has|'ve)? (?:worked|works|did it|does it|fixed|fixes|solved|helped|helps)"
    r"|works (?:now|fine|great|perfectly|like a charm)|working now|(?:that|this) did the trick|that was it|got it"
    r"|fixed it|solved|sorted|problem solved|!solved|\[solved\]|perfect|makes sense|i see|alright|aha|understood|rozumiem|jasne"
    r"|działa|zadziałało|pomogło|rozwiązane|naprawione|ogarnięte|ogarn(?:ą|ę)ł[ae]m|ruszył[ao]|poszł[ao]|śmiga|hula|bangla|udało się"
    r"|(?:wy|za|ze|we|prze|po)szło|o to (?:mi )?chodzi(?:ło)?|tego (?:właśnie )?szukał[ae]m|znalazł[ae]m|mam to|już (?:mam|wiem|widzę|działa|jest|ok)"
    r"|(?:wszystko )?jasne|faktycznie|rzeczywiście|super|rewel\w+|idealnie|elegancko|wyszło|nie wiedział[ae]m)\b",
)
STUCK: Final = _cue(
    r"\b(?:(?:still|also) (?:not|doesn'?t|does not|no|the same|getting|fails?)|(?:did|does)n'?t (?:work|help|fix)"
    r"|i would(?: do that)?,? (?:if|but)|but (?:it|they|that|there) (?:(?:do|did|does|is|are)n'?t|says)|can'?t find (?:it|them|that)"
    r"|didnt change|no luck|not working|same (?:error|problem|issue|thing)|didnt work|doesnt work|tried that|(?:already|had|i'?d) (?:tried|looked|checked|read|did)|nope|unfortunately|neither|(?:that|this)(?:'?s| is) not (?:it|what)|not (?:quite )?what i|but i still"
    r"|(?:nadal|wciąż|ciągle|dalej) (?:nie|to samo|wywala|wyskakuje)|nie (?:działa|pomogło|pomaga|dało|chce|widzi|mam tego)|nic (?:nie|z tego)"
    r"|to samo|bez zmian|(?:już )?próbował[ae]m (?:już|tego)|już próbował[ae]m|niestety nie)\b",
)
ASKS_BACK: Final = _cue(
    r"\b(?:d?'?(?:you|u) mean\b|have (?:you|u) (?:tried|checked|looked|been|installed)|did (?:you|u) (?:try|check|install|read)"
    r"|which (?:version|distro|one)\b.{0,20}\?$|are (?:you|u) (?:using|doing|running|on|trying|sure)\b|do (?:you|u) (?:have|use|get|see|want)\b|(?:could|might|can) (?:that|this|it) be\b|is your\b|what(?:'s| is) (?:your|the real|the exact)|what are (?:you|u) trying"
    r"|masz na myśli|próbował[ae]ś|sprawdzał[ae]ś|o co chodzi|a (?:masz|jaki|jaka|jakie|który|która)\b)",
)
"""How whoever helps asks for more, which is no question of their own."""
SHRUG: Final = _cue(
    r"^\W*(?:(?:i )?(?:don'?t|dont|do not) (?:know|think so)|idk|dunno|no (?:idea|clue)|not sure|same here|me too"
    r"|good question|google (?:it|is your friend)|just google|rtfm|lmgtfy|(?:try (?:to )?)?(?:ask(?:ing)? (?:in|on)|/join) |.*off-?topic|nie wiem|nie mam pojęcia"
    r"|też (?:mam|nie wiem)|wygoogluj|dobre pytanie)",
)
"""What looks like an answer and is none."""
NO_IDEA: Final = _cue(
    r"\b(?:no (?:idea|clue)|(?:can'?t|cannot) (?:help|find anything)|not (?:something|a thing) i|never (?:used|tried)"
    r"|not a support question|#\S*off-?topic|(?:isn'?t|not) supported here|support channel|#\S+ for|nie mam pojęcia|nie pomogę|nie znam się|nie wiem niestety|niestety nie wiem)\b",
)
"""What somebody says in passing who does not know, or sends people elsewhere."""
POINTS_BACK: Final = _cue(r"\b(?:that|this|it|them|those|tym|tego|to)\s*\?*\s*$")
"""How something ends that needs what was said before it."""
ASKS_FOR_MORE: Final = _cue(
    r"\b(?:(?:please |pls )?(?:pastebin|post|paste|show (?:us|me)|send (?:us|me)) (?:your|the|a)\b|can (?:yo)?u+ (?:show|send|post|paste(?:bin)?|give)"
    r"|what(?:'s| is) the (?:output|exact error)|(?:give me|just) (?:a|one) (?:sec\w*|min\w*|moment)|i(?:'ll| will) (?:take a look|check|look)"
    r"|(?:give|need|provide|post) (?:us |me )?(?:some |more )?(?:details?|info\w*)|let me (?:check|look|see|know)|hang on|hold on|wklej|pokaż (?:nam|mi)|chwil(?:a|kę|eczkę)|zaraz (?:sprawdzę|zobaczę))\b",
)
"""What somebody says before they can answer."""
OPENS_ASKING: Final = re.compile(r"^[^.!?\n]{3,120}\?\s")
"""How something begins whose first sentence asks."""
LAUGHS: Final = _cue(r"\b(?:lol|lmao|rofl|haha\w*|hehe\w*|xd+|jk|kek|lul|just kidding|żartuję)\b|^\W*$")
SMILES: Final = re.compile(r"(?:^|\s)[;:]-?[)P](?:\s|$)|[😉😜😏]")
"""What makes a joke of a question."""
GREETING: Final = _cue(
    r"^\W*(?:excuse me|hi|hey|hello|yo|sup|morning|good (?:morning|evening|night|afternoon)|cześć|hejk?a?|siemk?a|elo|witam|witajcie"
    r"|dzień dobry|dobry wieczór|dobranoc|miłego|do jutra|welcome|bye|cya|night|gn|gm|nara|pa)\b[\W\w]{0,25}$",
)
SMALL_TALK: Final = _cue(
    r"\b(?:how (?:are|r) (?:you|u|ya)|how(?:'s| is) (?:it going|everyone|everybody|life|your day)|what'?s up|wassup|wyd"
    r"|where (?:are|r) (?:you|u|ya'?ll|y'all) from|how old (?:are|r) (?:you|u)|are (?:you|u) (?:ok|okay|there|single|sure"
    r"|serious|kidding|coming|a bot|human|drunk|high)|did you (?:see|watch|hear)|(?:do|did|have) (?:you|u) "
    r"(?:like|love|ever|want to play|guys like)|who(?:'s| is| wants) (?:up for|here|to play|online|awake|coming)"
    r"|any(?:one|body) (?:here|there|up|awake|alive|online|home|wanna|want to play)|(?:can|may|could) i (?:ask|post|pose)"
    r"|what (?:are|r) (?:you|u|we) (?:doing|up to|talking about|playing|watching|eating)|your favou?rite"
    r"|do (?:you|u) (?:guys )?think|guess (?:what|who)|remember when|isn'?t it\?|right\?$"
    r"|jak (?:tam|leci|się masz|u was|humor|weekend)|co (?:tam|słychać|robicie|robisz|porabiacie|wy na to)|skąd jesteś"
    r"|ile masz lat|kto (?:gra|idzie|ogląda|chętny|dziś|dzisiaj)|ktoś chętny|jest (?:tu )?ktoś|lubi(?:sz|cie)|co (?:sądzicie|myślicie))\b",
)
"""Questions that nobody asks a bot of facts."""
PRIVATE: Final = _cue(
    r"\b(?:my (?:girlfriend|boyfriend|wife|husband|ex|mom|mum|dad|kid|kids|son|daughter|doctor|salary|therapist)"
    r"|depress\w+|suicid\w+|divorc\w+|pregnan\w+|dating|break ?up|broke up|diagnos\w+|my (?:phone )?number|my address"
    r"|moj[ae] (?:żona|dziewczyna|mama|córka)|mój (?:mąż|chłopak|tata|syn|lekarz)"
    r"|rozw(?:ód|odz\w+)|ciąż\w+|depresj\w+|samobój\w+|zarabia(?:m|sz))\b",
)
PASSING: Final = _cue(
    r"\b(?:tonight|tomorrow|what time (?:is|does|do|will)|(?:is|are) (?:the |our )?\w+ (?:down|offline|back up|up again)\b"
    r"|when (?:is|are|does|do|will) the (?:next|stream|event|meeting|update)|is (?:any|some)(?:one|body) else (?:having|seeing)"
    r"|jutro|o której|za godzinę|kiedy następn[ye]|czy \w+ (?:leży|padł[ao]?))\b",
)
"""What is true of a day: no knowledge."""
OF_THE_MOMENT: Final = _cue(
    r"\b(?:(?:seems?|looks?|works?|working|fine|back|up|fixed|available) (?:\w+ )?(?:now|again)|(?:try|check) (?:it )?(?:now|again)"
    r"|for me too|(?:just|already) (?:fixed|restarted|updated|pushed|merged)|(?:działa|chodzi|wróciło) (?:już|teraz|u mnie)|spróbuj teraz)\b"
)
"""An answer that was true when it was given."""
DATED: Final = _cue(
    r"\b(?:today|right now|yesterday|this (?:morning|evening|week)|dzisiaj|dziś|wczoraj|teraz)\b"
)
"""What may be true of a day only."""
LEANS: Final = _cue(
    r"^\W*(?:how\?|and|but|so|or|then|also|it|its|it's|that|this|they|those|these|he|she|why|how come|what about|like what"
    r"|which one|how so|really|(?:a|i) (?:co|czy|jak|gdzie|kiedy|jeśli|ten|ta|to|wtedy)|ale|więc|to|ten|ta|który|która|dlaczego|czemu|naprawdę|jak to)\b",
)
"""How something begins that needs what was said before it."""
HOW_TO: Final = _cue(
    r"\b(?:you (?:can|could|should|need to|have to|must|want to|just)|try|use|run|install|go to|click|set|add|type|check"
    r"|open|enable|disable|make sure|because|since|it(?:'s| is) (?:because|called|in|under)|there(?:'s| is) (?:a|an)|yes|no"
    r"|możesz|musisz|trzeba|użyj|spróbuj|wejdź|kliknij|ustaw|zainstaluj|odinstaluj|wpisz|sprawdź|dodaj|usuń|zmień|wybierz|włącz"
    r"|wyłącz|przejdź|pobierz|uruchom|weź|daj|zrób|najlepiej|bo|ponieważ|wystarczy|tak|nie)\b",
)
CODE: Final = re.compile(
    r"```|`[^`]+`|https?://|(?:^|\s)(?:sudo|apt|apt-get|pip|git|npm) \S|(?:^|\s)(?:cd|ls|cat) [-~/.]|(?:^|\s)~?/\w+/\w|--\w\w"
)
QUOTED_LINE: Final = re.compile(r"^\s*>+[^\n]*\n?", re.MULTILINE)

ACCEPTING: Final = frozenset(
    {
        "✅",
        "✔️",
        "✔",
        "☑️",
        "☑",
        "white_check_mark",
        "heavy_check_mark",
        "ballot_box_with_check",
        "solved",
        "answered",
        "accepted",
        "accept",
        "check",
        "💯",
        "100",
    }
)
"""Reactions that mark an answer as the one."""
LIKING: Final = frozenset(
    {
        "👍",
        "❤️",
        "❤",
        "🙏",
        "🔥",
        "🎉",
        "👏",
        "💪",
        "🤝",
        "⭐",
        "🌟",
        "😍",
        "🥰",
        "👌",
        "🙌",
        "+1",
        "thumbsup",
        "heart",
        "pray",
        "fire",
        "tada",
        "clap",
        "raised_hands",
        "ok_hand",
        "star",
        "100",
        "thumbs_up",
        "thank_you",
        "ty",
        "thanks",
    }
)
DISLIKING: Final = frozenset(
    {"👎", "❌", "🤡", "💩", "🙄", "thumbsdown", "-1", "x", "clown_face", "clown", "poop"}
)


def without_quotes(text: str) -> str:
    """A text without the lines that it quotes; of one that is all quote, nothing is left."""
    return QUOTED_LINE.sub("", text).strip() if ">" in text else text


def asks(text: str) -> bool:
    """Whether a text asks something."""
    return "?" in text or QUESTION.match(text) is not None or HELP.search(text) is not None
