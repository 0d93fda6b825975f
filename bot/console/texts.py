"""Words that only the console says, in English and Polish; those of every surface are in `bot.texts`."""

from __future__ import annotations

from typing import Final

from bot.access.actor import Role
from bot.texts import Text
from feedback.words import TaskType

CHAT = Text("Chat", "Czat")
REVIEW = Text("Review", "Ocena")
ADAPTERS = Text("Adapters", "Adaptery")
BY_ITSELF = Text("What happened by itself", "Co stało się samo")
SKIP_TO_CONTENT = Text("Skip to content", "Przejdź do treści")
PAGES = Text("Pages", "Strony")
MENU = Text("Menu", "Menu")
GROUP_TEACH = Text("Teach", "Nauka")
GROUP_TRAIN = Text("Train", "Trening")
GROUP_RUN = Text("Look after", "Opieka")
LOCAL_ONLY = Text(
    "Open to this machine only; web.public_url opens it to others, who sign in.",
    "Otwarte tylko na tej maszynie; web.public_url otwiera je innym, po zalogowaniu.",
)
KNOWLEDGE = Text("Knowledge", "Wiedza")
KNOWLEDGE_MORE = Text(
    "What the bot may look up before it answers, beside the answers that moderators approved.",
    "Do czego bot może zajrzeć, zanim odpowie, oprócz odpowiedzi zatwierdzonych przez moderatorów.",
)
DROP_FILES = Text(
    "Drop files here: Markdown, HTML, PDF, DOCX, text, CSV",
    "Upuść pliki: Markdown, HTML, PDF, DOCX, tekst, CSV",
)
ADDRESS = Text("Address of a page, sitemap or feed", "Adres strony, mapy witryny lub kanału")
ADD_ADDRESS = Text("Add", "Dodaj")
READING = Text("Reading…", "Czytam…")
READ_DOCUMENT = Text("Look inside", "Zajrzyj")
REFRESH = Text("Read anew", "Wczytaj na nowo")
REMOVE = Text("Remove", "Usuń")
SIGN_IN = Text("Sign in", "Zaloguj się")
SIGN_OUT = Text("Sign out", "Wyloguj się")
SIGN_IN_TITLE = Text("Sign in to Thumbloop", "Logowanie do Thumbloop")
SIGN_IN_HOW = Text(
    "Say /console to the bot on Discord or Telegram: it sends you a link. Operators may also run "
    "`thumbloop console link`.",
    "Napisz do bota /console na Discordzie lub Telegramie: wyśle Ci link. Operatorzy mogą też uruchomić "
    "`thumbloop console link`.",
)
SIGN_IN_WITH = Text("Sign in with {provider}", "Zaloguj się przez {provider}")
OIDC_AWAY = Text(
    "The sign-in service cannot be reached. Try again, or tell the operator.",
    "Usługa logowania nie odpowiada. Spróbuj ponownie albo powiadom operatora.",
)
OIDC_REFUSED = Text(
    "The sign-in service did not vouch for you, or it took too long. Try again.",
    "Usługa logowania nie potwierdziła Twojej tożsamości albo trwało to zbyt długo. Spróbuj ponownie.",
)
OIDC_NO_ROLE = Text(
    "Your account opens nothing here. Ask the operator to give its group a role.",
    "Twoje konto nic tu nie otwiera. Poproś operatora, by nadał rolę jego grupie.",
)
SIGN_IN_ONCE = Text("The link works once, for this browser.", "Link działa raz, dla tej przeglądarki.")
SIGN_IN_REFUSED = Text(
    "This link was used already, or it is too old. Ask for a new one with /console.",
    "Ten link został już użyty albo wygasł. Poproś o nowy przez /console.",
)
SIGN_IN_TOO_OFTEN = Text(
    "Too many links that do not work were tried. Wait a minute.",
    "Zbyt wiele nieudanych prób. Odczekaj minutę.",
)
SESSIONS = Text("Sessions", "Sesje")
SESSIONS_MORE = Text(
    "Where you are signed in. End what you do not know.",
    "Gdzie jesteś zalogowany. Zakończ to, czego nie rozpoznajesz.",
)
NO_SESSIONS = Text("Nobody is signed in.", "Nikt nie jest zalogowany.")
THIS_BROWSER = Text("this browser", "ta przeglądarka")
SEEN_AT = Text("used {when}", "używana {when}")
UNTIL = Text("until {when}", "do {when}")
END_SESSION = Text("End", "Zakończ")
SESSION_ENDED = Text("The session has ended.", "Sesja zakończona.")
ROLES: Final[dict[Role, Text]] = {
    "member": Text("member", "członek"),
    "moderator": Text("moderator", "moderator"),
    "administrator": Text("administrator", "administrator"),
    "operator": Text("operator", "operator"),
}
OTHER_LANGUAGE = Text("Polski", "English")
LOOK: Final = {
    "auto": Text("Look: as the system", "Wygląd: jak w systemie"),
    "light": Text("Look: light", "Wygląd: jasny"),
    "dark": Text("Look: dark", "Wygląd: ciemny"),
}
NO_SUCH_PAGE = Text("There is no such page.", "Nie ma takiej strony.")
NO_SUCH_PAGE_MORE = Text(
    "The address may be mistyped, or from an older Thumbloop.",
    "Adres może zawierać literówkę albo pochodzić ze starszej wersji.",
)
BACK_TO_CHAT = Text("Back to the chat", "Wróć do czatu")
TRY_AGAIN = Text("Try again", "Spróbuj ponownie")
PAGE_FAILED = Text("This page could not be shown", "Nie udało się pokazać tej strony")
REFUSED = Text("This is not shown", "Tego nie można pokazać")
NO_SUCH_PATH = Text(
    "There is no such page, or it is not for you.", "Nie ma takiej strony albo nie jest dla Ciebie."
)
SIGN_IN_FIRST = Text("Sign in first.", "Najpierw się zaloguj.")
UNKNOWN_HOST = Text(
    "This console does not answer to that name. Open it by the address that Thumbloop printed; the address "
    "under which others reach it belongs in THUMBLOOP_WEB__PUBLIC_URL.",
    "Ta konsola nie odpowiada pod tą nazwą. Otwórz ją pod adresem, który wypisał Thumbloop; adres, pod którym "
    "jest dostępna dla innych, wpisz w THUMBLOOP_WEB__PUBLIC_URL.",
)
FOREIGN_PAGE = Text("This console answers its own pages only.", "Ta konsola odpowiada tylko własnym stronom.")
CONNECTION_LOST = Text("The connection to Thumbloop is lost.", "Utracono połączenie z Thumbloopem.")
RECONNECTING = Text(
    "Trying again… What you typed stays here. If this lasts, open the page anew: your session may have ended. If "
    "it does not open, ask the operator whether Thumbloop runs.",
    "Łączę ponownie… To, co wpisano, zostaje. Jeśli to potrwa, otwórz stronę od nowa: sesja mogła się zakończyć. "
    "Jeśli się nie otwiera, zapytaj operatora, czy Thumbloop działa.",
)
TOO_LONG = Text("That is too long to be sent.", "To jest zbyt długie, by je wysłać.")
TOO_LONG_MORE = Text("Shorten it, or send it in parts.", "Skróć to albo wyślij w częściach.")
CLOSE = Text("Close", "Zamknij")

