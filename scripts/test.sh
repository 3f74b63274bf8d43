#!/usr/bin/env bash
# Everything that must hold before a change goes in. Ends in one line: `N passed, N failed`.
#
#   scripts/test.sh           the checks and every test, PostgreSQL included (minutes)
#   scripts/test.sh prove     the same tests on the release build, with more kills, seeds and cases (longer)
#
# Each stage runs even if one before it failed, and each stage that is red counts as one failure, so the line
# and the exit status always say the same.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/environment.sh"

passed=0
failed=0
finish() { printf '%s passed, %s failed\n' "$passed" "$failed"; [[ $failed == 0 ]]; }
stage() { # name, command …
  printf '\n== %s\n' "$1"
  shift
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

profile=()
if [[ ${1:-} == prove ]]; then
  export CAIRN_PROVE=1
  profile=(--release)
fi

if ! "$here/install.sh" "${1:-test}"; then
  failed=1
  finish
  exit
fi
stage 'formatting and clippy' "$here/lint.sh"

printf '\n== cargo test\n'
log=$(mktemp "${TMPDIR:-/tmp}/cairn-test.XXXXXX")
trap 'rm -f "$log"' EXIT
"$here/with-postgres.sh" cargo test --workspace --all-features --no-fail-fast "${profile[@]}" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# cargo prints `test result: ok. 12 passed; 0 failed; …` once for each test binary.
read -r tests_passed tests_failed < <(awk '/^test result: / {
  for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i - 1); if ($i == "failed;") f += $(i - 1) }
} END { print p + 0, f + 0 }' "$log")
passed=$((passed + tests_passed))
failed=$((failed + tests_failed))
# A build that broke, a binary that died: red without a failed test of its own.
if [[ $status != 0 && $tests_failed == 0 ]]; then failed=$((failed + 1)); fi
if [[ $status == 0 && $tests_passed == 0 ]]; then failed=$((failed + 1)); fi

# The password hash is computed by a crate with unsafe code: valgrind ends it at the first access that is out of bounds and
# at the first decision on what was never written. It hides AVX-512, so the path by AVX2 runs.
if [[ ${1:-} == prove ]]; then
  runner='valgrind --quiet --error-exitcode=9 --exit-on-first-error=yes'
  stage 'the password hash under valgrind' env -u CAIRN_PROVE \
    cargo test --workspace --all-features --lib "${profile[@]}" --config "target.'cfg(all())'.runner = '$runner'" -- \
    --test-threads 1 hasher::engine
fi
echo
finish
