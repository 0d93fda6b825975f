"""How many pairs a second each rule of hygiene looks at, and all of them together, in one process.

Run by hand: `python -m tests.benchmarks.hygiene [--pairs N] [--json]`. Pairs are made up of the demo
community's own words, three in five English, the others Polish: questions of about ten words, answers of 15
to 60. Seconds are of the processor, so that a busy machine does not make them longer than they are.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from pathlib import Path
from typing import Any, Final

import bot.demo
from training.data.hygiene import PAIR_RULES, SET_RULES, Item, clean
from training.data.hygiene.rule import question_of
from training.data.pairs import TrainingPair
from training.data.similar_texts import groups
from training.settings import HygieneSettings

PAIRS: Final = 100_000
MEMBERS: Final = 20_000
NAMES: Final = 6_000
LANGUAGES: Final = ("en", "en", "en", "pl", "pl")


def main() -> None:
    """Make the pairs up, time the rules, print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    items = _items(told.pairs)
    settings = HygieneSettings()
    # what is loaded once is not part of the speed
    clean([Item(0, TrainingPair("Tel. 501 234 567?", output="Bitte rufen Sie mich an. " * 5))], settings)
    seconds: dict[str, float] = {}
    for rule in PAIR_RULES:
        started = time.process_time()
        for item in items:
            rule.look(item.pair, settings)
        seconds[rule.name] = time.process_time() - started
    started = time.process_time()
    alike = groups(question_of(item.pair) for item in items)
    seconds["(groups of questions)"] = time.process_time() - started
    for of_all in SET_RULES:
        started = time.process_time()
        of_all.find(items, alike, settings)
        seconds[of_all.name] = time.process_time() - started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    cleaned = clean(items, settings)
    seconds["(all, until nothing more is found)"] = time.process_time() - started
    found = {
        "pairs": len(items),
        "kept": len(cleaned.items),
        "pairs_per_s": {name: round(len(items) / took) for name, took in seconds.items()},
        "more_memory_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
    }
    if told.json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    print(f"{found['pairs']:,} pairs, {found['kept']:,} kept")
    for name, speed in found["pairs_per_s"].items():
        print(f"  {name:<36}{speed:12,} pairs/s")
    print(f"  {'memory above the pairs':<36}{found['more_memory_mib']:12,} MiB")


def _items(count: int) -> list[Item]:
    chance = random.Random(3)
    lines = (Path(bot.demo.__file__).parent / "community.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["answer"]]
    words = {
        language: [word for row in rows if row["language"] == language for word in row["answer"].split()]
        for language in LANGUAGES
    }
    questions = {
        language: [question for row in rows if row["language"] == language for question in row["questions"]]
        for language in LANGUAGES
    }
    names = ["".join(chance.choices("abcdefghijklmnoprstuwz", k=chance.randint(4, 9))) for _ in range(NAMES)]
    items = []
    for number in range(count):
        language = chance.choice(LANGUAGES)
        asked = chance.choice(questions[language]).split()
        question = " ".join(word if chance.random() < 0.3 else chance.choice(names) for word in asked)
        answer = " ".join(chance.choices(words[language], k=chance.randint(15, 60)))
        pair = TrainingPair(question, output=answer, language=language)
        items.append(Item(number, pair, member=f"member {chance.randrange(MEMBERS)}"))
    return items


if __name__ == "__main__":
    main()
