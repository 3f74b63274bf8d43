#!/usr/bin/env bash
# Runs a command beside a PostgreSQL server of its own, whose URL it finds in CAIRN_TEST_POSTGRES.
# A server that is named there already is used and left running. The command's status is kept.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ -n ${CAIRN_TEST_POSTGRES:-} ]]; then
  exec "$@"
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/cairn-postgres.XXXXXX")
trap '"$here/postgres.sh" stop "$folder" || true; if [[ -d $folder ]]; then rmdir "$folder" 2>/dev/null || true; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
CAIRN_TEST_POSTGRES=$("$here/postgres.sh" start "$folder")
export CAIRN_TEST_POSTGRES
"$@"
