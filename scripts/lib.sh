# Common part of the entries: find a Python, make the private tool environment once, hand over to it.
# shellcheck shell=bash
set -euo pipefail

unset CDPATH # with it `cd` goes elsewhere, and prints where
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export VLLM_RECIPES_HOME=${VLLM_RECIPES_HOME:-$root/build}
tools=$VLLM_RECIPES_HOME/tools

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

find_python() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    is_new_enough "$PYTHON" || fail "PYTHON is '$PYTHON', which is no Python 3.10 or newer: set it to one's path, or unset it"
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if is_new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.10 or newer was found; install one (Debian: apt-get install python3) or set PYTHON to its path"
}

# run_tool COMMAND [ARGUMENT...]: run a command of scripts/tooling in the tool environment.
run_tool() {
  if [[ ! -x $tools/bin/python ]] || ! cmp -s "$root/requirements/tools.txt" "$tools/requirements.txt"; then
    local python
    python=$(find_python)
    "$python" -E -s "$root/scripts/tooling/bootstrap.py" "$tools" "$root/requirements/tools.txt"
  fi
  exec "$tools/bin/python" -E -s "$root/scripts/tooling" "$@"
}
