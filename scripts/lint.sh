#!/usr/bin/env bash
# The checks that need no test to run: formatting, then clippy over every target with warnings as errors.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/environment.sh"
cargo fmt --all --check
cargo clippy --workspace --all-targets --all-features -- -D warnings
