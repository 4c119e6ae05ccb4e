#!/usr/bin/env bash
# stop.sh WORKDIR [--kill]   stops the server in order; --kill: with SIGKILL, as a crash
set -euo pipefail
. "$(dirname "$0")/../common.sh"
stop_server "${1:?usage: stop.sh WORKDIR [--kill]}" "${2:-}"