# chat
ASK_PLACEHOLDER = Text("Ask something…", "Zapytaj o coś…")
ASK_HINT = Text("Enter sends, Shift+Enter starts a new line", "Enter wysyła, Shift+Enter zaczyna nowy wiersz")
SEND = Text("Send", "Wyślij")
NEW_CONVERSATION = Text("New conversation", "Nowa rozmowa")
CONVERSATION = Text("Conversation", "Rozmowa")
CONVERSATIONS = Text("Conversations", "Rozmowy")
NO_CONVERSATIONS = Text(
    "No conversation like that in this browser.", "Nie ma takiej rozmowy w tej przeglądarce."
)
COPY_CODE = Text("Copy", "Kopiuj")
WHAT_SERVES = Text("what serves", "to, co w użyciu")
YOU = Text("You", "Ty")
WRITTEN_BY_PEOPLE = Text("written by people", "napisane przez ludzi")
BASE_MODEL = Text("base model", "model bazowy")
ANSWERED_BY = Text("Answered by", "Odpowiada")
OPEN_SOURCE = Text("Open the source", "Otwórz źródło")
THINKING = Text("Thinking…", "Myślę…")
NO_ANSWER = Text("This question was not answered.", "To pytanie zostało bez odpowiedzi.")
WELCOME = Text("What would you like to know?", "Czego chcesz się dowiedzieć?")
WELCOME_MORE = Text(
    "Ask, then say with a thumb whether the answer helped. Approved answers teach the next adapter.",
    "Zapytaj, a potem kciukiem oceń, czy odpowiedź pomogła. Zatwierdzone odpowiedzi uczą kolejny adapter.",
)
TRY_ASKING = Text("Try asking", "Zapytaj na przykład")
MODE = Text("How to answer", "Jak odpowiadać")

# votes
SEND_FEEDBACK = Text("Send feedback", "Wyślij uwagi")
THANKS = Text("Thank you. A moderator will see it.", "Dziękujemy. Zobaczy to moderator.")

# review
WAITING = Text("waiting", "czeka")
WAITING_COUNT = Text("Waiting: {count}", "Czeka: {count}")
NOTHING_WAITS_MORE = Text(
    "New answers arrive here as people ask. Ask something in the chat, or train on what you have approved.",
    "Nowe odpowiedzi pojawią się, gdy ktoś zapyta. Zapytaj w czacie albo trenuj na tym, co zatwierdzono.",
)
ONLY_SKIPPED = Text(
    "You skipped what is left, or it is open in another window",
    "Pozostałe pominięto albo są otwarte w innym oknie",
)
ONLY_SKIPPED_MORE = Text(
    "Undo brings the last one back; another moderator may decide on the rest.",
    "Cofnij, by wrócić do ostatniej; o reszcie może zdecydować inny moderator.",
)
NO_VOTES = Text("No votes yet", "Jeszcze bez głosów")
SUGGESTED_ANSWER = Text("Suggested by a member", "Propozycja członka społeczności")
USE_SUGGESTION = Text("Use this answer", "Użyj tej odpowiedzi")
LANGUAGE_UNSURE = Text("language unsure", "niepewny język")
DRAFT = Text("Draft by the model", "Szkic modelu")
EDITED_ANSWER = Text("The answer it should have been", "Jak powinna brzmieć odpowiedź")
TASK_TYPE = Text("Kind of answer", "Rodzaj odpowiedzi")
TASK_TYPES: Final[dict[TaskType, Text]] = {
    "qa": Text("plain answer", "zwykła odpowiedź"),
    "explanation": Text("explanation", "wyjaśnienie"),
    "code": Text("code", "kod"),
    "checklist": Text("checklist", "lista kroków"),
    "not-knowing": Text("says that it does not know", "przyznaje, że nie wie"),
}
BY_RULES = Text("recognised by itself (now: {kind})", "rozpoznawany sam (teraz: {kind})")
LANGUAGE = Text("Language", "Język")
LANGUAGES: Final[dict[str, Text]] = {"en": Text("English", "angielski"), "pl": Text("Polish", "polski")}
DIFFERENCE = Text("What changes", "Co się zmieni")
WHY_REJECT = Text("Why is it rejected?", "Dlaczego odrzucić?")
REJECT_REASONS: Final = (
    Text("wrong", "błędna"),
    Text("off topic", "nie na temat"),
    Text("private", "prywatna"),
    Text("unsafe", "niebezpieczna"),
    Text("not worth teaching", "nie warto tego uczyć"),
)
"""What rejecting may be for; the record keeps the English words."""
NO_REASON = Text("No reason", "Bez powodu")
KEYS = Text("Keys", "Klawisze")
REVIEW_KEYS: Final = (
    ("A", Text("Approve", "Zatwierdź")),
    ("E", Text("Edit; Ctrl+Enter saves, Esc leaves", "Popraw; Ctrl+Enter zapisuje, Esc porzuca")),
    (
        "R",
        Text("Reject: then 1 to 5 for the reason, R for none", "Odrzuć: potem 1 do 5 to powód, R bez powodu"),
    ),
    ("S", Text("Skip: somebody else decides", "Pomiń: zdecyduje ktoś inny")),
    ("D", Text("Let the model draft another answer", "Niech model naszkicuje inną odpowiedź")),
    ("U", Text("Undo the last decision", "Cofnij ostatnią decyzję")),
    (
        "1 … 9",
        Text("Edit a suggested answer, or another that was given", "Popraw propozycję albo inną odpowiedź"),
    ),
    ("↓ ↑", Text("Choose among several answers, for A and E", "Wybierz jedną z kilku odpowiedzi, dla A i E")),
    (
        "→ ←",
        Text("Look at the next one, and back, without deciding", "Zobacz następną i poprzednią bez decyzji"),
    ),
    ("?", Text("These keys", "Te klawisze")),
)
LAST_ONE = Text("That is the last one in the queue.", "To ostatnia w kolejce.")
AND_ALIKE = Text("And {count:repeat|repeats} of it.", "I {count:powtórzenie|powtórzenia|powtórzeń}.")
PERSONAL = Text("Personal data: {kind}", "Dane osobowe: {kind}")
MASK_IT = Text("Edit it without them", "Popraw bez nich")
ALSO_DECIDE = Text(
    "Decide the same on {count:repeat|repeats} of this question",
    "Zdecyduj tak samo o: {count:powtórzenie|powtórzenia|powtórzeń} tego pytania",
)
SAID_BEFORE = Text("Said before", "Wcześniej w rozmowie")
DECIDED_ALIKE = Text("Decided on questions like this", "Decyzje o podobnych pytaniach")
REVIEW_STATES: Final[dict[str, Text]] = {
    "waiting": Text("waiting", "czeka"),
    "approved": Text("approved", "zatwierdzona"),
    "edited": Text("edited", "poprawiona"),
    "rejected": Text("rejected", "odrzucona"),
}
REVIEW_LIST = Text("List", "Lista")
REVIEW_LIST_TITLE = Text("Review: the list", "Ocena: lista")
ONE_BY_ONE = Text("One by one", "Po kolei")
SEARCH_TURNS = Text("Words in question or answer", "Słowa z pytania lub odpowiedzi")
FILTER = Text("Which", "Które")
REVIEW_FILTERS: Final[dict[str, Text]] = {
    "all": Text("all", "wszystkie"),
    "down-voted": Text("found unhelpful", "ocenione jako niepomocne"),
    "disputed": Text("voters disagree", "głosy się różnią"),
    "gaps": Text("nobody knew", "bez wiedzy"),
    "imported": Text("imported", "zaimportowane"),
    "language-unsure": LANGUAGE_UNSURE,
}
NO_TURNS = Text("Nothing like that is here", "Nic takiego tu nie ma")
NO_TURNS_MORE = Text(
    "Search for fewer words, or choose another state.", "Szukaj mniej słów albo wybierz inny stan."
)
CHOOSE_ALL = Text("Choose all of this page", "Wybierz wszystkie na tej stronie")
CHOOSE_TURN = Text("Choose {turn}", "Wybierz {turn}")
CHOOSE_FIRST = Text("Choose turns first", "Najpierw coś wybierz")
DECIDED_MANY: Final = {
    "approve": Text("Approved: {count} of {of}.", "Zatwierdzono: {count} z {of}."),
    "reject": Text("Rejected: {count} of {of}.", "Odrzucono: {count} z {of}."),
    "undo": Text("Undone: {count} of {of}.", "Cofnięto: {count} z {of}."),
}
ADD_ANSWER = Text("Add a right answer", "Dodaj dobrą odpowiedź")
ADD_ANSWER_MORE = Text(
    "Nobody has to ask first: what you write is approved, looked up from the next question on, and trained on.",
    "Nikt nie musi wcześniej pytać: to, co napiszesz, jest zatwierdzone, od razu w użyciu i uczy następny adapter.",
)
ADD_AND_APPROVE = Text("Add and approve", "Dodaj i zatwierdź")
ANSWER_ADDED = Text("Added: “{question}”.", "Dodano: „{question}”.")
SAVE_EDIT = Text("Save and approve", "Zapisz i zatwierdź")

