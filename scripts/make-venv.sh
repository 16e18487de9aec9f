#!/usr/bin/env bash
# make-venv.sh PYTHON VENV: a virtual environment with this project, as it stands here, and what its tests need.
set -euo pipefail

readonly PYTHON=$1 VENV=$2

create() {
    if "$PYTHON" -m venv "$VENV" 2>/dev/null; then return; fi
    # Debian keeps the part that puts pip into a new environment in a package of its own.
    rm -rf "$VENV"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv
    "$PYTHON" -m venv "$VENV"
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "make-venv: $PYTHON is older than Python 3.11; say which to use: make PYTHON=python3.12 …" >&2
    exit 1
}
[ -x "$VENV/bin/pip" ] || create
"$VENV/bin/pip" install --quiet --disable-pip-version-check --editable '.[dev]'
