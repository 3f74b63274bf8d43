#!/usr/bin/env bash
# Measures Cairn as ratios to floors taken in the same run; prints the table and writes target/bench.json.
#
#   scripts/bench.sh              everything
#   scripts/bench.sh steps http   parts of it; docs/benchmarks.md names them all
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/environment.sh
. "$here/environment.sh"
"$here/install.sh" test
exec "$here/with-postgres.sh" cargo bench --package cairn --bench ratios -- "$@"
