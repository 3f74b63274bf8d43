#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks: Debian packages through apt, as root or by sudo.
#
#   scripts/install.sh build    a C compiler and a linker (SQLite, ring and mimalloc are compiled here)
#   scripts/install.sh test     that, the PostgreSQL server, the pgbouncer and the Postfix whose programs the tests run, and openssl
#   scripts/install.sh prove    that, and valgrind
#
# Where nothing is missing it does nothing, and asks for nothing.
set -euo pipefail
purpose=${1:-test}
proves=
if [[ $purpose == prove ]]; then
  purpose=test
  proves=1
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/environment.sh
. "$here/environment.sh"

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
if [[ $purpose == test ]]; then
  if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null; then
    missing+=(postgresql)
  fi
  command -v psql >/dev/null || missing+=(postgresql-client)
  # Mail: a mail server as Debian has it, and certificates for those of the tests' own.
  command -v openssl >/dev/null || missing+=(openssl)
  if [[ ! -x /usr/sbin/postfix ]]; then
    # Debian has room for one mail server, and another may be somebody's own.
    if [[ -e /usr/sbin/sendmail ]]; then
      printf 'install.sh: the tests of mail need postfix, which would take the place of the mail server that is here\n' >&2
      exit 1
    fi
    missing+=(postfix)
  fi
  [[ -x /usr/sbin/pgbouncer ]] || command -v pgbouncer >/dev/null || missing+=(pgbouncer)
  command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
  command -v chromedriver >/dev/null || missing+=(chromium-driver)
  command -v curl >/dev/null || missing+=(curl) # the tour of the README is run as printed
  if [[ $(id -u) == 0 ]] && ! command -v runuser >/dev/null; then missing+=(util-linux); fi
fi

if [[ -n $proves ]]; then
  command -v valgrind >/dev/null || missing+=(valgrind)
fi

if ((${#missing[@]})); then
  printf 'install.sh: installing %s\n' "${missing[*]}" >&2
  root=()
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || {
      printf 'install.sh: neither root nor sudo; install these yourself: %s\n' "${missing[*]}" >&2
      exit 1
    }
    root=(sudo)
  fi
  apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" </dev/null >&2; }
  apt update
  # Debian starts a server of its own when the package comes in; the tests want the programs only.
  setting=/etc/postgresql-common/createcluster.d/cairn-tests.conf
  if [[ " ${missing[*]} " == *' postgresql '* ]]; then
    "${root[@]}" mkdir -p "$(dirname "$setting")"
    printf 'create_main_cluster = false\n' | "${root[@]}" tee "$setting" >/dev/null
    trap '"${root[@]}" rm -f "$setting"' EXIT
  fi
  if [[ " ${missing[*]} " == *' postfix '* ]]; then
    # Without a configuration Debian's start of it does nothing.
    printf 'postfix postfix/main_mailer_type select No configuration\n' | "${root[@]}" debconf-set-selections
  fi
  apt install --no-install-recommends "${missing[@]}"
fi

if ! command -v cargo >/dev/null; then
  printf '%s\n' 'install.sh: there is no cargo. Debian 12 has one that is too old; https://rustup.rs gives a present one:' \
    "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default" >&2
  exit 1
fi
if [[ $purpose == test ]]; then
  for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 || {
      printf 'install.sh: cargo has no %s; rustup component add rustfmt clippy\n' "$component" >&2
      exit 1
    }
  done
fi

# axe-core (MPL-2.0) looks at the pages in the tests' browser. It is fetched by name with the registry's own client, and not
# shipped; where there is no client or no network, the tests look with a list of their own.
axe=target/axe/axe.min.js
if [[ $purpose == test && ! -f $axe ]]; then
  version=4.14.1
  sum=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
  mkdir -p target/axe
  folder=$(mktemp -d "${TMPDIR:-/tmp}/axe.XXXXXX")
  archive=$folder/axe-core-$version.tgz
  if command -v npm >/dev/null &&
    timeout 60 npm pack --silent --pack-destination "$folder" "axe-core@$version" >/dev/null 2>&1 &&
    printf '%s  %s\n' "$sum" "$archive" | sha256sum --check --quiet -; then
    tar -xzOf "$archive" package/axe.min.js >"$axe.new" && mv "$axe.new" "$axe"
  else
    printf 'install.sh: axe-core %s could not be fetched with npm; the tests go on without it\n' "$version" >&2
  fi
  rm -rf "$folder"
fi