# audit, members, settings
AUDIT = Text("Audit", "Dziennik")
AUDIT_MORE = Text("Who did what, the newest first.", "Kto co zrobił, od najnowszych.")
AUDIT_SEARCH = Text(
    "What (review.), who (discord:3f) or about what (turn 12)",
    "Co (review.), kto (discord:3f) lub czego dotyczy (turn 12)",
)
SEARCH = Text("Search", "Szukaj")
NO_ENTRIES = Text("Nothing like that was done", "Nic takiego nie zrobiono")
NO_ENTRIES_MORE = Text(
    "Search by how an action or an actor begins, or by the whole subject.",
    "Szukaj po początku czynności lub osoby albo po całym przedmiocie.",
)
WHEN = Text("When", "Kiedy")
WHO = Text("Who", "Kto")
WHAT = Text("What", "Co")
SUBJECT = Text("About", "Czego dotyczy")
DETAIL = Text("Details", "Szczegóły")
MEMBERS = Text("Members and privacy", "Członkowie i prywatność")
MEMBERS_MORE = Text(
    "People are known here by a keyed hash only. What somebody asked to be forgotten is never shown.",
    "Osoby są tu znane tylko pod skrótem z kluczem. Tego, o czym ktoś kazał zapomnieć, nie widać nigdzie.",
)
OPTED_OUT = Text("Staying out of training", "Poza treningiem")
OPTED_OUT_OF = Text("{count} of {of} members", "{count} z {of} osób")
NOBODY_OPTED_OUT = Text(
    "Nobody stays out. Members do with /privacy, on Discord and Telegram.",
    "Nikt. Członkowie wybierają to przez /privacy, na Discordzie i Telegramie.",
)
LEDGER = Text("Forget-me", "Prośby o zapomnienie")
LEDGER_MORE = Text(
    "The record forgets at once. Datasets follow by themselves; an adapter that learnt is replaced by the next run.",
    "Zapis zapomina od razu. Zbiory danych podążają same; adapter, który się nauczył, zastąpi następny trening.",
)
NOBODY_FORGOTTEN = Text("Nobody has asked to be forgotten.", "Nikt nie prosił o zapomnienie.")
REQUEST = Text("Request", "Prośba")
REQUEST_OF = Text("{request}: {turns:turn|turns}", "{request}: {turns:tura|tury|tur}")
ASKED_AT = Text("Asked", "Złożona")
IN_THE_RECORD = Text("Gone from the record", "Usunięto z zapisu")
IN_DATASETS = Text("Datasets", "Zbiory danych")
IN_ADAPTERS = Text("Adapters that learnt from it", "Adaptery, które się z tego uczyły")
CARRIED_OUT = Text("carried out", "wykonano")
NOT_YET = Text("not yet", "jeszcze nie")
STILL_SERVES = Text("{adapter} (in service)", "{adapter} (w użyciu)")
NONE_LEARNT = Text("none", "żaden")
MORE = Text("More", "Więcej")
SETTINGS = Text("Settings", "Ustawienia")
COMMUNITY = Text("Community", "Społeczność")
NO_COMMUNITY = Text("There is no community yet", "Nie ma jeszcze społeczności")
NO_COMMUNITY_MORE = Text(
    "It begins with the first question: ask one in the chat.",
    "Zaczyna się od pierwszego pytania: zadaj je w czacie.",
)
PERSONA = Text("Persona: who answers, and how", "Persona: kto odpowiada i jak")
PERSONA_MORE = Text(
    "Words of your own, or one of these: {names}. Empty is the operator's.",
    "Własne słowa albo jedna z gotowych: {names}. Puste to persona operatora.",
)
LANGUAGE_AUTO = Text("the question's", "język pytania")
COOLDOWN = Text("Seconds between two questions", "Sekundy między pytaniami")
TRAINING_ALLOWED = Text(
    "Answers from here that moderators approve may train the bot",
    "Zatwierdzone stąd odpowiedzi mogą uczyć bota",
)
TRAINING_THERE = Text(
    "Switch it on with /settings on the platform: members are told there.",
    "Włącz to przez /settings na platformie: tam dowiedzą się członkowie.",
)
SET_THERE = Text(
    "Set by name with /settings on the platform: channels of the bot's own: {channels}, roles that moderate: {roles}, channel for announcements: {log}.",
    "Wybierane po nazwie przez /settings na platformie: własne kanały bota: {channels}, role moderujące: {roles}, kanał ogłoszeń: {log}.",
)
YES = Text("yes", "tak")
NO = Text("no", "nie")
PREVIEW = Text("What every answer begins from", "Od czego zaczyna się każda odpowiedź")
NOTHING_CHANGED = Text("Nothing has been changed yet", "Nic jeszcze nie zmieniono")
SAVE = Text("Save", "Zapisz")
SETTINGS_SAVED = Text(
    "Saved: {name}. It counts within half a minute.", "Zapisano: {name}. Zadziała w ciągu pół minuty."
)

