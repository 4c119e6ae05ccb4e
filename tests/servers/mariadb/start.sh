#!/usr/bin/env bash
# Starts a MariaDB server in WORKDIR on 127.0.0.1 and returns when it answers.
#
#   start.sh WORKDIR [mariadbd arguments]   a fresh server, or the one that was stopped there: same data, same port
#   start.sh --install                      fills the cache only
#
# MARIADB_VERSION   10.11 (default) or 11.8: from Debian bookworm and trixie, run with their own libc
# WORKDIR/server.env has PORT, PID, VERSION. Users: root (no password), dflow (password dflow), and dflow_ed (ed25519).
set -euo pipefail
. "$(dirname "$0")/../common.sh"

VERSION=${MARIADB_VERSION:-10.11}
BASE=$CACHE/mariadb-$VERSION

install_server() {
  [ -e "$BASE/ok" ] && return 0
  [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "MariaDB for tests comes for Linux x86_64 only"
  local t suite plugins
  case $VERSION in
    10.11) suite=bookworm ;;
    11.8) suite=trixie ;;
    *) die "MARIADB_VERSION=$VERSION is not known" ;;
  esac
  t=$(mktemp -d "$CACHE/tmp.XXXXXX")
  TEMPORARY+=("$t")
  chmod 755 "$t"
  mkdir "$t/bin"
  say "getting MariaDB $VERSION (once)"
  # mariadb-server alone: it has the plugins, but wants a machine to run on.
  debian_unpack "$suite" "$t/root" +mariadb-server-core mariadb-server || die "Debian $suite does not have it"
  cat >"$t/bin/mariadbd" <<'RUN'
#!/bin/sh
root=$(cd "$(dirname "$0")/../root" && pwd)
libraries=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
for loader in "$root"/usr/lib64/ld-linux-x86-64.so.2 "$root"/lib64/ld-linux-x86-64.so.2 \
  "$root"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root"/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2; do
  [ -x "$loader" ] && break
done
exec "$loader" --library-path "$libraries" "$root/usr/sbin/mariadbd" "$@"
RUN
  chmod 755 "$t/bin/mariadbd"
  local unpacked=$t/root
  if [ -d "$unpacked/usr/share/mysql" ]; then ln -s root/usr/share/mysql "$t/share"; else ln -s root/usr/share/mariadb "$t/share"; fi
  for plugins in "$unpacked"/usr/lib/mysql/plugin "$unpacked"/usr/lib/*/mariadb*/plugin; do
    [ -d "$plugins" ] && ln -sfn "${plugins#"$t"/}" "$t/plugin"
  done
  "$t/bin/mariadbd" --no-defaults --version >"$t/version" || die "this mariadbd does not run here"
  rm -rf "$BASE"
  mv -T "$t" "$BASE"
  touch "$BASE/ok"
}

common_arguments() {
  ARGUMENTS=(--no-defaults --user="$(id -un)" --basedir="$BASE" --lc-messages-dir="$BASE/share"
    --character-sets-dir="$BASE/share/charsets" --innodb-use-native-aio=OFF --innodb-buffer-pool-size=64M
    --innodb-log-file-size=16M)
  [ ! -e "$BASE/plugin" ] || ARGUMENTS+=(--plugin-dir="$BASE/plugin/")
}

bootstrap() { # DATA LOG   reads statements
  "$BASE/bin/mariadbd" "${ARGUMENTS[@]}" --datadir="$1" --tmpdir="$1" --bootstrap --skip-log-bin --log-warnings=0 \
    --enforce-storage-engine= --max-allowed-packet=8M >"$2" 2>&1
}

# A data folder with the users in it; every fresh server gets a copy.
make_template() {
  [ -e "$BASE/template/.ok" ] && return 0
  local t script
  t=$(mktemp -d "$CACHE/tmp.XXXXXX")
  TEMPORARY+=("$t")
  mkdir -p "$t/data/mysql"
  {
    # One statement a line: so this mode reads.
    printf '%s\n' "CREATE DATABASE IF NOT EXISTS mysql;" "USE mysql;" "SET @auth_root_socket = NULL;" "SET @skip_auth_anonymous = 1;"
    for script in system_tables performance_tables system_tables_data sys_schema; do
      cat "$BASE/share/mariadb_$script.sql" 2>/dev/null || cat "$BASE/share/mysql_$script.sql"
      echo
    done
  } | bootstrap "$t/data" "$t/log" || { cat "$t/log" >&2; die "MariaDB cannot make its data folder"; }
  bootstrap "$t/data" "$t/log" <<'SQL' || { cat "$t/log" >&2; die "MariaDB cannot make its users"; }
FLUSH PRIVILEGES;
CREATE OR REPLACE USER 'root'@'%' IDENTIFIED BY '';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
CREATE OR REPLACE USER 'dflow'@'%' IDENTIFIED BY 'dflow';
GRANT ALL ON *.* TO 'dflow'@'%' WITH GRANT OPTION;
SQL
  bootstrap "$t/data" "$t/log" <<'SQL' || say "no user dflow_ed: $(tail -n 1 "$t/log")"
FLUSH PRIVILEGES;
INSTALL SONAME 'auth_ed25519';
CREATE OR REPLACE USER 'dflow_ed'@'%' IDENTIFIED VIA ed25519 USING PASSWORD('dflow');
GRANT ALL ON *.* TO 'dflow_ed'@'%';
SQL
  touch "$t/data/.ok"
  rm -rf "$BASE/template"
  mv -T "$t/data" "$BASE/template"
}

prepare() {
  install_server
  common_arguments
  make_template
}

locked "mariadb-$VERSION" prepare
[ "${1:-}" = --install ] && { cat "$BASE/version"; exit 0; }
[ $# -ge 1 ] || die "usage: start.sh WORKDIR [mariadbd arguments]"
WORK=$1
shift
mkdir -p "$WORK/tmp"
WORK=$(cd "$WORK" && pwd)
[ ${#WORK} -le 90 ] || die "the path is too long for a unix socket: $WORK"
PORT=$(sed -n 's/^PORT=//p' "$WORK/server.env" 2>/dev/null || true)
PORT=${PORT:-$(free_port)}
[ -d "$WORK/data/mysql" ] || { rm -rf "$WORK/data"; cp -a --reflink=auto "$BASE/template" "$WORK/data"; }
rm -f "$WORK/mysql.sock"
LOG=$WORK/server.log
: >"$LOG"
nohup "$BASE/bin/mariadbd" "${ARGUMENTS[@]}" --datadir="$WORK/data" --tmpdir="$WORK/tmp" --bind-address=127.0.0.1 \
  --port="$PORT" --socket="$WORK/mysql.sock" --pid-file="$WORK/mariadbd.pid" --server-id=1 --log-bin=binlog \
  --binlog-format=ROW --binlog-row-image=FULL --default-time-zone=+00:00 --skip-name-resolve \
  --max-allowed-packet=64M "$@" >>"$LOG" 2>&1 </dev/null &
PID=$!
wait_ready "$LOG" "ready for connections" "$PORT" "$PID" 60 || die "MariaDB does not start"
printf 'PORT=%s\nPID=%s\nVERSION=%s\n' "$PORT" "$PID" "$VERSION" >"$WORK/server.env"
watch_owner "$PID" "$WORK"
