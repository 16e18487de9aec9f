#!/usr/bin/env bash
# install-packages.sh GROUP…: install the Debian or Ubuntu packages of engine, tools, interop or bench that are missing.
# Does nothing, and needs neither root nor network, when all are there.
set -euo pipefail

# A program that tells the package is there, and the package. A Docker of another make than docker.io is as good.
readonly ENGINE=(
    dockerd:docker.io docker:docker.io ip:iproute2 iptables:iptables nsenter:util-linux
)
readonly TOOLS=(
    age:age zstd:zstd bash-static:bash-static setfacl:acl getfattr:attr setcap:libcap2-bin bsdtar:libarchive-tools
    docker-registry:docker-registry htpasswd:apache2-utils ssh:openssh-client sshd:openssh-server git:git
    flock:util-linux tar:tar cron:cron systemd-analyze:systemd zbarimg:zbar-tools pdftoppm:poppler-utils jq:jq
)
readonly INTEROP=(node:nodejs npm:npm)
readonly BENCH=(restic:restic borg:borgbackup age:age zstd:zstd)

fail() {
    printf 'install-packages: %s\n' "$*" >&2
    exit 1
}

# missing PROGRAM:PACKAGE…: the packages whose program is not on PATH.
missing() {
    local pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
    done | sort -u
}

# A busybox that needs the host's libraries is of no use in an image of its own.
missing_busybox() {
    if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then echo busybox-static; fi
}

# Any browser of Chromium's make prints a page; without a font it prints none of its letters.
missing_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then return; fi
    done
    printf '%s\n' chromium fonts-dejavu-core
}

install() {
    [ "$(id -u)" = 0 ] || fail "missing: $*. Run as root, or: apt-get install $*"
    command -v apt-get >/dev/null || fail "missing: $*, and there is no apt-get to install them"
    export DEBIAN_FRONTEND=noninteractive
    start_no_services
    apt-get update -q
    # Recommended packages of docker.io are for people who build; none is needed here.
    apt-get install -q -y --no-install-recommends "$@"
    # Newer releases keep the client apart.
    command -v docker >/dev/null || apt-get install -q -y --no-install-recommends docker-cli
}

# A registry and an engine that start by themselves on the machine's ports are not what was asked for.
start_no_services() {
    readonly POLICY=/usr/sbin/policy-rc.d
    if [ -e "$POLICY" ]; then return; fi
    trap 'rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod +x "$POLICY"
}

# Some kernels know only the older of the two. An engine that runs has its rules in one of them: leave it alone.
choose_iptables() {
    if adds_rules iptables || pgrep -x dockerd >/dev/null 2>&1; then return; fi
    if adds_rules iptables-legacy; then
        update-alternatives --set iptables "$(command -v iptables-legacy)"
    fi
}

# Whether the kernel takes such a rule as dockerd's, tried in a network namespace that ends with the command.
adds_rules() {
    unshare --net "$1" -t nat -A POSTROUTING -m addrtype --src-type LOCAL -j MASQUERADE 2>/dev/null
}

packages_of() {
    case "$1" in
        engine) missing "${ENGINE[@]}" ;;
        tools)
            missing "${TOOLS[@]}"
            missing_busybox
            missing_browser
            ;;
        interop) missing "${INTEROP[@]}" ;;
        bench) missing "${BENCH[@]}" ;;
        *) fail "no such group: $1" ;;
    esac
}

main() {
    [ $# -gt 0 ] || fail "usage: install-packages.sh engine|tools|interop|bench…"
    PATH=$PATH:/usr/sbin:/sbin
    local group packages=()
    for group in "$@"; do
        mapfile -t -O "${#packages[@]}" packages < <(packages_of "$group")
    done
    if [ "${#packages[@]}" -gt 0 ]; then install "${packages[@]}"; fi
    if [ "$1" = engine ] && [ "$(id -u)" = 0 ]; then choose_iptables; fi
}

main "$@"