# blind rating
RATE_BLIND = Text("Rate blind", "Ocena w ciemno")
RATE_BLIND_MORE = Text(
    "Real questions, answered by the base model, the adapter in service and a candidate, in random order and "
    "without names. Keys 1 to 5 rate what is framed, the arrows move, Enter saves.",
    "Prawdziwe pytania z odpowiedziami modelu bazowego, adaptera w służbie i kandydata, w losowej kolejności i bez nazw. Klawisze 1 do 5 oceniają to, co w ramce, strzałki przesuwają, Enter zapisuje.",
)
RATED_OF = Text("Rated: {rated} of {of}", "Oceniono: {rated} z {of}")
NOTHING_TO_RATE = Text("There is nothing for you to rate", "Nie masz nic do oceny")
NOTHING_TO_RATE_MORE = Text(
    "An administrator opens a round on a training run that was examined; then its questions come here.",
    "Administrator otwiera rundę po treningu, który miał egzamin; wtedy pytania trafiają tutaj.",
)
NOTHING_TO_UNDO = Text("Nothing to undo yet", "Nie ma jeszcze czego cofać")
SCORES_LEFT = Text("Scores missing: {count}", "Brakujące oceny: {count}")
SAVE_RATING = Text("Save and go on", "Zapisz i dalej")
ROUNDS = Text("Rounds", "Rundy")
RUN_TO_RATE = Text("Run to rate", "Trening do oceny")
OPEN_ROUND = Text("Open a round", "Otwórz rundę")
ROUND_OPENED = Text("A round on run {run} is open.", "Runda dla treningu {run} jest otwarta.")
ROUND_OPEN = Text("open", "otwarta")
ROUND_CLOSED = Text("closed", "zamknięta")
CLOSE_ROUND = Text("Close the round", "Zamknij rundę")
ROUND_COUNTS = Text(
    "questions: {questions}, ratings: {ratings}, raters: {raters}",
    "pytania: {questions}, oceny: {ratings}, oceniający: {raters}",
)
NO_RUN_TO_RATE = Text(
    "No run has been examined yet. Train one under Adapters; its answers can then be rated here.",
    "Żaden trening nie miał jeszcze egzaminu. Zacznij trening w Adapterach, a tu ocenisz jego odpowiedzi.",
)
EXPORT_RATINGS = Text("Ratings of run {run} as {kind}", "Oceny treningu {run} jako {kind}")
SCALE = Text("Scale", "Skala")
DIFFERENCE_TO = Text("candidate less {rival}", "kandydat minus {rival}")
AGREEMENT = Text("Agreement (alpha)", "Zgodność (alfa)")
SURELY_BETTER = Text("Surely better than {rival}: {scales}.", "Na pewno lepszy niż {rival}: {scales}.")
SURELY_WORSE = Text("Surely worse than {rival}: {scales}.", "Na pewno gorszy niż {rival}: {scales}.")
RESULTS_MORE = Text(
    "Means over questions with {confidence} % intervals; p is of the paired sign-flip test; agreement is "
    "Krippendorff's alpha for ordinal values. Fewer than 20 questions decide nothing.",
    "Średnie po pytaniach z przedziałami {confidence} %; p z testu zmiany znaków dla par; zgodność to alfa Krippendorffa dla wartości porządkowych. Mniej niż 20 pytań o niczym nie rozstrzyga.",
)

# runs
RUNS = Text("Runs", "Treningi")
RUNS_MORE = Text(
    "A run takes what moderators approved, trains an adapter, and examines it against what serves.",
    "Trening bierze to, co zatwierdzili moderatorzy, uczy adapter i egzaminuje go wobec tego, co odpowiada.",
)
PAST_RUNS = Text("Past runs", "Zakończone treningi")
NO_PAST_RUNS = Text(
    "No run has ended yet. Retrain starts one; it takes some minutes.",
    "Żaden trening jeszcze się nie zakończył. „Trenuj teraz” zaczyna go; potrwa kilka minut.",
)
OLDER = Text("Older", "Starsze")
NEWEST = Text("Newest", "Najnowsze")
RUN_COLUMN = Text("Run", "Trening")
STARTED = Text("Started", "Zaczęty")
TOOK = Text("Took", "Trwał")
DATASET = Text("Dataset", "Zbiór danych")
RIGHTLY = Text("Answered rightly", "Dobrze odpowiedział")
COMPARE_RUNS = Text("Compare the chosen runs", "Porównaj wybrane treningi")
CHOOSE_RUN = Text("Choose run {number} to compare", "Wybierz trening {number} do porównania")
CHOOSE_TWO = Text("Choose two or more runs to compare.", "Wybierz co najmniej dwa treningi do porównania.")
COMPARED_RUNS = Text("Runs {numbers} beside one another", "Treningi {numbers} obok siebie")
CANCEL_RUN = Text("Stop the run", "Zatrzymaj trening")
CANCEL_RUN_QUESTION = Text("Stop run {number}?", "Zatrzymać trening {number}?")
CANCEL_RUN_MORE = Text(
    "What it has trained up to its last checkpoint is kept: the next run with the same data and settings goes on "
    "from there. Before the first checkpoint nothing is.",
    "To, czego się nauczył do ostatniego punktu kontrolnego, zostaje: następny trening z tymi samymi danymi "
    "i ustawieniami ruszy stamtąd. Przed pierwszym nie zostaje nic.",
)
CANCELLING = Text(
    "Run {number} was told to stop; it tidies up first.",
    "Trening {number} dostał polecenie zatrzymania; najpierw po sobie posprząta.",
)
RESUME = Text("Resume at step {step}", "Wznów od kroku {step}")
WHY_MAY_NOT_RETRAIN = Text("Only an operator starts runs.", "Treningi zaczyna tylko operator.")
WHY_RUN_UNDER_WAY = Text(
    "One run at a time: this one has to end first.", "Jeden trening naraz: ten musi się najpierw zakończyć."
)
TIME_UNKNOWN = Text(
    "time left is known after the first steps", "pozostały czas będzie znany po pierwszych krokach"
)
LOSS_BY_STEP = Text("Loss by step: training and validation", "Strata według kroku: treningowa i walidacyjna")
TRAINING_LOSS = Text("training loss", "strata treningowa")
VALIDATION_LOSS = Text("validation loss", "strata walidacyjna")
STEP_COLUMN = Text("Step", "Krok")
AS_TABLE = Text("The figures as a table", "Liczby w tabeli")
VERDICT = Text("Verdict", "Werdykt")
ALL_REASONS = Text("The other reasons", "Pozostałe powody")
SYMPTOMS = Text("Symptoms", "Objawy")
NO_SYMPTOMS = Text("None was found.", "Nie znaleziono żadnego.")
WHAT_TO_DO = Text("What to do:", "Co zrobić:")
EXAMINATION = Text("Examination", "Egzamin")
NOT_EXAMINED = Text("It did not come to an examination.", "Do egzaminu nie doszło.")
SUBJECTS: Final = {
    "base": Text("base model", "model bazowy"),
    "current": Text("in service", "w użyciu"),
    "candidate": Text("candidate", "kandydat"),
}
FIGURE = Text("Figure", "Miara")
SAMPLES = Text("Samples", "Przykłady")
SAMPLES_MORE = Text(
    "Held-out questions, with the approved answer and what each said.",
    "Odłożone pytania, z zatwierdzoną odpowiedzią i tym, co powiedział każdy z nich.",
)
APPROVED_ANSWER = Text("Approved answer", "Zatwierdzona odpowiedź")
SETTINGS_OF_RUN = Text("What it was told", "Jak był ustawiony")
SETTING = Text("Setting", "Ustawienie")
BACK_TO_RUNS = Text("All runs", "Wszystkie treningi")
NO_SUCH_RUN = Text("There is no such run.", "Nie ma takiego treningu.")

