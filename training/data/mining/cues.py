"""What words give away, in English and Polish: that somebody asks, thanks, is still stuck, jokes, chats.

Short patterns on the text as it was typed; they are looked at a million times an import.
"""

from __future__ import annotations

import re
from typing import Final

_I: Final = re.IGNORECASE

QUESTION: Final = re.compile(
    r"^\W*(?:(?:hi|hey|hello|yo|cześć|czesc|hej|siema|witam|morning|afternoon|evening|guys|folks|all|please|pls|ok|so|and|also|but)\b[\s,!.:]*)*"
    r"(?:how|what|why|when|where|which|who|whose|is there|are there|is it|does|do|did|can|could|should|would|has"
    r"|if (?:i|you|we|one) .{3,60}?\b(?:will|would|does|do|can|is)|have(?! to)|any(?:one|body)|some(?:one|body)|is|are|will|may"
    r"|jak|jaki|jaka|jakie|co|czy|czemu|dlaczego|kiedy|gdzie|skąd|skad|ile|kto|który|ktory|która|ktora|które|ktore"
    r"|da się|da sie|można|mozna|wie ktoś|wie ktos)\b",
    _I,
)
"""How a question begins, after a greeting."""
QUESTION_WITHIN: Final = re.compile(
    r"[.,!?;:)\n]\s*(?:and |so |but |ok )?(?:how|what|why|when|where|which|who|is|are|does|do|did|can|could|should|would|will"
    r"|jak|jaki|jaka|jakie|co|czy|czemu|dlaczego|kiedy|gdzie|skąd|ile|kto|który|która|które)\b[^.!]*\?",
    _I,
)
"""A question that comes after something else."""
HELP: Final = re.compile(
    r"\b(?:how (?:do|to|can|would|should)|what(?:'s| is| are) the|i(?:'m| am) (?:trying|unable|stuck|getting)"
    r"|i (?:can'?t|cannot|couldn'?t) (?:get|find|figure|seem|make|install|open|use|see|connect|start|run)"
    r"|(?:get|getting|got|gives?|throws?|see|seeing) (?:an?|this|the|these)? ?(?:\w+ )?(?:error|exception|warning)"
    r"|(?:does|do|did)n'?t work|not working|won'?t (?:start|work|boot|open|connect|install|run|load)"
    r"|is there (?:a|an|any) (?:way|tool|command|option|setting|package)|any (?:idea|ideas|advice|tips|suggestions?)"
    r"|i (?:want(?:ed)?|have|need) to (?:know|install|remove|get|make|use|set|find|change|deploy|run|move|delete|connect)"
    r"|for some reason|having (?:an? )?(?:issues?|trouble|problems?)|(?:need|want|trying) to \w+ .*(?:pls|plz|please)|need(?:ing)? (?:some )?help|(?:pls|plz|please) help|help (?:me|with|please|pls|plz)|does any(?:one|body) know|nie (?:działa|dziala|mogę|moge|umiem|wiem jak)"
    r"|wywala|błąd|mam problem|jak (?:mogę|moge|zrobić|zrobic|ustawić|ustawic|włączyć|wlaczyc)|pomocy|pomoże)\b",
    _I,
)
"""What somebody says who wants help, with or without a question mark."""
THANKS: Final = re.compile(
    r"\b(?:thanks?|thank you|thx|thnx|tnx|ty|tysm|tyvm|cheers|appreciate|much obliged|thank u|lifesaver"
    r"|dzięki|dzieki|dziękuję|dziekuje|dzięks|dzieks|dziękówa|thx wielkie|wielkie dzięki)\b",
    _I,
)
SOLVED: Final = re.compile(
    r"\b(?:(?:that|it|this|which)(?:'s| is| has|'ve)? (?:worked|works|did it|does it|fixed|fixes|solved|helped|helps)"
    r"|works (?:now|fine|great|perfectly|like a charm)|working now|(?:that|this) did the trick|that was it|got it"
    r"|fixed it|solved|sorted|problem solved|!solved|\[solved\]|perfect|makes sense|i see|alright|aha|understood|rozumiem|jasne"
    r"|działa|dziala|zadziałało|zadzialalo|pomogło|pomoglo|rozwiązane|rozwiazane|teraz działa|super|o to chodziło"
    r"|ogarnięte|mam to)\b",
    _I,
)
STUCK: Final = re.compile(
    r"\b(?:(?:still|also) (?:not|doesn'?t|does not|no|the same|getting|fails?)|(?:did|does)n'?t (?:work|help|fix)"
    r"|i would(?: do that)?,? (?:if|but)|but (?:it|they|that|there) (?:(?:do|did|does|is|are)n'?t|says)|can'?t find (?:it|them|that)"
    r"|didnt change|no luck|not working|same (?:error|problem|issue|thing)|didnt work|doesnt work|tried that|already tried|nope"
    r"|nadal (?:nie|to samo)|dalej nie|nie działa|nie dziala|nie pomogło|nie pomoglo|to samo|próbowałem już)\b",
    _I,
)
ASKS_BACK: Final = re.compile(
    r"\b(?:d?'?(?:you|u) mean\b|have (?:you|u) (?:tried|checked|looked|been|installed)|did (?:you|u) (?:try|check|install|read)"
    r"|which (?:version|distro|one)\b.{0,20}\?$|what(?:'s| is) (?:your|the real|the exact)|what are (?:you|u) trying"
    r"|masz na myśli|próbował[ae]ś|sprawdzał[ae]ś|o co chodzi)",
    _I,
)
"""How whoever helps asks for more, which is no question of their own."""
SHRUG: Final = re.compile(
    r"^\W*(?:(?:i )?(?:don'?t|dont|do not) (?:know|think so)|idk|dunno|no (?:idea|clue)|not sure|same here|me too"
    r"|good question|google (?:it|is your friend)|just google|rtfm|lmgtfy|(?:try (?:to )?)?(?:ask(?:ing)? (?:in|on)|/join) |.*off-?topic|nie wiem|nie mam pojęcia"
    r"|też (?:mam|nie wiem)|wygoogluj|dobre pytanie)",
    _I,
)
"""What looks like an answer and is none."""
NO_IDEA: Final = re.compile(
    r"\b(?:no (?:idea|clue)|(?:can'?t|cannot) (?:help|find anything)|not (?:something|a thing) i|never (?:used|tried)"
    r"|not a support question|#\S*off-?topic|(?:isn'?t|not) supported here|support channel|#\S+ for|nie mam pojęcia|nie pomogę)\b",
    _I,
)
"""What somebody says in passing who does not know, or sends people elsewhere."""
POINTS_BACK: Final = re.compile(r"\b(?:that|this|it|them|those|tym|tego|to)\s*\?*\s*$", _I)
"""How something ends that needs what was said before it."""
ASKS_FOR_MORE: Final = re.compile(
    r"\b(?:(?:please |pls )?(?:pastebin|post|paste|show (?:us|me)|send (?:us|me)) (?:your|the|a)\b|can (?:yo)?u+ (?:show|send|post|paste(?:bin)?|give)"
    r"|what(?:'s| is) the (?:output|exact error)|(?:give me|just) (?:a|one) (?:sec\w*|min\w*|moment)|i(?:'ll| will) (?:take a look|check|look)"
    r"|(?:give|need|provide|post) (?:us |me )?(?:some |more )?(?:details?|info\w*)|let me (?:check|look|see|know)|hang on|hold on|wklej|pokaż (?:nam|mi)|chwil(?:a|kę|eczkę)|zaraz (?:sprawdzę|zobaczę))\b",
    _I,
)
"""What somebody says before they can answer."""
LAUGHS: Final = re.compile(
    r"\b(?:lol|lmao|rofl|haha\w*|hehe\w*|xd+|jk|kek|lul|just kidding|żartuję|zartuje)\b|^\W*$", _I
)
SMILES: Final = re.compile(r"(?:^|\s)[;:]-?[)P](?:\s|$)|[😉😜😏]")
"""What makes a joke of a question."""
GREETING: Final = re.compile(
    r"^\W*(?:excuse me|hi|hey|hello|yo|sup|morning|good (?:morning|evening|night|afternoon)|cześć|czesc|hej|siema|witam"
    r"|dzień dobry|dzien dobry|dobry wieczór|welcome|bye|cya|night|gn|gm|nara|pa)\b[\W\w]{0,25}$",
    _I,
)
SMALL_TALK: Final = re.compile(
    r"\b(?:how (?:are|r) (?:you|u|ya)|how(?:'s| is) (?:it going|everyone|everybody|life|your day)|what'?s up|wassup|wyd"
    r"|where (?:are|r) (?:you|u|ya'?ll|y'all) from|how old (?:are|r) (?:you|u)|are (?:you|u) (?:ok|okay|there|single|sure"
    r"|serious|kidding|coming|a bot|human|drunk|high)|did you (?:see|watch|hear)|(?:do|did|have) (?:you|u) "
    r"(?:like|love|ever|want to play|guys like)|who(?:'s| is| wants) (?:up for|here|to play|online|awake|coming)"
    r"|any(?:one|body) (?:here|there|up|awake|alive|online|home|wanna|want to play)|(?:can|may|could) i (?:ask|post|pose)"
    r"|what (?:are|r) (?:you|u|we) (?:doing|up to|talking about|playing|watching|eating)|your favou?rite"
    r"|do (?:you|u) (?:guys )?think|guess (?:what|who)|remember when|isn'?t it\?|right\?$"
    r"|jak (?:tam|leci|się masz|sie masz|u was)|co (?:tam|słychać|slychac|robicie|robisz|porabiacie)|skąd jesteś"
    r"|ile masz lat|kto gra|kto idzie|jest (?:tu )?kto[śs]|lubi(?:sz|cie)|co (?:sądzicie|sadzicie|myślicie|myslicie))\b",
    _I,
)
"""Questions that nobody asks a bot of facts."""
PRIVATE: Final = re.compile(
    r"\b(?:my (?:girlfriend|boyfriend|wife|husband|ex|mom|mum|dad|kid|kids|son|daughter|doctor|salary|therapist)"
    r"|depress\w+|suicid\w+|divorc\w+|pregnan\w+|dating|break ?up|broke up|diagnos\w+|my (?:phone )?number|my address"
    r"|moj[ae] (?:żona|zona|dziewczyna|mama|córka|corka)|mój (?:mąż|maz|chłopak|chlopak|tata|syn|lekarz)"
    r"|rozw(?:ód|odz\w+)|ciąż\w+|depresj\w+|samobój\w+|zarabia(?:m|sz))\b",
    _I,
)
PASSING: Final = re.compile(
    r"\b(?:tonight|tomorrow|what time (?:is|does|do|will)|(?:is|are) (?:the |our )?\w+ (?:down|offline|back up|up again)\b"
    r"|when (?:is|are|does|do|will) the (?:next|stream|event|meeting|update)|is (?:any|some)(?:one|body) else (?:having|seeing)"
    r"|jutro|o której|za godzinę|kiedy (?:następn[ye]|nastepn[ye])|czy \w+ (?:leży|lezy|padł[ao]?))\b",
    _I,
)
"""What is true of a day: no knowledge."""
DATED: Final = re.compile(
    r"\b(?:today|right now|yesterday|this (?:morning|evening|week)|dzisiaj|dziś|wczoraj|teraz)\b", _I
)
"""What may be true of a day only."""
LEANS: Final = re.compile(
    r"^\W*(?:how\?|and|but|so|or|then|also|it|its|it's|that|this|they|those|these|he|she|why|how come|what about|like what"
    r"|which one|how so|really|(?:a|i) (?:co|czy|jak|gdzie|kiedy|je[śs]li|ten|ta|to|wtedy)|ale|więc|wiec|to|ten|ta|który|która|dlaczego|czemu|naprawdę|jak to)\b",
    _I,
)
"""How something begins that needs what was said before it."""
HOW_TO: Final = re.compile(
    r"\b(?:you (?:can|could|should|need to|have to|must|want to|just)|try|use|run|install|go to|click|set|add|type|check"
    r"|open|enable|disable|make sure|because|since|it(?:'s| is) (?:because|called|in|under)|there(?:'s| is) (?:a|an)|yes|no"
    r"|możesz|mozesz|musisz|trzeba|użyj|uzyj|spróbuj|sprobuj|wejdź|wejdz|kliknij|ustaw|zainstaluj|wpisz|sprawdź|sprawdz"
    r"|dodaj|bo|ponieważ|poniewaz|wystarczy|tak|nie)\b",
    _I,
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
