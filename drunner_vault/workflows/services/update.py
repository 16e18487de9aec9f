"""Bringing a service up to date with its image.

The image is pulled and checked before the service is told anything, so that a service whose image cannot be had, or is
no longer fit, goes on undisturbed. After that the order of calls is dRunner's: updatestart, new files, updateend.
"""

from __future__ import annotations

from drunner_vault.errors import NoChange
from drunner_vault.services.dialect import Event
from drunner_vault.services.home import ServiceHome
from drunner_vault.services.launcher import write_launcher
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.services.install import CheckedImage, check_image, create_volumes, require_valid, stage
from drunner_vault.workflows.services.use import missing_parts
from drunner_vault.workflows.undo import Undo, all_or_nothing
from drunner_vault.workflows.working import working_on


def update(host: ServiceHost, name: str) -> None:
    """Update a service. Raises NoChange if its image, and the images beside it, are the ones it already has."""
    with working_on(host, name, f"update {name}") as home:
        home.require()
        reference = home.image()
        with all_or_nothing(host, name, f"update {name}") as undo:
            changed = _pull(host, undo, home, reference)
            checked = check_image(host, reference)
            record = home.record()
            if record is None or record.image_id != checked.image.id or changed or missing_parts(host, home):
                _replace(host, undo, home, reference, checked)
                return
        raise NoChange(f"{name} is up to date: {reference} is what it runs already")


def _pull(host: ServiceHost, undo: Undo, home: ServiceHome, reference: str) -> bool:
    """Pull the service's image and the ones beside it, if settings say so; whether one beside it changed."""
    if not host.config.pull_on_update:
        return False
    _pull_one(host, undo, reference)
    changed = [_pull_one(host, undo, extra) for extra in home.config().extra_containers]
    return any(changed)


def _pull_one(host: ServiceHost, undo: Undo, reference: str) -> bool:
    """Pull one image; whether it changed. One that no registry ever gave is left alone: a name is no proof that a
    stranger's image of that name is meant."""
    images = host.engine.images
    before = images.find(reference)
    if before is not None and not before.digests:
        host.notice(f"{reference} was built on this host, so it is not pulled")
        return False
    known = images.ids()
    if before is None:
        undo.record("remove image", image=reference)
    else:
        undo.record("tag image", id=before.id, image=reference)
    pulled = images.pull(reference)
    if pulled.id not in known:
        undo.record("remove image", image=pulled.id)
    return pulled.id != (before.id if before else "")


def _replace(host: ServiceHost, undo: Undo, home: ServiceHome, reference: str, checked: CheckedImage) -> None:
    undo.record_outermost("call hook", event=Event.UPDATE_END.value)
    host.call_hook(home, Event.UPDATE_START)
    staged = stage(host, home, reference, checked)
    undo.record("restore home", aside=str(staged), inode=staged.stat().st_ino)
    undo.at_commit("discard home", aside=str(staged))
    home.swap_in(staged)
    write_launcher(host.bin_dir, home.name)
    create_volumes(host, undo, home.name, checked)
    host.call_hook(home, Event.UPDATE_END)
    require_valid(home)