# the first minute
THE_LOOP = Text("The loop, step by step", "Pętla krok po kroku")
STATIONS: Final = {
    "ask": Text("Ask", "Zapytaj"),
    "vote": Text("Vote", "Zagłosuj"),
    "review": Text("Review", "Oceń"),
    "train": Text("Train", "Trenuj"),
    "switch": Text("Switch", "Przełącz"),
}
STATION_DONE = Text("done", "zrobione")
SMALL_MODEL = Text(
    "This model has 135 million parameters: it picks up a voice and phrases that it is taught, knows next to nothing "
    "else and no Polish, and states wrong facts; looked-up answers carry the facts. With a graphics card of 8 GB, "
    "take Qwen/Qwen3-4B-Instruct-2507 in 4 bits; without one, Qwen/Qwen3-0.6B needs about 4 GB of memory.",
    "Ten model ma 135 milionów parametrów: przejmuje styl i wyuczone zwroty, poza tym nie wie prawie nic, nie zna "
    "polskiego i podaje błędne fakty; fakty niosą odpowiedzi wyszukane. Na karcie graficznej z 8 GB weź "
    "Qwen/Qwen3-4B-Instruct-2507 w 4 bitach; bez karty Qwen/Qwen3-0.6B potrzebuje około 4 GB pamięci.",
)

# overview
OVERVIEW = Text("Overview", "Przegląd")
QUESTIONS_BY_DAY = Text("Questions by day", "Pytania według dnia")
QUESTIONS_CHART = Text(
    "Bars: questions by day, by what answered. {count} in all.",
    "Słupki: pytania według dnia i tego, co odpowiadało. Razem {count}.",
)
APPROVAL_BY_DAY = Text("Thumbs up, share of votes", "Kciuki w górę, udział w głosach")
APPROVAL_CHART = Text(
    "Lines: share of thumbs up by day with its 95 % interval, by what answered. {share} in all.",
    "Linie: udział kciuków w górę według dnia z przedziałem 95 %, według tego, co odpowiadało. Razem {share}.",
)
NO_QUESTIONS = Text(
    "Nobody has asked anything in these days. Ask in the chat, or wait until the platforms bring questions.",
    "W tych dniach nikt o nic nie zapytał. Zapytaj w czacie albo poczekaj na pytania z platform.",
)
NO_VOTES_YET = Text(
    "No votes in these days. Votes come from the thumbs under answers.",
    "W tych dniach bez głosów. Głosy to kciuki pod odpowiedziami.",
)
DAY = Text("Day", "Dzień")
QUESTIONS = Text("Questions", "Pytania")
VOTES_COLUMN = Text("Votes", "Głosy")
APPROVAL = Text("Thumbs up", "Kciuki w górę")
INTERVAL = Text("95 % interval", "przedział 95 %")
DAYS_SHOWN = Text("{days} days", "{days} dni")
WAITING_FOR_REVIEW = Text("Waiting for review", "Czeka na ocenę")
GAPS = Text("Gaps: nothing known", "Luki: brak wiedzy")
LAST_RUN = Text("Last run", "Ostatni trening")
NEXT_RUN = Text("Next run", "Następny trening")
NOTHING_PLANNED = Text("none is planned", "żaden nie jest zaplanowany")
RUN_NOW = Text("under way", "w toku")
NO_RUN_YET = Text("none yet", "jeszcze żaden")
SERVING_WHERE = Text("What serves where", "Co gdzie odpowiada")
WHOM = Text("Whom", "Komu")
SINCE = Text("Since", "Od")
DECIDED_BY = Text("By", "Kto")
WHY = Text("Why", "Dlaczego")
FROM_THE_BEGINNING = Text("the beginning", "początku")
HEALTH = Text("Health", "Stan usługi")
HEALTH_STATES: Final = {
    "ok": Text("in order", "w porządku"),
    "degraded": Text("limited", "ograniczone"),
    "down": Text("down", "nie działa"),
}

