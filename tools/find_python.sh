#!/usr/bin/env bash
# Runs Python 3.13 with the given arguments, or says where to get it.
set -euo pipefail
candidates=("${PYTHON:-}" python3.13 python3 python)
if command -v pyenv > /dev/null; then
  for version in "$(pyenv root)"/versions/3.13.*; do candidates+=("$version/bin/python"); done
fi
for candidate in "${candidates[@]}"; do
  if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2> /dev/null; then
    exec "$candidate" "$@"
  fi
done
echo "Python 3.13 is needed and was not found: install it (https://www.python.org/downloads/) or name it with PYTHON=/path/to/python3.13" >&2
exit 1
