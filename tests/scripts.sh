#!/bin/sh
# Runs the tests that are not Rust's: every *.test.mjs beside what it tests. Fetches what they need, once.
set -eu
cd "$(dirname "$0")/.."

for manifest in collector/snippet/package-lock.json tests/browser/package-lock.json; do
    folder=$(dirname "$manifest")
    # npm writes this file last: it is there and newer when the installation is whole.
    if [ -f "$manifest" ] && ! [ "$folder/node_modules/.package-lock.json" -nt "$manifest" ]; then
        (cd "$folder" && npm ci --silent --no-audit --no-fund)
    fi
done
# Like every build of the collector, the tests of its pages need the dashboard.
node dashboards/web/build.mjs
exec node --test --test-reporter=spec $(git ls-files 'collector/*.test.mjs' 'tests/*.test.mjs')