# datasets
DATASETS = Text("Datasets", "Zbiory danych")
DATASETS_MORE = Text(
    "Frozen versions of the approved answers; each run learns from one of them.",
    "Zamrożone wersje zatwierdzonych odpowiedzi; każdy trening uczy się z jednej z nich.",
)
NO_DATASETS = Text("There is no dataset yet.", "Nie ma jeszcze zbioru danych.")
NO_DATASETS_MORE = Text(
    "The first run freezes one from the answers approved in Review.",
    "Zamrozi go pierwszy trening, z odpowiedzi zatwierdzonych w Ocenie.",
)
NO_SUCH_DATASET = Text("There is no such dataset.", "Nie ma takiego zbioru danych.")
NO_SUCH_DATASET_MORE = Text("The list has all versions.", "Na liście są wszystkie wersje.")
ALL_DATASETS = Text("All datasets", "Wszystkie zbiory")
PAIRS = Text("Pairs", "Pary")
LEFT_OUT_COUNT = Text("Left out", "Pominięto")
LANGUAGES_COLUMN = Text("Languages", "Języki")
CONTRADICTIONS = Text("Contradictions", "Sprzeczności")
CONTRADICTIONS_MORE = Text(
    "Approved answers to the same question that contradict one another are left out until one side is chosen.",
    "Zatwierdzone odpowiedzi na to samo pytanie, które sobie przeczą, czekają poza zbiorem na wybór jednej z nich.",
)
LOOK_FOR_CONTRADICTIONS = Text("Look for contradictions", "Szukaj sprzeczności")
NO_CONTRADICTIONS = Text(
    "No approved answers contradict one another.", "Zatwierdzone odpowiedzi nie przeczą sobie."
)
TURN = Text("turn {number}", "wypowiedź {number}")
KEEP_THIS = Text("Keep this one", "Zostaw tę")
SETTLED = Text("Turn {turn} stays; rejected: {others}.", "Zostaje wypowiedź {turn}; odrzucono: {others}.")
DOWNLOAD = Text("Download", "Pobierz")
WHAT_RULES_DID = Text("What the rules left out or changed", "Co reguły pominęły lub zmieniły")
WHAT_RULES_DID_MORE = Text(
    "This version stays as it is; what you keep here goes into the next one.",
    "Ta wersja pozostanie, jaka jest; to, co tu zostawisz, wejdzie do następnej.",
)
NO_RULE_DID_ANYTHING = Text("No rule left anything out.", "Żadna reguła niczego nie pominęła.")
DROPPED = Text("{count} left out", "pominięto {count}")
CHANGED = Text("{count} mended", "poprawiono {count}")
KEEP_ANYWAY = Text("Keep it anyway", "Zostaw mimo to")
DROP_AGAIN = Text("Let the rule decide", "Niech decyduje reguła")
IS_KEPT = Text("kept from the next version on", "zostanie w następnej wersji")
KEPT = Text("Turn {turn} is kept, whatever {rule} says.", "Wypowiedź {turn} zostaje, cokolwiek mówi {rule}.")
DROPPED_AGAIN = Text("{rule} decides on turn {turn} again.", "O wypowiedzi {turn} znów decyduje {rule}.")
NEVER_OVERRULED = Text(
    "This rule is not overruled here: personal data stays masked, and contradictions are settled on the list.",
    "Tej reguły się tu nie uchyla: dane osobowe zostają zakryte, a sprzeczności rozstrzyga się na liście.",
)
DATASET_DIFFERENCE = Text("What changed", "Co się zmieniło")
DIFFERENCE_MORE = Text("Beside {other}.", "W porównaniu z {other}.")
FIRST_VERSION = Text(
    "There is no earlier version to compare with.", "Nie ma wcześniejszej wersji do porównania."
)
ADDED = Text("New pairs: {count}", "Nowe pary: {count}")
REMOVED = Text("Pairs that are gone: {count}", "Pary, których już nie ma: {count}")
CHANGED_PAIRS = Text(
    "Changed (the answer or its sources) or moved to another split: {count}",
    "Zmienione (odpowiedź lub źródła) lub przeniesione do innej części: {count}",
)
BROWSE = Text("Browse", "Przeglądaj")
NOTHING_FOUND = Text(
    "Nothing was found. Search for another word.", "Nic nie znaleziono. Poszukaj innego słowa."
)
NO_SUCH_PLACE = Text(
    "That place in the dataset is not there; begin at the first pairs.",
    "Takiego miejsca w zbiorze nie ma; zacznij od pierwszych par.",
)
PACKAGED = Text("came with Thumbloop", "dołączone do Thumbloop")
NEXT_PAIRS = Text("Next", "Dalej")

# lineage
WHERE_FROM = Text("Where it comes from", "Skąd się wziął")
CONTINUES = Text("Continues", "Kontynuuje")
PAIRS_COUNT = Text("{count} pairs", "par: {count}")
TURNS = Text("Turns", "Wypowiedzi")
MEMBERS_COUNT = Text("of {count} members", "członków: {count}")
TURN_TITLE = Text("Turn", "Wypowiedź")
TURN_HEADING = Text("Turn {number}", "Wypowiedź {number}")
WHAT_ANSWERED = Text("What answered", "Co odpowiedziało")
WHAT_BECAME = Text("What became of it", "Co się z nią stało")
DECISIONS: Final = {
    "approve": Text("approved", "zatwierdzona"),
    "edit": Text("edited", "poprawiona"),
    "reject": Text("rejected", "odrzucona"),
}
UNDONE = Text("undone", "cofnięte")
SPLITS: Final[dict[str, Text]] = {
    "train": Text("train", "trening"),
    "validation": Text("validation", "walidacja"),
    "examination": Text("examination", "egzamin"),
}
GATE_PROMOTED = Text("The gate promoted it.", "Bramka go dopuściła.")
REASONS_OF_RUN = Text("Its reasons", "Powody")
LEARNT_BY = Text("Learnt by", "Uczył się z niej")
NOBODY_YET = Text("no adapter yet", "jeszcze żaden adapter")
NO_SUCH_TURN = Text("There is no such turn.", "Nie ma takiej wypowiedzi.")
NO_SUCH_ADAPTER = Text("There is no such adapter.", "Nie ma takiego adaptera.")
ALL_ADAPTERS = Text("All adapters", "Wszystkie adaptery")
SERVED = Text("Whom it served", "Komu odpowiadał")
NEVER_SERVED = Text("It never served anybody.", "Nigdy nikomu nie odpowiadał.")
UNTIL_COLUMN = Text("Until", "Do")
STILL = Text("still", "nadal")
SOME_PAIRS = Text("Some of its pairs", "Niektóre z jego par")
CANARY = Text("Canary", "Kanarek")
CANARY_QUESTION = Text(
    "Let {adapter} answer a share first?", "Czy {adapter} ma najpierw dostać część rozmów?"
)
CANARY_MORE = Text(
    "So many of a hundred conversations go to it; votes decide whether it gets the rest. Roll back ends it.",
    "Tyle na sto rozmów trafi do niego; o reszcie zdecydują głosy. Wycofanie to kończy.",
)
CANARY_SHARE = Text("Share of conversations, percent", "Część rozmów, w procentach")
CANARY_BEGUN = Text(
    "{adapter} answers {share} of the conversations.", "{adapter} odpowiada w {share} rozmów."
)

