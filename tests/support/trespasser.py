"""A service that tries, in its restore hook and its selftest, all that a drill must not let it do.

In the caller's environment: TRESPASS_LOG, a file that gets `WHAT=EXIT CODE` for each try; TRESPASS_LIVE, TRESPASS_IP,
TRESPASS_GATEWAY, TRESPASS_SOCKET: name and address of a container that serves HTTP on port 8080 and is none of its
business, an address of the host on which that port is published, and the engine's socket.
TRESPASS_FAIL=selftest, =crash or =hang: the service does not come back. =start: it tries nothing, and waits for its
command `start`.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from support.engines import Host
from support.images import build_image

IMAGE = "test/trespasser:1"
_SERVICECFG = 'VOLUMES=("/data")\nEXTRACONTAINERS=()\n'
_SERVICERUNNER = r"""#!/bin/bash
MYDIR=$(dirname "$(readlink -f "$0")")
source "$MYDIR/variables.sh"
source "$MYDIR/utils.sh"
LIVE=${TRESPASS_LIVE-}
try() { local what=$1; shift; "$@" >/dev/null 2>&1; echo "$what=$?" >>"$TRESPASS_LOG"; }
once() { docker run --rm "${DOCKEROPTS[@]}" "$@"; }

# call ADDRESS [OPTIONS]: a container connects to port 8080 of an address, or of its own network's gateway.
call() {
    local address=$1
    shift
    # shellcheck disable=SC2016
    once "$@" "$IMAGENAME" bash -c '
        [ "$0" != gateway ] || set -- "$(ip route | sed -n "s/^default via \([0-9.]*\).*/\1/p")"
        [ "$0" = gateway ] || set -- "$0"
        timeout 1 bash -c "echo >/dev/tcp/$1/8080"
        exit $?' "$address"
}

hang() {
    docker run -d --name "$SERVICENAME-web" -v "$SERVICENAME-extra:/extra" "$IMAGENAME" sleep 300
    touch "$TRESPASS_LOG.hangs"
    sleep 300
}

serve() {
    docker run -d --name "$SERVICENAME-web" -p 18099:8080 --restart always --privileged \
        --health-cmd "test -e /data/word" --health-interval 1s \
        "${DOCKEROPTS[@]}" "$IMAGENAME" httpd -f -p 8080 -h /data >/dev/null || die "Cannot serve."
}

harm() {
    try stop-live docker stop -t 1 "$LIVE"
    try pause-live docker pause "$LIVE"
    try exec-live docker exec "$LIVE" true
    try inspect-live docker container inspect "$LIVE"
    try its-name docker run -d --name "$LIVE" "$IMAGENAME" sleep 100
    try live-volume docker run --rm -v trespass-live:/x "$IMAGENAME" true
    try remove-live-volume docker volume rm trespass-live
    try create-live-volume docker volume create trespass-live
    try prune docker container prune -f
    try prune-system docker system prune -a -f
    try remove-image docker rmi -f test/base-of-others:1
    try live-network-namespace docker run --rm --network "container:$LIVE" "$IMAGENAME" true
    try live-processes docker run --rm --pid "container:$LIVE" "$IMAGENAME" true
    try own-run docker run --rm -v "$(dirname "$TRESPASS_SOCKET"):/engine" "$IMAGENAME" true
    try reach-from-container call "$TRESPASS_IP"
    try reach-from-host-network call "$TRESPASS_IP" --network host
    try reach-from-live-network call "$TRESPASS_IP" --network trespass-net
    try reach-host call "$TRESPASS_GATEWAY"
    try reach-own-gateway call gateway
    try reach-from-script timeout 2 bash -c "echo >/dev/tcp/$TRESPASS_IP/8080"
    try write-host docker run --rm --user 0 -v /etc:/host "$IMAGENAME" touch /host/trespass
    docker rm -f "$LIVE" >/dev/null 2>&1 # succeeds, as for any name that stands for nothing
}

