#!/bin/sh
# Rebuilds the files, or the Docker volumes, of a drunner-vault archive on a host without drunner-vault.
# Needs zstd, GNU tar or bsdtar, age for an encrypted archive, and docker for --docker. Run as root.
#
#   recover.sh FILE [-i IDENTITY] DIRECTORY    unpacks into DIRECTORY, which must be new or empty
#   recover.sh FILE [-i IDENTITY] --docker     makes each volume anew and fills it, and loads the images
#
# Without -i, age asks for the passphrase. Nothing is there at the end unless the archive was read to its end. What
# this cannot do: check the digests in index/, and the signature. See "Recovery without the program" in archive-spec.md.

set -eu

say() { printf '%s\n' "recover.sh: $*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

file='' identity='' target='' docker=''
while [ $# -gt 0 ]; do
    case $1 in
        -i) [ $# -ge 2 ] || usage; identity=$2; shift ;;
        --docker) docker=yes ;;
        -?*) usage ;;
        *) if [ -z "$file" ]; then file=$1; elif [ -z "$target" ]; then target=$1; else usage; fi ;;
    esac
    shift
done
[ -n "$file" ] || usage
if [ -n "$docker" ]; then [ -z "$target" ] || usage; else [ -n "$target" ] || usage; fi
[ -f "$file" ] || die "$file is no file"

# Which tar, and how it is told to keep everything. Others would drop attributes and holes without a word. It is called
# by its path: a shell that has a tar of its own would take that one for the bare name.
have zstd || die "zstd is not installed"
tar=''
for kind in 'GNU tar' bsdtar; do
    for program in "$(command -v tar || :)" "$(command -v gtar || :)" "$(command -v bsdtar || :)" /usr/bin/tar /bin/tar; do
        case $program in /*) [ -x "$program" ] || continue ;; *) continue ;; esac
        case $("$program" --version 2>/dev/null || :) in *"$kind"*) tar=$program; break 2 ;; esac
    done
done
case $kind in
    'GNU tar') keep='--xattrs --xattrs-include=* --acls --numeric-owner' copy=--sparse ;;
    *) keep='--xattrs --acls --numeric-owner' copy='' ;;
esac
[ -n "$tar" ] || die "neither GNU tar nor bsdtar is installed"
if [ -n "$docker" ]; then
    have docker || die "docker is not installed"
    docker version >/dev/null 2>&1 || die "docker does not answer"
fi
[ "$(id -u)" = 0 ] || say "not run as root: owners, devices and some attributes will be lost"

# age's files begin with a line that says so; zstd's with a number.
case $(dd if="$file" bs=1 count=19 2>/dev/null | tr -d '\000') in
    age-encryption.org/) encrypted=yes ;;
    -----BEGIN\ AGE\ ENC) encrypted=yes ;;
    *) encrypted='' ;;
esac
[ -z "$encrypted" ] || have age || die "age is not installed"

if [ -n "$docker" ]; then
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/recover.XXXXXX")
else
    if [ -e "$target" ]; then
        [ -d "$target" ] || die "$target is there already, and no directory"
        [ -z "$(ls -A "$target")" ] || die "$target is not empty"
    fi
    case $target in
        */*) parent=${target%/}; parent=${parent%/*}; [ -n "$parent" ] || parent=/ ;;
        *) parent=. ;;
    esac
    [ -d "$parent" ] || die "there is no directory $parent"
    work=$(mktemp -d "$parent/.recover.XXXXXX")
fi
names='' made=''
clean_up() {
    rm -rf "$work"
    for name in $made; do docker volume rm "$name" >/dev/null && say "volume $name is removed again"; done
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM
mkdir "$work/tree"

decrypt() {
    if [ -z "$encrypted" ]; then
        cat "$file"
    elif [ -n "$identity" ]; then
        age -d -i "$identity" "$file"
    else
        age -d "$file"
    fi
}

# A pipeline says only how its last command ended. So each of the three leaves its own status behind, and all must be 0:
# when age fails at a damaged place, zstd and tar see nothing but an early end.
status=0
# shellcheck disable=SC2086 # $keep is a list of options, and has no names to expand in an empty directory
{
    { decrypt; echo $? >"$work/age"; } |
        { zstd -dcq; echo $? >"$work/zstd"; } |
        ( cd "$work/tree" && set -f && "$tar" $keep -xpf - )
} || status=$?
for stage in age zstd; do
    [ "$(cat "$work/$stage" 2>/dev/null || echo 1)" = 0 ] || die "$stage could not read all of $file; nothing was kept"
done
[ "$status" = 0 ] || die "tar could not unpack all of $file; nothing was kept"

# zstd and tar take an archive that was cut between two members for a whole one. The index comes last.
[ -f "$work/tree/manifest.json" ] || die "$file is no drunner-vault archive; nothing was kept"
[ -s "$work/tree/index/root.json" ] || die "$file is cut short: it has no index/root.json; nothing was kept"
problems=$(sed -n 's/^ *"problem_count": *\([0-9]*\),*$/\1/p' "$work/tree/index/root.json")
[ "${problems:-0}" = 0 ] || say "the archive is partial: $problems problems are listed in index/root.json"

if [ -z "$docker" ]; then
    # the directory that was empty gives way to the one that is whole
    [ ! -d "$target" ] || rmdir "$target"
    mv "$work/tree" "$target"
    say "unpacked into $target; its volumes are in $target/volumes"
    exit 0
fi

for directory in "$work"/tree/volumes/*/; do
    directory=${directory%/}
    name=${directory##*/}
    if [ ! -d "$directory" ] || [ -L "$directory" ]; then continue; fi
    case $name in [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*) die "no volume can have the name $name" ;; esac
    ! docker volume inspect "$name" >/dev/null 2>&1 || die "volume $name is here already: rename or remove it"
    names="$names $name"
done
for name in $names; do
    docker volume create "$name" >/dev/null
    made="$made $name"
    mountpoint=$(docker volume inspect -f '{{.Mountpoint}}' "$name")
    [ -d "$mountpoint" ] || die "volume $name is not to be seen from here, at $mountpoint"
    # the volume's own directory becomes what it was: its owner, mode and attributes are those of the first member
    # shellcheck disable=SC2086
    { ( cd "$work/tree/volumes/$name" && set -f && "$tar" $keep $copy -cf - . ); echo $? >"$work/read"; } |
        ( cd "$mountpoint" && set -f && "$tar" $keep -xpf - ) || die "volume $name could not be filled"
    [ "$(cat "$work/read")" = 0 ] || die "volume $name could not be filled"
    say "volume $name is filled"
done
if [ -d "$work/tree/images" ]; then
    "$tar" -C "$work/tree/images" -cf - . | docker load >&2 || die "the images could not be loaded"
fi
for part in scripts hook; do
    [ ! -d "$work/tree/$part" ] || say "$part/ is in the archive, and was not installed"
done
made=''
