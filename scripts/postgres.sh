#!/usr/bin/env bash
# A PostgreSQL server for one run of the tests: a folder and a port of its own, thrown away at the end.
#
#   scripts/postgres.sh start FOLDER   make the server in FOLDER if there is none, start it, print its URL
#   scripts/postgres.sh halt FOLDER    stop the server and keep FOLDER (start brings it back at the same URL)
#   scripts/postgres.sh stop FOLDER    stop the server and remove FOLDER
#   scripts/postgres.sh url FOLDER     print the URL of the server in FOLDER
#
# The URL is that of a superuser on loopback; its password goes as it is, because the handshake that hides it takes an
# unoptimized client longer than the query. fsync stays on: the tests are about what survives.
set -euo pipefail

verb=${1:-}
folder=${2:-}
if [[ -z $folder || ! $verb =~ ^(start|halt|stop|url)$ ]]; then
  sed -n '4,7s/^# *//p' "$0" >&2
  exit 2
fi

say() { printf 'postgres.sh: %s\n' "$*" >&2; }

# The server's programs, newest version first. pg_config also exists without a server, so it is asked last.
programs() {
  local place
  for place in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
    "$(pg_config --bindir 2>/dev/null || true)" "$(dirname "$(command -v initdb || echo /nowhere/initdb)")"; do
    if [[ -x $place/initdb && -x $place/pg_ctl && -x $place/postgres ]]; then
      printf '%s\n' "$place"
      return
    fi
  done
  say 'no PostgreSQL server found: run scripts/install.sh (or apt-get install postgresql)'
  return 1
}

# PostgreSQL refuses to run as root, so root lends the folder to a user that may do nothing else.
owner=$(id -un)
if [[ $(id -u) == 0 ]]; then
  owner=nobody
  if id -u postgres >/dev/null 2>&1; then owner=postgres; fi
fi

as_owner() {
  if [[ $(id -un) == "$owner" ]]; then
    (cd "$folder" && "$@")
  else
    (cd "$folder" && runuser -u "$owner" -- "$@")
  fi
}

running() { [[ -f $folder/data/postmaster.pid ]] && as_owner "$bin/pg_ctl" -D "$folder/data" status >/dev/null 2>&1; }

launch() { # port
  as_owner "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 -s \
    -o "-p $1 -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200 -c max_wal_size=1GB" \
    start </dev/null >/dev/null 2>&1
}

create() {
  mkdir -p "$folder"
  chmod 700 "$folder"
  local password
  password=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
  printf '%s\n' "$password" >"$folder/password"
  if [[ $(id -un) != "$owner" ]]; then chown -R "$owner" "$folder"; fi
  as_owner "$bin/initdb" -D "$folder/data" -U cairn --pwfile="$folder/password" --auth=password \
    --encoding=UTF8 --no-locale >"$folder/initdb.log" 2>&1 || {
    cat "$folder/initdb.log" >&2
    return 1
  }
  local port
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    port=$((20000 + RANDOM % 12000))
    if launch "$port"; then
      printf 'postgres://cairn:%s@127.0.0.1:%s/postgres\n' "$password" "$port" >"$folder/url"
      printf '%s\n' "$port" >"$folder/port"
      return 0
    fi
  done
  say 'the server does not start:'
  tail -n 20 "$folder/log" >&2
  return 1
}

case $verb in
start)
  bin=$(programs)
  if [[ ! -f $folder/url ]]; then
    create
  elif ! running; then
    launch "$(cat "$folder/port")" || { tail -n 20 "$folder/log" >&2; exit 1; }
  fi
  cat "$folder/url"
  ;;
halt | stop)
  bin=$(programs)
  if running; then
    as_owner "$bin/pg_ctl" -D "$folder/data" -m fast -w -t 30 -s stop ||
      as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate -w -t 30 -s stop
  fi
  # Only what this script made is removed: a folder without a cluster of ours is left alone.
  if [[ $verb == stop && -d $folder/data && -f $folder/password ]]; then rm -rf -- "$folder"; fi
  ;;
url)
  cat "$folder/url"
  ;;
esac