# adapters
ADAPTER = Text("Adapter", "Adapter")
STATE = Text("State", "Stan")
CREATED = Text("Created", "Utworzono")
HELD_OUT_LOSS = Text("Held-out loss", "Strata testowa")
SERVING = Text("Answers now", "Odpowiada teraz")
EVERYBODY = Text("everyone", "wszystkim")
STATES: Final = {
    "candidate": Text("candidate", "kandydat"),
    "promoted": Text("promoted", "przyjęty"),
    "rejected": Text("rejected", "odrzucony"),
    "retired": Text("retired", "wycofany"),
}
PROMOTE = Text("Promote anyway", "Przyjmij mimo to")
PROMOTE_QUESTION = Text("Overrule the verdict on {adapter}?", "Uchylić werdykt w sprawie {adapter}?")
PROMOTE_MORE = Text(
    "Its figures spoke against it. Your reason is kept; it does not serve before you switch to it.",
    "Odrzucono go z powodu jego wyników. Powód zostanie zapisany; nie odpowiada, dopóki na niego nie przełączysz.",
)
PROMOTED = Text("Promoted: {adapter}.", "Przyjęto: {adapter}.")
REASON = Text("Reason", "Powód")
REPORT = Text("Report", "Raport")
SYMPTOM = Text("Symptom:", "Objaw:")
SWITCH = Text("Switch to it", "Przełącz")
SWITCH_QUESTION = Text("From now on, answer with: {adapter}?", "Czy od teraz ma odpowiadać {adapter}?")
SWITCH_MORE = Text(
    "The next question goes to it. Roll back returns to: {current}.",
    "Odpowie już na następne pytanie. Wycofanie przywróci: {current}.",
)
SWITCHED = Text("Answering now: {adapter}.", "Teraz odpowiada: {adapter}.")
ROLL_BACK = Text("Roll back", "Przywróć poprzedni")
ROLL_BACK_QUESTION = Text(
    "Go back to what answered before? Answering now: {current}.",
    "Wrócić do tego, co odpowiadało wcześniej? Teraz odpowiada: {current}.",
)
NO_ADAPTERS = Text(
    "No adapter yet. Approve some answers in Review, then retrain.",
    "Nie ma jeszcze adaptera. Zatwierdź kilka odpowiedzi w Ocenie, a potem trenuj.",
)
TRAINING = Text("Training", "Trening")
APPROVED_PAIRS = Text(
    "Approved answers since the last run: {count}", "Zatwierdzone od ostatniego treningu: {count}"
)
RETRAIN = Text("Retrain now", "Trenuj teraz")
WHAT_TO_TRAIN = Text("What to train", "Co trenować")
NO_RUNS = Text(
    "Nothing has been trained yet. A run takes the approved answers, trains an adapter and examines it.",
    "Jeszcze nic nie trenowano. Trening bierze zatwierdzone odpowiedzi, uczy adapter i go egzaminuje.",
)
RUN = Text("Run {number}", "Trening {number}")
RUN_STATES: Final = {
    "running": Text("running", "trwa"),
    "promoted": Text("promoted", "przyjęty"),
    "rejected": Text("rejected", "odrzucony"),
    "failed": Text("failed", "nieudany"),
    "cancelled": Text("cancelled", "przerwany"),
}
STARTING = Text("The run is starting…", "Trening się zaczyna…")
NOT_BEGUN = Text(
    "The run ended before it began. The service's log says why; then start it again.",
    "Trening zakończył się, zanim się zaczął. Log usługi mówi dlaczego; potem uruchom go ponownie.",
)
STALLED = Text(
    "No process of this run is to be seen on this machine. If it stands still, start another one.",
    "Na tej maszynie nie widać procesu tego treningu. Jeśli stoi w miejscu, zacznij nowy.",
)
STEPS: Final = {
    "dataset": Text("Building the dataset", "Budowanie zbioru danych"),
    "training": Text("Training", "Trening"),
    "evaluation": Text("Examining on held-out questions", "Egzamin na odłożonych pytaniach"),
    "verdict": Text("Verdict", "Werdykt"),
    "deployment": Text("Going live", "Wdrażanie"),
}
FIGURES: Final = {
    "loss": Text("loss", "strata"),
    "validation_loss": Text("validation loss", "strata walidacyjna"),
}
TOKENS_PER_SECOND = Text("{rate} tokens/s", "{rate} tokenów/s")
TIME_LEFT = Text("about {time} left", "zostało około {time}")
COMPARE = Text("Compare", "Porównaj")
COMPARE_MORE = Text(
    "The same question to two adapters, or to the base model and one of them, side by side.",
    "To samo pytanie do dwóch adapterów albo do modelu bazowego i jednego z nich, obok siebie.",
)
ONE_SIDE = Text("On the left", "Po lewej")
OTHER_SIDE = Text("On the right", "Po prawej")
ASK_BOTH = Text("Ask both", "Zapytaj oba")
COMPARE_EMPTY = Text(
    "Train an adapter first; then you can see here what it learned.",
    "Najpierw wytrenuj adapter; potem zobaczysz tu, czego się nauczył.",
)

