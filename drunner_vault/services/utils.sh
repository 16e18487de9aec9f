#!/bin/bash
# Functions for the servicerunner of a service, which sources this file after variables.sh.
# They work under `set -e` and `set -o nounset`, and need bash 4.2, docker and tar.

# Colours for help texts. A service may set them itself, read-only or not, before or after it sources this file.
[[ -v ECODE ]] || ECODE=$'\e'
[[ -v CODE_S ]] || CODE_S="${ECODE}[32m"
[[ -v CODE_E ]] || CODE_E="${ECODE}[0m"

# What save_environment kept.
UTILS_ENVIRONMENT="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../environment.sh"
if [[ -f "$UTILS_ENVIRONMENT" ]]; then
   source "$UTILS_ENVIRONMENT"
fi

# die MESSAGE [CODE]: show the message in red and exit with the code, which is 1 unless given.
function die {
   printf '\n\e[31m\e[1m%b\e[0m\n\n' "${1:-}" >&2
   exit "${2:-1}"
}

# elementIn ELEMENT ARRAY...: whether the first argument is among the others.
function elementIn {
   local wanted="${1:-}" candidate
   for candidate in "${@:2}"; do
      if [[ "$candidate" == "$wanted" ]]; then return 0; fi
   done
   return 1
}

# isHook COMMAND: whether the command is a hook, for which a service that has no use for it exits 127 without a word.
function isHook {
   elementIn "${1:-}" install_end backup_start backup_end restore_start restore_end \
      uninstall_start obliterate_start update_start update_end enter_start enter_end \
      status_start status_end servicecmd_start servicecmd_end
}

# utils_state FIELD CONTAINER: whether the container exists and has that state.
function utils_state {
   local answer
   answer=$(docker container inspect --format "{{.State.$1}}" "$2" 2>/dev/null) || return 1
   [[ "$answer" == "true" ]]
}

# container_exists CONTAINER: whether there is one of this name, running or not.
function container_exists {
   [[ $# -eq 1 ]] || die "container_exists needs the name of a container."
   docker container inspect "$1" >/dev/null 2>&1 || return 1
}

# container_running CONTAINER: whether it runs. A paused container counts as running.
function container_running {
   [[ $# -eq 1 ]] || die "container_running needs the name of a container."
   utils_state Running "$1"
}

# container_paused CONTAINER: whether it is paused.
function container_paused {
   [[ $# -eq 1 ]] || die "container_paused needs the name of a container."
   utils_state Paused "$1"
}

# volumeexists VOLUME: whether there is a Docker volume of exactly this name.
function volumeexists {
   [[ $# -eq 1 ]] || die "volumeexists needs the name of a volume."
   docker volume inspect "$1" >/dev/null 2>&1 || return 1
}

# utils_import SOURCE CPATH: replace what CPATH holds in the service's volumes by the directory SOURCE of the host.
# It empties CPATH by the service's own function dockerrun. Between that and the transfer something stays in it: Docker
# gives an empty volume the owner and mode that the image has at that place, and the service could no longer write there.
function utils_import {
   [[ $# -eq 2 ]] || die "utils_import needs two arguments: a directory, and a path in the container."
   [[ -d "$1" ]] || die "utils_import: there is no directory $1"
   local code=0
   dockerrun bash -c 'rm -rf -- "$0"/* "$0"/.[!.]* "$0"/..?* ; touch "$0/.utils_import" || true' "$2"
   ( set -o pipefail
     tar -c -f - -C "$1" . | docker run -i --name "${SERVICENAME}-importfn" \
        ${DOCKEROPTS[@]+"${DOCKEROPTS[@]}"} "$IMAGENAME" \
        bash -c 'tar -x -v -f - -C "$0" && rm -f -- "$0/.utils_import"' "$2" ) || code=$?
   docker rm "${SERVICENAME}-importfn" >/dev/null || true
   [[ $code -eq 0 ]] || die "utils_import could not transfer the files."
}

# utils_export CPATH DESTINATION: copy what CPATH holds in the service's volumes into a directory of the host.
function utils_export {
   [[ $# -eq 2 ]] || die "utils_export needs two arguments: a path in the container, and a directory."
   [[ -d "$2" ]] || die "utils_export: there is no directory $2"
   local code=0
   ( set -o pipefail
     docker run -i --name "${SERVICENAME}-exportfn" \
        ${DOCKEROPTS[@]+"${DOCKEROPTS[@]}"} "$IMAGENAME" tar -c -f - -C "$1" . | tar -x -v -f - -C "$2" ) || code=$?
   docker rm "${SERVICENAME}-exportfn" >/dev/null || true
   [[ $code -eq 0 ]] || die "utils_export could not transfer the files."
}

# The names that later services know them by.
function utils_import_DEPRECATED { utils_import "$@"; }
function utils_export_DEPRECATED { utils_export "$@"; }

# save_environment NAME VALUE: set and export a variable, now and whenever a script of this service runs.
function save_environment {
   [[ $# -eq 2 ]] || die "save_environment needs two arguments: a name and a value."
   [[ "$1" =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || die "save_environment: $1 cannot be the name of a variable."
   local kept=""
   if [[ -f "$UTILS_ENVIRONMENT" ]]; then
      kept=$(grep -v "^export $1=" "$UTILS_ENVIRONMENT") || true
   fi
   ( umask 077
     printf '%s\nexport %s=%q\n' "$kept" "$1" "$2" >"$UTILS_ENVIRONMENT.new" )
   mv -f "$UTILS_ENVIRONMENT.new" "$UTILS_ENVIRONMENT"
   export "$1=$2"
}
