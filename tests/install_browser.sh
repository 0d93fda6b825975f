#!/bin/sh
# The browser tests drive Debian's chromium, and one drives nginx, which they can do without; put there what is
# missing and we may. nginx only in containers: elsewhere Debian would start it on port 80.
set -eu
may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
there() { PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null; }
wanted=""
there chromium || wanted="chromium"
if may_install && [ ! -d /run/systemd/system ] && ! there nginx; then
    wanted="$wanted nginx-light"
fi
[ -n "$wanted" ] || exit 0
if may_install; then
    # shellcheck disable=SC2086
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $wanted >/dev/null
else
    echo "The browser tests need chromium; install it (Debian: sudo apt-get install chromium)." >&2
    exit 1
fi