# import
IMPORT = Text("Import", "Import")
IMPORT_MORE = Text(
    "What your community has said before: exports of chats become candidates for the review, training files "
    "become pairs, other tools' ratings become votes. A file is recognised by what it holds.",
    "To, co społeczność powiedziała wcześniej: z eksportów czatów powstają kandydaci do oceny, z plików "
    "treningowych pary, a z ocen z innych narzędzi głosy. Plik jest rozpoznawany po zawartości.",
)
DROP_EXPORT = Text(
    "Drop an export here: a file, several, or a ZIP", "Upuść eksport: plik, kilka plików lub ZIP"
)
LOOKING = Text("Looking what it is…", "Sprawdzam, co to jest…")
FOUND = Text("What it is", "Co to jest")
IMPORT_FORMATS: Final[dict[str, Text]] = {
    "discord-chat-exporter": Text(
        "Discord channel, DiscordChatExporter", "kanał Discorda, DiscordChatExporter"
    ),
    "discord-chat-exporter-csv": Text(
        "Discord channel, DiscordChatExporter (CSV)", "kanał Discorda, DiscordChatExporter (CSV)"
    ),
    "discord-package": Text("one account's data package of Discord", "pakiet danych jednego konta Discorda"),
    "telegram": Text("Telegram chat", "czat Telegrama"),
    "telegram-all": Text("all chats of a Telegram account", "wszystkie czaty konta Telegrama"),
    "telegram-html": Text("Telegram chat (HTML)", "czat Telegrama (HTML)"),
    "slack": Text("Slack workspace", "przestrzeń robocza Slacka"),
    "open-webui-feedback": Text("Open WebUI's feedback", "opinie z Open WebUI"),
    "open-webui-chats": Text("Open WebUI's chats", "rozmowy z Open WebUI"),
    "argilla": Text("Argilla records", "rekordy Argilli"),
    "label-studio": Text("Label Studio tasks", "zadania Label Studio"),
    "label-studio-min": Text("Label Studio tasks (JSON_MIN)", "zadania Label Studio (JSON_MIN)"),
    "langfuse": Text("Langfuse traces", "ślady Langfuse"),
    "openai-log": Text("completions that OpenAI logged", "odpowiedzi zapisane przez OpenAI"),
    "alpaca": Text("instructions with answers (Alpaca)", "polecenia z odpowiedziami (Alpaca)"),
    "kto": Text("answers with a thumb each (KTO)", "odpowiedzi z kciukami (KTO)"),
    "preferences": Text("preference pairs", "pary preferencji"),
    "sharegpt": Text("ShareGPT conversations", "rozmowy ShareGPT"),
    "messages": Text("OpenAI chat messages", "wiadomości w formacie OpenAI"),
    "prompt-completion": Text("prompts with completions", "prompty z odpowiedziami"),
    "question-answer": Text("questions with answers", "pytania z odpowiedziami"),
    "mapped": Text("rows with the keys that you named", "wiersze o wskazanych kluczach"),
    "llama-factory": Text("LLaMA-Factory's data sets", "zbiory LLaMA-Factory"),
}
RECORDS = Text("{records:record|records}", "{records:rekord|rekordy|rekordów}")
RECORDS_AND_MORE = Text(
    "{records:record|records} looked at, of {size}",
    "{records:rekord obejrzany|rekordy obejrzane|rekordów obejrzanych}, całość ma {size}",
)
FROM_COMMUNITY = Text("from {community}", "z: {community}")
LEFT_OUT_ARE = Text("Left out", "Pominięte")
LEFT_OUT: Final[dict[str, Text]] = {
    "system messages": Text("system messages", "wiadomości systemowe"),
    "forwarded messages": Text("forwarded messages", "wiadomości przekazane"),
    "deleted accounts": Text("messages of deleted accounts", "wiadomości usuniętych kont"),
    "messages of private talks": Text("messages of private talks", "wiadomości z rozmów prywatnych"),
    "bots": Text("messages of bots", "wiadomości botów"),
    "members who opted out": Text(
        "messages of members who opted out", "wiadomości osób, które odmówiły zgody"
    ),
}
NOT_READ = Text("{name}: nothing that Thumbloop reads", "{name}: nic, co Thumbloop czyta")
BROKEN_RECORDS = Text("Broken records, which are left out", "Uszkodzone rekordy; zostaną pominięte")
IMPORT_COMMUNITY = Text("Community", "Społeczność")
IMPORT_COMMUNITY_HINT = Text(
    "Leave empty for the one that the talk took place in; pairs get one named like the file.",
    "Zostaw puste, jeśli ma trafić tam, gdzie toczyła się rozmowa; pary dostaną społeczność o nazwie pliku.",
)
AGREED = Text(
    "The community agreed that its talk is used. I say so as its administrator.",
    "Społeczność zgodziła się na wykorzystanie jej rozmów. Potwierdzam to jako administrator.",
)
START_IMPORT = Text("Import", "Importuj")
DISCARD = Text("Discard", "Odrzuć plik")
DISCARDED = Text("Discarded.", "Odrzucono.")
WHICH_KEYS = Text("Which key is which?", "Który klucz jest czym?")
WHICH_KEYS_MORE = Text(
    "{name} has rows that Thumbloop does not know. Say what its keys are, at least question and answer.",
    "{name} ma wiersze, których Thumbloop nie zna. Wskaż, czym są klucze, przynajmniej pytanie i odpowiedź.",
)
IMPORT_FIELDS: Final[dict[str, Text]] = {
    "question": Text("Question", "Pytanie"),
    "answer": Text("Answer", "Odpowiedź"),
    "input": Text("Input", "Kontekst"),
    "system": Text("System text", "Tekst systemowy"),
    "messages": Text("Messages", "Wiadomości"),
    "chosen": Text("Chosen answer", "Lepsza odpowiedź"),
    "rejected": Text("Rejected answer", "Gorsza odpowiedź"),
    "label": Text("Thumb", "Kciuk"),
}
NO_KEY = Text("–", "–")
LOOK_AGAIN = Text("Look again", "Sprawdź ponownie")
IMPORT_STEPS: Final[dict[str, Text]] = {
    "": Text("Starting…", "Zaczynam…"),
    "reading": Text("Reading and finding answers", "Czytanie i szukanie odpowiedzi"),
    "importing": Text("Writing pairs", "Zapisywanie par"),
    "writing candidates": Text("Writing candidates", "Zapisywanie kandydatów"),
}
UNITS: Final[dict[str, Text]] = {
    "importing": Text("pairs/s", "par/s"),
    "writing candidates": Text("candidates/s", "kandydatów/s"),
}
IMPORTING_NAME = Text("Importing {name}", "Importuję: {name}")
TALK_IS_IN = Text(
    "{messages:message|messages} of {community}: {questions:answered question|answered questions} in "
    "{threads:thread|threads}.",
    "{community}: {messages:wiadomość|wiadomości|wiadomości}, "
    "{questions:pytanie z odpowiedzią|pytania z odpowiedzią|pytań z odpowiedzią}, "
    "{threads:wątek|wątki|wątków}.",
)
CANDIDATES_WAIT = Text(
    "{cards:new candidate waits|new candidates wait} in the review, with "
    "{phrasings:further phrasing|further phrasings}; {known} had been found before.",
    "{cards:nowy kandydat czeka|nowi kandydaci czekają|nowych kandydatów czeka} na ocenę, z nimi "
    "{phrasings:dodatkowe sformułowanie|dodatkowe sformułowania|dodatkowych sformułowań}; "
    "znalezionych wcześniej: {known}.",
)
IMPORTED_BEFORE = Text(
    "{name} was imported on {when} already, as import {number}; nothing is new.",
    "{name} zaimportowano już {when} jako import {number}; nic nowego.",
)
PAIRS_ARE_IN = Text(
    "{pairs:new pair is|new pairs are} in the community {community}; {known} had been there already.",
    "W społeczności {community}: {pairs:nowa para|nowe pary|nowych par}; wcześniej były tam już: {known}.",
)
PAIRS_WAIT = Text(
    "{waiting} of them wait for a decision in the review.", "Z tego na decyzję w ocenie czeka: {waiting}."
)
TO_REVIEW = Text("To the review", "Przejdź do oceny")
IMPORTS = Text("Imports", "Importy")
NO_IMPORTS = Text("Nothing has been imported yet.", "Niczego jeszcze nie zaimportowano.")
IMPORT_COLUMNS: Final = (
    Text("Import", "Import"),
    Text("Community", "Społeczność"),
    Text("Turns", "Tury"),
    Text("By", "Kto"),
    Text("When", "Kiedy"),
    Text("State", "Stan"),
)
IMPORT_STATES: Final[dict[str, Text]] = {
    "running": Text("not finished", "niedokończony"),
    "done": Text("in", "zaimportowany"),
    "undone": Text("taken back", "cofnięty"),
}
TAKE_BACK = Text("Take back", "Cofnij import")
TAKE_BACK_QUESTION = Text("Take import {number} back?", "Cofnąć import {number}?")
TAKE_BACK_MORE = Text(
    "{turns:turn is|turns are} erased, decisions included, also from the datasets built so far.",
    "{turns:tura zostanie usunięta|tury zostaną usunięte|tur zostanie usuniętych} razem z decyzjami; zbiory "
    "danych zostaną zapisane bez nich.",
)
TAKEN_BACK = Text(
    "Import {number} is taken back: {turns:turn|turns} erased.",
    "Import {number} cofnięto; {turns:usunięta tura|usunięte tury|usuniętych tur}.",
)
