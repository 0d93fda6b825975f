#!/usr/bin/env bash
# Guess: discord.ext.tasks.loop(seconds=30) does its work, rests for 30 seconds, and does it again; when a round was late
# or the machine slept, the next one comes 30 seconds later, as with most schedulers that coalesce.
# Seen with discord.py 2.7.1: each round is due one interval after the round before was due, on the wall clock, and nothing
# is skipped. After one round that took ten intervals, the nine that it covered begin at once, one after the other without
# any rest. A laptop that slept for eight hours makes up for 960 rounds of half a minute when it wakes, and a clock that is
# set back by an hour stops the loop for an hour. Work that asks a rate-limited API, or a database, is to look at the time
# itself, or to rest by asyncio.sleep.
# Output seen: at least 8 of the 9 rounds began "at once".
# Source: discord/ext/tasks/__init__.py, Loop._loop and Loop._get_next_sleep_time.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "discord.py==2.7.1"

cat > "$folder/rounds.py" <<'PYTHON'
import asyncio

from discord.ext import tasks

INTERVAL = 0.5
LONG = 10 * INTERVAL
began = []


@tasks.loop(seconds=INTERVAL)
async def look() -> None:
    began.append(asyncio.get_running_loop().time())
    if len(began) == 1:
        await asyncio.sleep(LONG)
    if began[-1] > began[0] + LONG + 2 * INTERVAL:
        look.stop()


async def main() -> None:
    await look.start()


asyncio.run(main())
made_up = [at for at in began[1:] if at < began[0] + LONG + INTERVAL / 2]
print("at once" if len(made_up) >= 8 else f"{len(made_up)} soon")
PYTHON

said=$("$folder/venv/bin/python" "$folder/rounds.py" 2>/dev/null)
[ "$said" = "at once" ] || { echo "after a round of ten intervals: $said" >&2; exit 1; }
echo "discord.ext.tasks makes up for the rounds that a long one covered: at least 8 began without a rest"
