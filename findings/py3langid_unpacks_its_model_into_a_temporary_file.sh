#!/usr/bin/env bash
# Guess: py3langid ships its model inside the package (a 4.6 MB .npz.xz), so telling a text's language reads
# that file and needs no room on any disk.
# Seen with py3langid 0.4.0: the first classify() unpacks the model into a temporary file of 68 MB and loads it from
# there. Where files may not grow so large, or the temporary folder is full (a small /tmp in memory, a full disk),
# it raises OSError, and the language of a sentence cannot be told though the machine has memory enough. A service
# that loads it with its first request fails that request; one that loads it at its start needs the room only then.
# Output seen: "en" with room, OSError where no file may have more than 20 MB.
# Source: py3langid/modelio.py, load_model(): "stream LZMA to a temp file".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "py3langid==0.4.0" "numpy==2.4.6"

cat > "$folder/tell.py" <<'PYTHON'
import resource
import sys

import py3langid

limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # as a disk with so much room
try:
    print(py3langid.classify("Where does the model look for its words?")[0])
except OSError as error:
    print(type(error).__name__)
PYTHON

roomy=$("$folder/venv/bin/python" "$folder/tell.py" 0)
scarce=$("$folder/venv/bin/python" "$folder/tell.py" 20000000)
[ "$roomy" = "en" ] || { echo "with room it said: $roomy" >&2; exit 1; }
[ "$scarce" = "OSError" ] || { echo "with 20 MB of room it said: $scarce" >&2; exit 1; }
echo "py3langid needs 68 MB of temporary disk to load its 4.6 MB model: with room \"$roomy\", with 20 MB $scarce"
