#!/usr/bin/env bash
# Measures Cairn as ratios to floors taken in the same run; prints the table and writes target/bench.json.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/environment.sh"
"$here/install.sh" test
exec "$here/with-postgres.sh" cargo bench --package cairn --bench ratios
