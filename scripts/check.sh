#!/usr/bin/env bash
# The inner loop: formatting, clippy, and the tests that need neither a server nor PostgreSQL. Minutes when built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/environment.sh"
"$here/install.sh" build
"$here/lint.sh"
tests=(cargo test --quiet --workspace --all-features)
"${tests[@]}" --lib --bins
"${tests[@]}" --test flows --test lending -- --skip simulation
"${tests[@]}" --test engine -- --skip simulation --skip sweep
"${tests[@]}" --test main -- house:: documents::
