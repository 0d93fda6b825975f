#!/bin/sh
# The browser tests drive Debian's chromium; put it there when it is missing and we may.
set -eu
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null
else
    echo "The browser tests need chromium; install it (Debian: sudo apt-get install chromium)." >&2
    exit 1
fi