work() {
    local inode
    inode=$(stat -c %i "${DOCKER_HOST#unix://}")
    try socket-in-container bash -c "docker run --rm --user 0 -v '$TRESPASS_SOCKET:/s' '$IMAGENAME' \
        ls -i /s | grep -q '^ *$inode '"
    try real-socket bash -c "docker -H 'unix://$TRESPASS_SOCKET' rm -f '$LIVE'"
    try list-is-empty bash -c 'found=$(docker ps -q --filter name=trespass-live) && [ -z "$found" ]'
    try list-has-own bash -c "docker ps --filter name='$SERVICENAME-web' -f status=running | grep -q '$SERVICENAME'"
    try stdin bash -c "head -c 3000000 /dev/zero | docker run --rm -i '$IMAGENAME' wc -c | grep -q '^3000000'"
    try both-ways bash -c "head -c 3000000 /dev/zero | docker run --rm -i '$IMAGENAME' cat | wc -c | grep -q '^3000000'"
    try terminal bash -c "docker run --rm -it '$IMAGENAME' tty | grep -q dev"
    try exit-code bash -c "docker run --rm '$IMAGENAME' sh -c 'exit 7'; [ \$? = 7 ]"
    try network docker network create --subnet 10.99.0.0/24 "$SERVICENAME-net"
    try internal bash -c "docker network inspect -f '{{.Internal}}' '$SERVICENAME-net' | grep -q true"
    try by-name once --network "$SERVICENAME-net" --network-alias other "$IMAGENAME" true
    try fixed-network docker network create trespass-net
    try join docker network connect "$SERVICENAME-net" "$SERVICENAME-web"
    try join-live docker network connect trespass-net "$SERVICENAME-web"
    try link-environment once --link "$SERVICENAME-web:back-end" "$IMAGENAME" \
        bash -c 'echo >"/dev/tcp/$BACK_END_PORT_8080_TCP_ADDR/${BACK_END_PORT##*:}"'
    try resolve once "$IMAGENAME" nslookup "$SERVICENAME-web" 127.0.0.11
    try volume docker volume create "$SERVICENAME-extra"
    try new-volume docker run --rm -v "$SERVICENAME-new:/x" "$IMAGENAME" true
    try exec bash -c "echo hi | docker exec -i '$SERVICENAME-web' sh -c 'cat >/tmp/hi'"
    try copy bash -c "docker cp '$SERVICENAME-web:/tmp/hi' - | tar -xO | grep -q hi"
    try tag docker tag "$IMAGENAME" "test/moved:1"
    try new-tag docker tag "$IMAGENAME" "test/trespassed:1"
    try import bash -c "tar -c -C '$MYDIR' servicecfg.sh | docker import - test/imported:1"
    try logs bash -c "docker logs -f '$SERVICENAME-web' & sleep 0.3; kill %1"
    try localhost bash -c "exec 3<>/dev/tcp/localhost/18099; printf 'GET /word HTTP/1.0\r\n\r\n' >&3; grep -q kept <&3"
    try hostip bash -c "exec 3<>/dev/tcp/$HOSTIP/18099; printf 'GET /word HTTP/1.0\r\n\r\n' >&3; grep -q kept <&3"
    try own-launcher "$SERVICENAME" ping
}

case "$1" in
    install | backupend | updatestart | updateend | ping) ;;
    uninstall | obliterate) docker rm -f "$SERVICENAME-web" >/dev/null 2>&1 || true ;;
    backupstart) ;;
    restore)
        [ "${TRESPASS_FAIL-}" != crash ] ||
            docker run -d --name "$SERVICENAME-web" "$IMAGENAME" sh -c 'echo no licence; exit 4' >/dev/null
        [ "${TRESPASS_FAIL-}" != hang ] || hang
        [ -n "${TRESPASS_FAIL-}" ] || { serve; harm; work; }
        ;;
    start) [ "${TRESPASS_FAIL-}" != start ] || serve ;;
    selftest)
        [ "${TRESPASS_FAIL-}" != selftest ] || die "The notes are lost."
        [ -n "${TRESPASS_FAIL-}" ] || once "$IMAGENAME" grep -q kept /data/word
        ;;
    *) die "There is no command $1." ;;
esac
"""


def build_trespasser(host: Host) -> str:
    """The service's image on ``host``."""
    files = {"/drunner/servicerunner": _SERVICERUNNER, "/drunner/servicecfg.sh": _SERVICECFG}
    return build_image(host, IMAGE, files)


def tries(log: Path) -> tuple[dict[str, int], dict[str, int]]:
    """The exit codes of the tries that do harm, and of those that a service may well need."""
    found = [(match[1], int(match[2])) for match in re.finditer(r"(?m)^([\w-]+)=(\d+)$", log.read_text())]
    at = [name for name, _ in found].index("socket-in-container")
    return dict(found[:at]), dict(found[at:])


def networks(host: Host) -> set[str]:
    """Names of all networks of the engine."""
    return set(host.docker("network", "ls", "--format", "{{.Name}}").stdout.split())


def links(host: Host) -> list[str]:
    """The network interfaces of the host, but for those of running containers."""
    done = host.run("ip", "-o", "link")
    assert isinstance(done, subprocess.CompletedProcess)
    return sorted(re.findall(r"(?m)^\d+: ((?!veth)[^:@]+)", done.stdout))
