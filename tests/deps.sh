#!/bin/sh
# Sees to what a machine needs: `deps.sh build` for building and running, `deps.sh test` for the tests as well. Silent when all is there.
set -eu

missing=""
for command in cargo cc node npm; do
    command -v "$command" >/dev/null || missing="$missing $command"
done
if [ -n "$missing" ]; then
    echo "headcount: these commands are needed and not found:$missing" >&2
    echo "headcount: Rust 1.95 or newer is at https://rustup.rs; on Debian the others are: apt-get install gcc libc6-dev nodejs npm" >&2
    exit 1
fi
[ "${1:-build}" = test ] || exit 0

command -v python3 >/dev/null || {
    echo "headcount: python3 is needed by the tests and not found; on Debian: apt-get install python3" >&2
    exit 1
}

for browser in chromium chromium-browser google-chrome; do
    command -v "$browser" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "headcount: installing Chromium for the browser tests ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends chromium >/dev/null
else
    echo "headcount: the browser tests need Chromium and it is not found; on Debian: sudo apt-get install chromium" >&2
    exit 1
fi
