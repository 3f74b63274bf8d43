#!/usr/bin/env bash
# Builds Cairn and serves it on loopback: SQLite in data/, letters in the development mailbox.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/environment.sh"
"$here/install.sh" build
cargo build --profile try --package cairn
# exec: what the terminal or a supervisor signals is the server itself.
exec cargo run --quiet --profile try --package cairn -- serve "$@"
