#!/usr/bin/env bash
# A Docker engine of one's own, beside whatever engine the machine has: own network, own data, own containerd.
# The tests and the demonstration use it as "another host". Needs root.
#
#   private-engine.sh workdir            make a short new directory on a real disk, and print it
#   private-engine.sh start NAME DIR     start an engine; prints its DOCKER_HOST when it answers
#   private-engine.sh stop NAME DIR      end it and everything it started; removes DIR
#
# NAME becomes a network namespace. DIR holds all state; keep it short, a unix socket's path has about 100 bytes.
set -euo pipefail

readonly START_SECONDS=60
readonly STOP_SECONDS=20

fail() {
    printf 'private-engine: %s\n' "$*" >&2
    exit 1
}

need_root_and_tools() {
    [ "$(id -u)" = 0 ] || fail "starting an engine needs root"
    local tool
    for tool in dockerd containerd docker ip nsenter; do
        command -v "$tool" >/dev/null || fail "$tool is not installed (try: make setup)"
    done
}

in_netns() {
    # `ip netns exec` mounts a new /sys, which hides the cgroups that dockerd needs. nsenter changes the network only.
    nsenter --net="/var/run/netns/$NAME" "$@"
}

# daemon PROGRAM ARGS…: in a session of its own, so that Ctrl-C at the terminal is ours to answer.
daemon() {
    (exec nsenter --net="/var/run/netns/$NAME" setsid "$@" </dev/null >"$DIR/$1.log" 2>&1) &
    echo $! >"$DIR/$1.pid"
}

engine_docker() {
    timeout "$1" docker -H "unix://$DIR/sock" "${@:2}"
}

workdir() {
    # overlay2 cannot work on top of overlay, and tmpfs has no user xattrs on older kernels.
    local parent
    for parent in "${TMPDIR:-/tmp}" /tmp /var/tmp /var/lib; do
        if [ "${#parent}" -gt 30 ]; then continue; fi
        case "$(stat -f -c %T "$parent" 2>/dev/null)" in
            '' | tmpfs | ramfs | overlay*) ;;
            *) break ;;
        esac
    done
    mktemp -d "$parent/dv-XXXXXX"
}

write_containerd_config() {
    # A containerd of our own: dockerd would otherwise join the machine's, and share its containers' namespace.
    cat >"$DIR/containerd.toml" <<TOML
version = 2
root = "$DIR/containerd"
state = "$DIR/exec/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$DIR/containerd.sock"
TOML
}

start_containerd() {
    write_containerd_config
    daemon containerd --config "$DIR/containerd.toml"
    wait_for containerd test -S "$DIR/containerd.sock"
}

iptables_flags() {
    # Nobody outside this network needs to reach the containers, so a kernel without iptables is no obstacle.
    if ! iptables_works; then
        echo --iptables=false --ip6tables=false
    fi
}

iptables_works() {
    # Listing is no proof: a kernel may know tables and chains, and lack what dockerd's rules match on.
    local rule=(POSTROUTING -t nat -m addrtype --src-type LOCAL -j MASQUERADE)
    in_netns iptables -w -A "${rule[@]}" 2>/dev/null && in_netns iptables -w -D "${rule[@]}" 2>/dev/null
}

write_dockerd_config() {
    # A file of our own: the machine's /etc/docker/daemon.json is for the machine's engine.
    case "$(dockerd --version)" in
        # Until 23 an engine's identity is a key in /etc/docker, and two engines would share it.
        'Docker version 20.'*) echo "{\"deprecated-key-path\": \"$DIR/key.json\"}" ;;
        *) echo '{}' ;;
    esac >"$DIR/daemon.json"
}

start_dockerd() {
    local flags
    read -r -a flags <<<"$(iptables_flags)" || true
    write_dockerd_config
    daemon dockerd --config-file "$DIR/daemon.json" --containerd "$DIR/containerd.sock" \
        --data-root "$DIR/data" --exec-root "$DIR/exec" --pidfile "$DIR/dockerd.run" \
        -H "unix://$DIR/sock" "${flags[@]}"
    wait_for dockerd engine_docker 5 version
}

command_line() {
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true
}

running() {
    # A process that has ended but is not yet reaped still takes signals.
    [ -d "/proc/$1" ] && ! grep -qs '^State:.*zombie' "/proc/$1/status"
}

# wait_for DAEMON TEST…: until TEST succeeds, as long as DAEMON lives.
wait_for() {
    local daemon=$1 deadline=$((SECONDS + START_SECONDS))
    shift
    until "$@" >/dev/null 2>&1; do
        if ! running "$(cat "$DIR/$daemon.pid")" || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 30 "$DIR/$daemon.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

start() {
    need_root_and_tools
    [ "${#DIR}" -le 60 ] || fail "$DIR is too long a path for the engine's sockets"
    [ ! -e "$DIR/sock" ] || fail "$DIR already holds an engine"
    mkdir -p "$DIR"
    trap 'stop; exit 130' INT TERM
    ip netns add "$NAME"
    ip -n "$NAME" link set lo up
    if ! { start_containerd && start_dockerd; }; then
        stop
        fail "engine $NAME did not start; the end of its log is above"
    fi
    echo "unix://$DIR/sock"
}

end_containers() {
    local containers paused
    mapfile -t containers < <(engine_docker "$STOP_SECONDS" ps -aq 2>/dev/null)
    mapfile -t paused < <(engine_docker "$STOP_SECONDS" ps -q --filter status=paused 2>/dev/null)
    # A frozen process cannot die, so wake those first.
    if [ "${#paused[@]}" -gt 0 ]; then
        engine_docker "$STOP_SECONDS" unpause "${paused[@]}" >/dev/null 2>&1 || true
    fi
    if [ "${#containers[@]}" -gt 0 ]; then
        engine_docker "$STOP_SECONDS" rm -f "${containers[@]}" >/dev/null 2>&1 || true
    fi
}

end_pid() {
    local pid=$1 deadline=$((SECONDS + STOP_SECONDS))
    kill -TERM "$pid" 2>/dev/null || return 0
    while running "$pid"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            kill -KILL "$pid" 2>/dev/null || true
        fi
        sleep 0.05
    done
}

end_daemon() {
    [ -f "$DIR/$1.pid" ] || return 0
    local pid
    pid=$(cat "$DIR/$1.pid")
    # The number may have been given to somebody else's process since.
    if command_line "$pid" | grep -qF -- "$DIR/"; then
        end_pid "$pid"
    fi
}

# Shims outlive a daemon that died; they are ours when their command line names our containerd.
end_strays() {
    local entry pid
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        case "$(command_line "$pid")" in
            *containerd-shim*"$DIR/containerd.sock"* | *containerd*"$DIR/containerd.toml"* | *dockerd*"$DIR/daemon.json"*) end_pid "$pid" ;;
        esac
    done
}

unmount_below() {
    awk -v dir="$DIR/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
        umount "$mount" 2>/dev/null || umount -l "$mount"
    done
}

stop() {
    [ -d "$DIR" ] || fail "no such directory: $DIR"
    end_containers
    end_daemon dockerd
    end_daemon containerd
    end_strays
    unmount_below
    if ip netns list | grep -qE "^$NAME( |\$)"; then
        ip netns del "$NAME"
    fi
    rm -rf --one-file-system "$DIR"
}

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 1
}

main() {
    case "${1-}:$#" in
        workdir:1) workdir ;;
        start:3 | stop:3)
            NAME=$2
            DIR=$(realpath -m "$3")
            "$1"
            ;;
        *) usage ;;
    esac
}

main "$@"
