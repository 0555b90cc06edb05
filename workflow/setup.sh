#!/usr/bin/env bash
# setup.sh VENV PYTHON: install the exact versions of constraints.txt. The last step marks the installation as complete, so
# that one which was stopped is taken up again.
set -euo pipefail
venv=$1
python=${2:-}

if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: Python 3.11 or newer is needed; found ${python:-none}. Name one: make setup PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv'; then
    echo "error: $python cannot make virtual environments; install its venv package (python3.11-venv on Debian)" >&2
    exit 1
fi

mkdir -p "$venv"
if command -v flock >/dev/null; then # two calls at once: the second finds all done
    exec 9>"$venv/.lock"
    flock 9
fi
current() { # the marker holds the repository's folder and is newer than what decides the installation
    [ "$(cat "$venv/.installed" 2>/dev/null)" = "$PWD" ] || return 1
    for file in pyproject.toml constraints.txt "$0"; do [ "$venv/.installed" -nt "$file" ] || return 1; done
}
if current; then
    exit 0
fi
rm -f "$venv/.installed"
echo "Installing into $venv; the first time this takes some minutes."
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[notebooks,workflow,explore,cluster,export,test]"
printf "%s\n" "$PWD" >"$venv/.installed"
