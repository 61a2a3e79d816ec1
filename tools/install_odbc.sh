#!/usr/bin/env bash
# Sees to the ODBC driver manager (libodbc) that pyodbc needs; the only thing installed outside this folder.
set -euo pipefail
if "$(dirname "$0")/../.venv/bin/python" -c 'import pyodbc' 2> /dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends unixodbc
  exit 0
fi
echo "unixODBC is needed (libodbc.so.2): install it, for example with 'sudo apt-get install unixodbc' or 'brew install unixodbc'" >&2
exit 1
