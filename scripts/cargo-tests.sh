#!/usr/bin/env bash
# Every test of the workspace, beside a database server that is there already. The store's own tests wait for the disk
# more than for anything else, so they run beside all the others; what they print comes when both are done.
#
#   scripts/cargo-tests.sh [--release]
set -uo pipefail

everything=(cargo test --workspace --all-features --no-fail-fast "$@")
"${everything[@]}" --no-run || exit
store=$(mktemp "${TMPDIR:-/tmp}/cairn-store.XXXXXX")
trap 'rm -f "$store"' EXIT
# Both name their targets among those of the whole workspace: what is built is the same for both.
"${everything[@]}" --test store >"$store" 2>&1 &
"${everything[@]}" --lib --bins --test '[!s]*'
others=$?
wait $!
beside=$?
cat "$store"
[[ $others == 0 && $beside == 0 ]]
