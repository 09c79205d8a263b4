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

# What the tests of the pages and of the script import.
cd "$(dirname "$0")/.."
for manifest in collector/snippet/package-lock.json tests/browser/package-lock.json; do
    folder=$(dirname "$manifest")
    # npm writes this file last: it is there and newer when the installation is whole.
    if ! [ "$folder/node_modules/.package-lock.json" -nt "$manifest" ]; then
        (cd "$folder" && npm ci --silent --no-audit --no-fund)
    fi
done

command -v python3 >/dev/null || {
    echo "headcount: python3 is needed by the tests and not found; on Debian: apt-get install python3" >&2
    exit 1
}

# The proxies of the README: nginx 0.5 MB, Caddy 9 MB (36 MB unpacked). Only unpacked: installed, Debian's packages would start them on port 80.
# Without them their tests are skipped and say so.
proxies="${XDG_CACHE_HOME:-$HOME/.cache}/headcount/proxies"
for proxy in nginx caddy; do
    if command -v "$proxy" >/dev/null || [ -x "/usr/sbin/$proxy" ] || [ -x "$proxies/usr/sbin/$proxy" ] || [ -x "$proxies/usr/bin/$proxy" ]; then
        continue
    fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "headcount: fetching $proxy for the tests of the README's proxies ..." >&2
        mkdir -p "$proxies"
        (apt-get update -qq && cd "$proxies" && apt-get download -qq "$proxy" && dpkg-deb -x "${proxy}"_*.deb . && rm -f "${proxy}"_*.deb) >/dev/null 2>&1 ||
            echo "headcount: $proxy cannot be fetched: its tests will be skipped" >&2
    else
        echo "headcount: $proxy is not found: its tests will be skipped; on Debian: sudo apt-get install $proxy" >&2
    fi
done

# Makes system calls fail for the tests. Without it those are skipped and say so.
if ! command -v strace >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "headcount: installing strace for the tests of system calls that fail ..." >&2
        (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends strace) >/dev/null 2>&1 ||
            echo "headcount: strace cannot be installed: its tests will be skipped" >&2
    else
        echo "headcount: strace is not found: its tests will be skipped; on Debian: sudo apt-get install strace" >&2
    fi
fi

# Counts the instructions of an event for the budget's test. Without it that is skipped and says so.
if ! command -v valgrind >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "headcount: installing valgrind for the test of the instruction budget ..." >&2
        (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends valgrind) >/dev/null 2>&1 ||
            echo "headcount: valgrind cannot be installed: its test will be skipped" >&2
    else
        echo "headcount: valgrind is not found: its test will be skipped; on Debian: sudo apt-get install valgrind" >&2
    fi
fi

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
