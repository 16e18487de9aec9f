"""RECOVER.txt: the second member of every archive, for whoever has the file and the key, and not this program."""

from __future__ import annotations

from drunner_vault.archive.manifest import Manifest

RESCUE = "zstd -d | tar --xattrs --xattrs-include='*' --acls --numeric-owner -xpf -"


def recover_text(manifest: Manifest) -> bytes:
    """What the file says, in ASCII, for this archive."""
    volumes = "\n".join(f"  volumes/{volume.name}/  was mounted at {volume.path}" for volume in manifest.volumes)
    images = "\n".join(
        f"  {image.reference}  {'is in images/' if image.embedded else 'pull ' + ' or '.join(image.digests)}"
        for image in manifest.images
    )
    return _TEXT.format(
        name=ascii(manifest.service.name)[1:-1],
        host=ascii(manifest.host)[1:-1],
        created=manifest.created,
        rescue=RESCUE,
        volumes=volumes or "  none",
        images=images or "  none",
    ).encode("ascii", "backslashreplace")


_TEXT = """\
This archive holds the service "{name}" of host "{host}", as it was at {created}.

With drunner-vault, on a host with Docker:

  drunner-vault restore FILE -i key.txt

Without it, all you need is age, zstd and GNU tar. As root, in an empty directory:

  age -d -i key.txt FILE | {rescue}

For a file whose name does not end in .age:

  {rescue_in}

manifest.json     what the service was: its image, volumes and settings
scripts/          the service's own scripts and settings
images/           the images, if they were taken along: an OCI layout. To load them:
                  tar -C images -cf - . | docker load
hook/             what the service's own backup hook wrote
volumes/NAME/     the files of each volume. To fill a new volume called NAME:
                  docker volume create NAME
                  cp -a volumes/NAME/. "$(docker volume inspect -f '{{{{.Mountpoint}}}}' NAME)"
index/            a list of all files with BLAKE3 digests

Volumes:
{volumes}

Images:
{images}
""".replace("{rescue_in}", "zstd -dc FILE | " + RESCUE.partition(" | ")[2])
