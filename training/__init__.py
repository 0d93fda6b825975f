"""From reviewed turns to a verdict. May import `feedback`, never `bot`."""

import os

# TRL's trainers tell the hub of every training otherwise; read when a library of the hub's is first imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
