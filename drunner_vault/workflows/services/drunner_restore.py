"""A dRunner service installed anew from an archive: its image, its volumes, and the way back if anything fails."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.archive import ImageRecord, Manifest, VolumeRecord
from drunner_vault.engine.images import Image
from drunner_vault.engine.trees import Access, TreeItem, VolumeTree
from drunner_vault.engine.volumes import mark_new
from drunner_vault.errors import (
    BadUsage,
    DamagedArchive,
    ImageNotFound,
    ServiceExists,
    UnsupportedArchive,
    VaultError,
)
from drunner_vault.services.dialect import Event
from drunner_vault.services.home import ServiceHome
from drunner_vault.services.launcher import check_launcher_free
from drunner_vault.services.names import volume_names
from drunner_vault.services.variables import install_time
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.services.drunner_service import KIND
from drunner_vault.workflows.services.install import CheckedImage, check_image, fetch, install_steps, require_valid
from drunner_vault.workflows.undo import Undo, all_or_nothing
from drunner_vault.workflows.working import working_on


@dataclass(frozen=True)
class RestoreChoices:
    """What a person decides about a restore. name: the service's new name, its old one if None. image: another image to
    install it from. replace: whether the content of volumes that are here already may be replaced."""

    name: str | None = None
    image: str | None = None
    replace: bool = False
    access: Access = Access.AUTO


class DrunnerReinstaller:
    """Installs dRunner services anew."""

    def __init__(self, host: ServiceHost, choices: RestoreChoices) -> None:
        self._host = host
        self._choices = choices

    @contextlib.contextmanager
    def begin(self, manifest: Manifest) -> Iterator[DrunnerReinstallation]:
        """See Reinstaller."""
        if manifest.service.kind != KIND:
            raise UnsupportedArchive(
                f"the archive holds a {manifest.service.kind}, which this program cannot install",
                "install a newer drunner-vault",
            )
        name = manifest.service.name if self._choices.name is None else self._choices.name
        doing = f"restore {name}"
        with working_on(self._host, name, doing) as home:
            require_free(self._host, home, [volume.path for volume in manifest.volumes], self._choices)
            with all_or_nothing(self._host, name, doing) as undo, self._host.staging(name) as directory:
                reinstallation = DrunnerReinstallation(self._host, undo, home, manifest, self._choices, directory)
                with contextlib.closing(reinstallation):
                    yield reinstallation


def require_free(host: ServiceHost, home: ServiceHome, volumes: Sequence[str], choices: RestoreChoices) -> None:
    """Everything that can be refused before anything is changed. volumes: paths. Raises ServiceExists."""
    if home.exists():
        raise ServiceExists(
            f"a service named {home.name} is installed already",
            f"restore SOURCE {home.name}-restored, or first: drunner-vault uninstall {home.name}",
        )
    check_launcher_free(host.bin_dir, home.name)
    for name in volume_names(home.name, volumes):
        _require_replaceable(host, name, choices)


def _require_replaceable(host: ServiceHost, name: str, choices: RestoreChoices) -> bool:
    """Whether a volume is here already. Raises ServiceExists unless its content may be replaced."""
    if host.engine.volumes.find(name) is None:
        return False
    if not choices.replace:
        raise ServiceExists(
            f"volume {name} is here already, kept by an earlier uninstall",
            "give another name, or replace its content: restore --replace",
        )
    if users := host.engine.containers.using([name]):
        raise ServiceExists(f"volume {name} is used by container {users[0].name}", f"docker rm -f {users[0].name}")
    return True


class DrunnerReinstallation:
    """One restore in progress. See Reinstallation."""

    def __init__(
        self,
        host: ServiceHost,
        undo: Undo,
        home: ServiceHome,
        manifest: Manifest,
        choices: RestoreChoices,
        hook_directory: Path,
    ) -> None:
        self.hook_directory = hook_directory
        self._host = host
        self._undo = undo
        self._home = home
        self._manifest = manifest
        self._choices = choices
        self._standing_still = contextlib.ExitStack()
        self._trees: dict[str, VolumeTree] = {}
        self._loaded: dict[str, str] = {}
        self.name = home.name
        self.image = ""

    def close(self) -> None:
        """Whoever was stopped for the restore may go on; if it is taken back, they go with it."""
        with contextlib.suppress(VaultError):
            self._standing_still.close()

    def load_images(self, layout: Iterable[TreeItem]) -> None:
        """See Reinstallation."""
        images = self._host.engine.images
        embedded = [image for image in self._manifest.images if image.embedded]
        missing = [image for image in embedded if images.find(image.id) is None]
        if embedded and not missing:  # an id is a digest of all that an image is
            for _ in layout:  # it is proven all the same
                pass
            return
        for image in missing:
            self._undo.record("remove image", image=image.id)
        loaded = images.load(layout)
        for image in embedded:
            if images.find(image.id) is None and len(loaded) != len(embedded):
                raise DamagedArchive(
                    f"the archive does not hold image {image.reference} after all", "restore --image IMAGE"
                )
        # stores of another kind name the same image otherwise; then the order of loading tells which is which
        self._loaded = {
            image.reference: image.id if images.find(image.id) else identifier
            for image, identifier in zip(embedded, loaded or [i.id for i in embedded], strict=False)
        }

    def install(self) -> None:
        """See Reinstallation."""
        for record in self._manifest.images:
            reference = self._have_image(record)
            if record.reference == self._manifest.service.image:
                self.image = reference
        if self._choices.image:
            self.image = self._choices.image
            fetch(self._host, self._undo, self.image)
        if not self.image:
            raise DamagedArchive(
                "the archive does not say which image its service is made from", "restore --image IMAGE"
            )
        checked = check_image(self._host, self.image)
        targets = self._match_volumes(checked)
        self._set_volumes_aside(volume_names(self.name, checked.config.volumes), checked)
        install_steps(self._host, self._undo, self._home, self.image, checked)
        names = list(targets.values())
        self._standing_still.enter_context(self._host.engine.containers.suspended(names))
        for archived, name in targets.items():
            volume = self._host.engine.volumes.get(name)
            self._host.engine.volumes.tree(volume, checked.image.id).empty()  # the way that what is set aside outlasts
            self._trees[archived] = self._host.engine.volumes.tree(volume, checked.image.id, self._choices.access)

    def volume_tree(self, record: VolumeRecord) -> VolumeTree:
        """See Reinstallation."""
        return self._trees[record.name]

    def resume(self) -> None:
        """See Reinstallation. The restore hook is the last call."""
        self._standing_still.close()
        self._keep_environment()
        os.sync()
        self._host.call_hook(self._home, Event.RESTORE, str(self.hook_directory))
        require_valid(self._home)

    def _keep_environment(self) -> None:
        archived = self._manifest.service.settings.get("environment")
        if archived and isinstance(archived, dict):
            kept = {str(name): str(value) for name, value in archived.items()}
            self._home.keep_environment({**self._home.environment(), **kept})

    def _have_image(self, record: ImageRecord) -> str:
        """Have the very image that was backed up; returns the reference to use for it on this host.

        A name that stands for another image here is left to whoever uses it: the service then gets its image by
        digest, or by a name of its own. Raises ImageNotFound.
        """
        if self._choices.image and record.reference == self._manifest.service.image:
            return self._choices.image
        if not record.id:
            return record.reference
        image = self._host.engine.images.find(self._loaded.get(record.reference, record.id)) or self._pull(record)
        if image is None:
            return record.reference
        return self._name_image(record, image)

    def _pull(self, record: ImageRecord) -> Image | None:
        """The image from a registry, by digest: tags move. Only the service's own image is worth failing for."""
        images = self._host.engine.images
        failure: ImageNotFound | None = None
        for digest in record.digests:
            if (found := images.find(digest)) is not None:
                return found
            self._undo.record("remove image", image=digest)
            try:
                return images.pull(digest)
            except ImageNotFound as cause:
                failure = cause
        if record.reference != self._manifest.service.image:
            self._host.notice(
                f"image {record.reference} is not to be had now; the service may fetch it when it needs it"
            )
            return None
        reason = f": {failure.message}" if failure else "; the archive does not hold it, and no registry has it"
        raise ImageNotFound(
            f"image {record.reference} ({record.id[:19]}) is not on this host{reason}",
            "log in to its registry (docker login), or install from another image: restore --image IMAGE",
        )

    def _name_image(self, record: ImageRecord, image: Image) -> str:
        images = self._host.engine.images
        present = images.find(record.reference)
        if present is not None and present.id == image.id:
            return record.reference
        if present is None:
            self._undo.record("remove image", image=record.reference)
            images.tag(image.id, record.reference)
            return record.reference
        other = self._other_name(record, image)
        self._host.notice(
            f"{record.reference} is another image on this host, so {self.name} uses {other}; "
            f"to change that: drunner-vault recover {self.name} IMAGE"
        )
        return other

    def _other_name(self, record: ImageRecord, image: Image) -> str:
        if image.digests:
            return image.digests[0]
        repository = record.reference.partition("@")[0]
        if ":" in repository.rpartition("/")[2]:
            repository = repository.rpartition(":")[0]
        other = f"{repository}:restored-{image.id.removeprefix('sha256:')[:12]}"
        if self._host.engine.images.find(other) is None:
            self._undo.record("remove image", image=other)
            self._host.engine.images.tag(image.id, other)
        return other

    def _match_volumes(self, checked: CheckedImage) -> dict[str, str]:
        """Which volume of the new service each archived one fills: by path, or where paths differ by position."""
        archived = self._manifest.volumes
        paths: Sequence[str] = checked.config.volumes
        if len(paths) < len(archived):
            raise BadUsage(
                f"the archive holds {len(archived)} volumes, but {self.image} has only {len(paths)}",
                "install from the image that was backed up, or a later one",
            )
        if len(paths) > len(archived):
            self._host.notice(
                f"{self.image} has {len(paths)} volumes, the archive {len(archived)}: the others start empty"
            )
        by_path = all(volume.path in paths for volume in archived)
        names = volume_names(self.name, [v.path for v in archived] if by_path else paths[: len(archived)])
        return {volume.name: name for volume, name in zip(archived, names, strict=True)}

    def _set_volumes_aside(self, names: Iterable[str], checked: CheckedImage) -> None:
        """Volumes that are here already are emptied, their files kept until the restore has succeeded.

        That is done in their directories where it can be, whatever is wished for the archive's files: they come back as
        they were, then, should the restore fail.
        """
        for name in [name for name in names if _require_replaceable(self._host, name, self._choices)]:
            volume = self._host.engine.volumes.get(name)
            tree = self._host.engine.volumes.tree(volume, checked.image.id)
            if tree.lost_reading:
                self._host.notice(f"should the restore fail, {name} comes back without {'; '.join(tree.lost_reading)}")
            step = {
                "volume": name,
                "image": checked.image.id,
                "access": tree.access.value,
                "token": f"{name}.before-{secrets.token_hex(6)}",
            }
            self._undo.record("discard aside", **step)
            tree.copy_aside(step["token"])
            self._undo.replace_last("put back volume", **step)
            self._undo.at_commit("discard aside", **step)
            tree.set_aside(step["token"])
            now = self._host.clock.now()
            mark_new(tree, checked.uid, install_time(now), int(now.timestamp()) * 10**9)
