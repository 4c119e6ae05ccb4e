#!/usr/bin/env bash
# Records the binary logs of real servers, and what their own SELECT says, into this folder.
#
#   record.sh            all servers; needs what tests/servers needs
#
# SERVER.binlog          the log of all the statements
# SERVER.TABLE.tsv       the tables behind them, as `mysql --batch` writes: tabs, NULL, \n and \t escaped
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
servers=$here/../../../../tests/servers
cache=${DFLOW_SERVERS_CACHE:-$HOME/.cache/dflow-servers}
client=$cache/mariadb-10.11/bin/mariadb
work=$(mktemp -d /tmp/dflow-record.XXXXXX)
trap 'for s in "$work"/*/; do "$servers/$(cat "$s/kind")/stop.sh" "$s" >/dev/null 2>&1 || true; done; rm -rf "$work"' EXIT
[ -e "$client" ] || "$servers/mariadb/start.sh" --install

# record NAME KIND VERSION "SERVER ARGUMENTS" FILE...
record() {
  local name=$1 kind=$2 version=$3 args=$4 dir=$work/$1; shift 4
  mkdir -p "$dir"; echo "$kind" >"$dir/kind"
  # shellcheck disable=SC2086
  MYSQL_VERSION=$version MARIADB_VERSION=$version "$servers/$kind/start.sh" "$dir" $args >/dev/null
  # shellcheck disable=SC1091
  . "$dir/server.env"
  local run=("$client" --no-defaults -h127.0.0.1 -P"$PORT" -uroot --default-character-set=utf8mb4)
  [ "$version" = 9.7 ] && run=("$cache/mysql-9.7/bin/mysql" --no-defaults -h127.0.0.1 -P"$PORT" -uroot --default-character-set=utf8mb4)
  "${run[@]}" -e "CREATE DATABASE rec; FLUSH BINARY LOGS"
  local log; log=$("${run[@]}" -N -e "SHOW BINARY LOGS" | tail -1 | cut -f1)
  for file in "$@"; do "${run[@]}" rec <"$here/$file.sql"; done
  "${run[@]}" -e "FLUSH BINARY LOGS"
  local path; path=$(find "$dir" -name "$log" | head -1)
  cp "$path" "$here/$name.binlog"
  [ "$name" = speed ] || for table in $("${run[@]}" -N -e "SELECT table_name FROM information_schema.tables WHERE table_schema = 'rec' AND table_name <> 'shapes'"); do
    local columns; columns=$("${run[@]}" -N rec -e "SELECT GROUP_CONCAT(CASE
        WHEN data_type IN ('binary', 'varbinary', 'blob', 'tinyblob', 'bit') THEN CONCAT('LOWER(HEX(\`', column_name, '\`))')
        WHEN data_type = 'vector' THEN CONCAT('VECTOR_TO_STRING(\`', column_name, '\`)')
        ELSE CONCAT('\`', column_name, '\`') END ORDER BY ordinal_position SEPARATOR ', ')
      FROM information_schema.columns WHERE table_schema = 'rec' AND table_name = '$table'" --init-command="SET group_concat_max_len = 100000")
    "${run[@]}" -N rec --init-command="SET time_zone = '+00:00'" -e "SELECT $columns FROM $table ORDER BY id" >"$here/$name.$table.tsv"
  done
  "$servers/$kind/stop.sh" "$dir" >/dev/null
}

common="types geometry xa xa2 xa3 compressed minimal"
# shellcheck disable=SC2086
{
  record mysql-8.0 mysql 8.0.15 "--binlog-row-metadata=FULL" $common mysql
  record mysql-9.7 mysql 9.7 "--binlog-row-metadata=FULL --binlog-transaction-compression=ON" $common mysql vector
  record speed mysql 8.0.15 "--binlog-row-metadata=FULL --cte-max-recursion-depth=10000" speed
  record mysql-9.7-plain mysql 9.7 "--binlog-row-metadata=MINIMAL --binlog-checksum=NONE" compressed
  record mariadb-10.11 mariadb 10.11 "--binlog-row-metadata=FULL" $common maria
  record mariadb-10.11-compressed mariadb 10.11 "--binlog-row-metadata=FULL --log-bin-compress=ON --log-bin-compress-min-len=20" compressed types
}
