#!/usr/bin/env bash
# What this program is for, in two minutes: a service with data is backed up on one host into one encrypted file,
# destroyed, and brought back to life on another host from that file and one key. Needs root.
#
# The first host is this machine's engine where there is one, else a private engine; the second is always private.
# Services, settings and launchers go to a temporary directory. All is removed at the end, also after a failure or Ctrl-C.
set -euo pipefail

HERE=$(dirname "$(readlink -f "$0")")
readonly HERE ENGINE=$HERE/private-engine.sh BUILD=${HERE%/*}/examples/notes/build.sh
readonly IMAGE=drunner-vault-demo/notes:1
readonly SERVICE=demo-notes MOVED=demo-notes2
WORK='' FIRST_HOST='' OWN_FIRST=''

fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

say() { printf '\n\e[1m%s\e[0m\n' "$*"; }

# type_line COMMAND: show a line as a person would type it, then run it as typed.
type_line() {
    printf '\e[32m%s $\e[0m %s\n' "$HOST_LABEL" "$1"
    eval "$1"
}

prepare() {
    [ "$(id -u)" = 0 ] || fail "run it as root: it starts a Docker engine of its own"
    command -v drunner-vault >/dev/null || fail "drunner-vault is not on PATH (use: make demo)"
    local tool
    for tool in docker age zstd tar; do
        command -v "$tool" >/dev/null || fail "$tool is not installed (try: make setup)"
    done
    refuse_to_clobber
    WORK=$("$ENGINE" workdir)
}

# The names are the demonstration's own, but it must not remove what somebody else made.
refuse_to_clobber() {
    machine_has_engine || return 0
    if [ -n "$(docker ps -aq --filter "name=^$SERVICE"; docker volume ls -q --filter "name=drunner-$SERVICE")" ]; then
        fail "this machine's engine already has containers or volumes called $SERVICE"
    fi
}

machine_has_engine() { docker version >/dev/null 2>&1; }

# Said outright, because a private engine's address is put in the same place later.
machine_docker_host() {
    echo "${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}"
}

start_hosts() {
    say "Two hosts"
    if machine_has_engine; then
        FIRST_HOST=$(machine_docker_host)
        echo "The first is this machine's Docker engine, at $FIRST_HOST"
    else
        OWN_FIRST=yes
        FIRST_HOST=$("$ENGINE" start "dvdemo$$-1" "$WORK/1")
        echo "The first is a private engine, at $FIRST_HOST"
    fi
    SECOND_HOST=$("$ENGINE" start "dvdemo$$-2" "$WORK/2")
    echo "The second is a private engine, at $SECOND_HOST"
}

# on_host NUMBER: what follows happens there.
on_host() {
    export DRUNNER_ROOT=$WORK/host$1/drunner DRUNNER_BIN=$WORK/host$1/bin DRUNNER_CONFIG_DIR=$WORK/host$1/etc
    mkdir -p "$DRUNNER_BIN"
    PATH=$DRUNNER_BIN:$CLEAN_PATH
    HOST_LABEL=host$1
    case "$1" in
        1) export DOCKER_HOST=$FIRST_HOST ;;
        2) export DOCKER_HOST=$SECOND_HOST ;;
    esac
}

show_install() {
    say "A service with data"
    type_line "$BUILD $IMAGE >build.log 2>&1"
    type_line "drunner-vault install $IMAGE $SERVICE"
    type_line "$SERVICE add 'Water the plants'"
    type_line "$SERVICE add 'The spare key is under the third stone'"
    type_line "$SERVICE start"
    type_line "$SERVICE list"
}

# shellcheck disable=SC2016 # expanded when it is run, not when it is shown
show_backup() {
    say "One encrypted file. To write it, the public half of the key is enough"
    type_line 'recipient=$(drunner-vault key new --output key.txt)'
    type_line 'echo "$recipient"'
    mkdir -p backups
    type_line "drunner-vault key signer >host1.signer   # by this line other hosts know archives of this one"
    type_line "drunner-vault backup $SERVICE backups/ -r \$recipient"
    type_line "ls -sh backups"
    ARCHIVE=$(find backups -name "$SERVICE-*.tar.zst.age")
    [ -n "$ARCHIVE" ] || fail "there is no archive in backups/"
}

show_loss() {
    say "The service is lost"
    type_line "drunner-vault obliterate $SERVICE"
    type_line "drunner-vault list"
}

show_restore() {
    say "Another host, with nothing but that file, the key, and whom to trust"
    type_line "drunner-vault key trust host1.signer"
    type_line "drunner-vault restore $ARCHIVE $MOVED -i key.txt"
    type_line "$MOVED list"
    type_line "$MOVED status"
    type_line "$MOVED selftest"
}

show_plain_tools() {
    say "And without this program: age, zstd and tar"
    type_line "age -d -i key.txt $ARCHIVE | zstd -d | tar -t"
}

finish() {
    local code=$?
    # Neither a second Ctrl-C nor a step that fails may stop the tidying up.
    trap '' INT TERM
    set +e
    [ -n "$WORK" ] || exit "$code"
    cd /
    tidy_first_host
    if [ -d "$WORK/2" ]; then "$ENGINE" stop "dvdemo$$-2" "$WORK/2" || code=1; fi
    if [ -d "$WORK/1" ]; then "$ENGINE" stop "dvdemo$$-1" "$WORK/1" || code=1; fi
    rm -rf "$WORK"
    exit "$code"
}

tidy_first_host() {
    if [ -n "$OWN_FIRST" ] || [ -z "$FIRST_HOST" ]; then return 0; fi
    export DOCKER_HOST=$FIRST_HOST
    local names
    names=$(docker ps -aq --filter "name=^$SERVICE" 2>/dev/null) || return 0
    # shellcheck disable=SC2086 # ids have no spaces
    if [ -n "$names" ]; then docker unpause $names >/dev/null 2>&1 || true; docker rm -f $names >/dev/null || true; fi
    names=$(docker volume ls -q --filter "name=drunner-$SERVICE")
    # shellcheck disable=SC2086
    if [ -n "$names" ]; then docker volume rm -f $names >/dev/null || true; fi
    docker rmi -f "$IMAGE" >/dev/null 2>&1 || true
}

main() {
    CLEAN_PATH=$PATH
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    prepare
    start_hosts
    cd "$WORK"
    on_host 1
    show_install
    show_backup
    show_loss
    on_host 2
    show_restore
    show_plain_tools
    say "Done in $SECONDS seconds. Everything that was made for this is now removed."
}

main "$@"
