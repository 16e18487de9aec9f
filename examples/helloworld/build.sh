#!/usr/bin/env bash
# build.sh IMAGE: build this service's image from what the machine has. Needs busybox-static and bash-static, no network.
set -euo pipefail

HERE=$(dirname "$(readlink -f "$0")")
readonly HERE BUSYBOX=/bin/busybox BASH_STATIC=/bin/bash-static

fail() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

check_tools() {
    [ -x "$BUSYBOX" ] || fail "$BUSYBOX is missing: install busybox-static"
    [ -x "$BASH_STATIC" ] || fail "$BASH_STATIC is missing: install bash-static"
    # A busybox that needs the host's libraries would start here and nowhere else.
    if ldd "$BUSYBOX" >/dev/null 2>&1; then fail "$BUSYBOX is not static: install busybox-static"; fi
}

collect_rootfs() {
    local rootfs=$1/rootfs applet
    mkdir -p "$rootfs/bin" "$rootfs/tmp"
    chmod 1777 "$rootfs/tmp"
    cp "$BUSYBOX" "$rootfs/bin/busybox"
    cp "$BASH_STATIC" "$rootfs/bin/bash"
    for applet in $("$BUSYBOX" --list); do
        [ -e "$rootfs/bin/$applet" ] || ln -s busybox "$rootfs/bin/$applet"
    done
}

docker_build() {
    # Newer clients build with buildx, and refuse to build at all when it is absent, unless told to use the old builder.
    if ! docker buildx version >/dev/null 2>&1; then
        export DOCKER_BUILDKIT=0
    fi
    docker build --tag "$1" "$2"
}

main() {
    [ $# = 1 ] || fail "usage: build.sh IMAGE"
    check_tools
    context=$(mktemp -d)
    trap 'rm -rf "$context"' EXIT
    cp -r "$HERE/." "$context"
    collect_rootfs "$context"
    docker_build "$1" "$context"
}

main "$@"
