# What the start and stop scripts share. Sourced; sets nothing on the machine, needs no root.
#
# The cache is DFLOW_SERVERS_CACHE, or the user's cache folder. Programs are unpacked there, never installed.
# shellcheck shell=bash

say() { echo "tests/servers: $*" >&2; }
die() { say "$*"; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "'$1' is missing (Debian: apt-get install $2)"; }

cache_dir() {
  local dir=${DFLOW_SERVERS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dflow/servers}
  mkdir -p "$dir" && (cd "$dir" && pwd)
}

# Where Debian's packages come from: DFLOW_DEBIAN_MIRROR, or the mirror this machine uses, or the public one.
debian_mirror() {
  local site=${DFLOW_DEBIAN_MIRROR:-}
  [ -n "$site" ] || site=$(apt-get indextargets --format '$(SITE)' 2>/dev/null | grep -m1 '/debian/\?$' || true)
  [ -n "$site" ] || site=$(sed -nE 's|^URIs: (.*/debian)/?$|\1|p; s|^deb (\[[^]]*\] )?([^ ]*/debian)/? .*|\2|p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n1 || true)
  echo "${site:-http://deb.debian.org/debian}"
}

# debian_unpack SUITE DEST PACKAGE…   downloads packages into a private apt folder and unpacks them. `+PACKAGE` comes
# with all it depends on, down to libc; `PACKAGE` comes alone.
debian_unpack() {
  local suite=$1 dest=$2 apt package with=() alone=()
  shift 2
  need apt-get apt
  need dpkg-deb dpkg
  for package in "$@"; do
    case $package in +*) with+=("${package#+}") ;; *) alone+=("$package") ;; esac
  done
  apt=$(mktemp -d "$CACHE/tmp.XXXXXX")
  TEMPORARY+=("$apt")
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main" >"$apt/sources"
  cat >"$apt/conf" <<CONF
Dir::Etc::sourcelist "$apt/sources";
Dir::Etc::sourceparts "-";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "";
Debug::NoLocking "true";
CONF
  local log=$apt/log
  apt-get -qq -c "$apt/conf" update >"$log" 2>&1 || { cat "$log" >&2; return 1; }
  if [ ${#with[@]} -gt 0 ]; then
    apt-get -qq -y -c "$apt/conf" --no-install-recommends --download-only install "${with[@]}" >"$log" 2>&1 ||
      { cat "$log" >&2; return 1; }
    mv "$apt"/cache/archives/*.deb "$apt/debs/"
  fi
  if [ ${#alone[@]} -gt 0 ]; then
    (cd "$apt/debs" && apt-get -qq -c "$apt/conf" download "${alone[@]}" >"$log" 2>&1) || { cat "$log" >&2; return 1; }
  fi
  mkdir -p "$dest"
  for package in "$apt"/debs/*.deb; do dpkg-deb -x "$package" "$dest"; done
  rm -rf "$apt"
}

# Two starts at the same time install once: `locked NAME COMMAND…` runs a command while holding a lock of the cache.
locked() {
  local name=$1
  shift
  exec 8>"$CACHE/$name.lock"
  flock 8
  "$@"
  exec 8>&-
}

# A free port of 127.0.0.1 below the ephemeral range.
free_port() {
  local port
  while :; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# Whether process $1 is the server of data folder $2: a pid alone may belong to somebody else by now.
is_server() {
  [ -n "$1" ] && [ -r "/proc/$1/cmdline" ] && tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qxF -- "--datadir=$2"
}

# Waits until log $1 says $2 and port $3 answers; fails when process $4 ends or $5 seconds pass.
wait_ready() {
  local i
  for ((i = 0; i < $5 * 20; i++)); do
    grep -q "$2" "$1" && (exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null && return 0
    kill -0 "$4" 2>/dev/null || { tail -n 40 "$1" >&2; return 1; }
    sleep 0.05
  done
  kill -9 "$4" 2>/dev/null || true
  tail -n 40 "$1" >&2
  return 1
}

# When the process that asked for the server ($DFLOW_SERVER_OWNER) is gone, so is server $1 of folder $2 and the folder.
watch_owner() {
  [ -n "${DFLOW_SERVER_OWNER:-}" ] || return 0
  (
    exec </dev/null >/dev/null 2>&1 8>&-
    while kill -0 "$1"; do
      if ! kill -0 "$DFLOW_SERVER_OWNER"; then
        # It writes until it is gone.
        while is_server "$1" "$2/data"; do kill -9 "$1"; sleep 0.1; done
        rm -rf "$2"
        exit
      fi
      sleep 1
    done
  ) &
}

# stop_server WORKDIR [--kill]
stop_server() {
  local work pid i
  work=$(cd "$1" && pwd)
  pid=$(sed -n 's/^PID=//p' "$work/server.env" 2>/dev/null || true)
  is_server "$pid" "$work/data" || return 0
  if [ "${2:-}" = --kill ]; then kill -9 "$pid"; else kill -TERM "$pid"; fi
  for ((i = 0; i < 600; i++)); do
    is_server "$pid" "$work/data" || return 0
    sleep 0.05
  done
  say "process $pid does not stop within 30 s: killed"
  kill -9 "$pid" 2>/dev/null || true
}

TEMPORARY=()
CACHE=$(cache_dir)
trap 'rm -rf "${TEMPORARY[@]+"${TEMPORARY[@]}"}"' EXIT
