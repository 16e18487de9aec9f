"""Checking an image, installing a service from it, and installing it anew over the volumes it had.

The order of calls is dRunner's: check the image, the service's directory, its launcher, its volumes, the install hook,
and a look at the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from drunner_vault import __version__
from drunner_vault.clock import isoformat
from drunner_vault.engine.containers import CopiedFile, RefusedMember
from drunner_vault.engine.images import Image
from drunner_vault.engine.volumes import mark_new
from drunner_vault.errors import BadImage, NoChange, ServiceError, ServiceExists
from drunner_vault.services.checks import check_scripts
from drunner_vault.services.dialect import Dialect, Event
from drunner_vault.services.home import InstallRecord, ServiceHome
from drunner_vault.services.launcher import check_launcher_free, write_launcher
from drunner_vault.services.names import default_service_name, volume_names
from drunner_vault.services.servicecfg import ServiceConfig
from drunner_vault.services.variables import host_ip, install_time, render_variables
from drunner_vault.workflows.host import PATH_LABEL, SERVICE_LABEL, ServiceHost
from drunner_vault.workflows.undo import Undo, all_or_nothing
from drunner_vault.workflows.working import working_on


@dataclass(frozen=True)
class CheckedImage:
    """An image that makes a service. uid: the numeric user it runs as. files: of its /drunner."""

    image: Image
    uid: int
    files: dict[str, bytes]
    config: ServiceConfig
    dialect: Dialect


def check_image(host: ServiceHost, reference: str) -> CheckedImage:
    """Whether an image that is here makes a service. Nothing of it is run.

    Raises ImageNotFound, or BadImage saying what is wrong with it.
    """
    image = host.engine.images.get(reference)
    if not image.user:
        raise BadImage(
            f"{reference} runs as root: it sets no USER", "add a USER line with a non-root user to its Dockerfile"
        )
    containers = host.engine.containers
    with containers.never_started(image.id) as container:
        uid = containers.user_id(container, image.user)
        copied = containers.copy_out(container, "/drunner")
    if uid is None:
        raise BadImage(
            f"{reference} runs as {image.user}, whom its /etc/passwd does not know",
            "give USER as a number, or add the user to the image",
        )
    if uid == 0:
        raise BadImage(f"{reference} runs as root: its USER is {image.user}", "set a non-root USER in its Dockerfile")
    files = _files(reference, copied or ())
    try:
        config, dialect = check_scripts(files)
        volume_names("x", config.volumes)
    except BadImage as cause:
        raise BadImage(f"{reference} is no service: {cause.message}", cause.hint) from cause
    return CheckedImage(image, uid, files, config, dialect)


def check(host: ServiceHost, reference: str) -> CheckedImage:
    """`check_image`, for a person: an image that is not here is pulled, and removed again if it makes no service."""
    image, pulled = host.engine.images.ensure(reference)
    try:
        return check_image(host, reference)
    except BaseException:
        if pulled:
            host.engine.images.remove(image.reference)
        raise


def install(host: ServiceHost, reference: str, name: str | None = None) -> str:
    """Install a service; returns its name. Raises NoChange if it is installed from the same image already."""
    name = default_service_name(reference) if name is None else name
    with working_on(host, name, f"install {name}") as home:
        if home.exists():
            _refuse_installed(home, reference)
        check_launcher_free(host.bin_dir, name)
        with all_or_nothing(host, name, f"install {name}") as undo:
            fetch(host, undo, reference)
            install_steps(host, undo, home, reference, check_image(host, reference))
    return name


def recover(host: ServiceHost, name: str, reference: str | None = None) -> None:
    """Install a service anew over its volumes, from its image or from `reference`; it need not be installed.

    Raises UnknownService if it is not, and no image is given.
    """
    with working_on(host, name, f"recover {name}") as home:
        if reference is None:
            home.require()
            reference = home.image()
        check_launcher_free(host.bin_dir, name)
        with all_or_nothing(host, name, f"recover {name}") as undo:
            fetch(host, undo, reference)
            checked = check_image(host, reference)
            if home.exists():
                _uninstall_for_recovery(host, undo, home)
            install_steps(host, undo, home, reference, checked)


def fetch(host: ServiceHost, undo: Undo, reference: str) -> None:
    """Have the image here, pulling it if need be."""
    if host.engine.images.find(reference) is None:
        undo.record("remove image", image=reference)
        host.engine.images.pull(reference)


def install_steps(host: ServiceHost, undo: Undo, home: ServiceHome, reference: str, checked: CheckedImage) -> None:
    """From the service's directory to its install hook. Every step is in `undo` before it is taken."""
    replacing = home.exists()
    staged = stage(host, home, reference, checked)
    if replacing:
        undo.record("restore home", aside=str(staged), inode=staged.stat().st_ino)
        undo.at_commit("discard home", aside=str(staged))
    else:
        undo.record("remove home")
    home.swap_in(staged)
    if not replacing:
        undo.record("remove launcher")
    write_launcher(host.bin_dir, home.name)
    create_volumes(host, undo, home.name, checked)
    undo.record("call hook", event=Event.UNINSTALL.value)
    host.call_hook(home, Event.INSTALL)
    require_valid(home)


def stage(host: ServiceHost, home: ServiceHome, reference: str, checked: CheckedImage) -> Path:
    """Write the service's directory beside its place; returns where."""
    now = host.clock.now()
    variables = render_variables(
        home.name, reference, checked.config, installed=now, host_ip=host_ip(), temp_dir=home.temp_dir
    )
    record = InstallRecord(reference, checked.image.id, checked.uid, isoformat(now), f"drunner-vault {__version__}")
    return home.stage(checked.files, variables=variables, record=record)


def create_volumes(host: ServiceHost, undo: Undo, name: str, checked: CheckedImage) -> None:
    """Make the service's volumes, owned by the image's user and not empty; those that exist are used as they are."""
    volumes = host.engine.volumes
    for volume_name, path in zip(volume_names(name, checked.config.volumes), checked.config.volumes, strict=True):
        if volumes.find(volume_name) is None:
            undo.record("remove volume", volume=volume_name)
            volume = volumes.create(volume_name, {SERVICE_LABEL: name, PATH_LABEL: path})
            now = host.clock.now()
            tree = volumes.tree(volume, checked.image.id)
            mark_new(tree, checked.uid, install_time(now), int(now.timestamp()) * 10**9)


def require_valid(home: ServiceHome) -> None:
    """Raises ServiceError if the installed files are not as they must be."""
    problems = home.validate()
    if problems:
        raise ServiceError(f"{home.name} is not well: {problems[0]}", f"drunner-vault recover {home.name}")


def same_reference(one: str, other: str) -> bool:
    """Whether two references name the same image, `latest` being what no tag means."""

    def full(reference: str) -> str:
        last = reference.rpartition("/")[2]
        return reference if ":" in last or "@" in last else f"{reference}:latest"

    return full(one) == full(other)


def _refuse_installed(home: ServiceHome, reference: str) -> None:
    installed = home.image()
    if same_reference(installed, reference):
        raise NoChange(f"{home.name} is installed already from {installed}", f"drunner-vault update {home.name}")
    raise ServiceExists(
        f"a service named {home.name} is installed already, from {installed}",
        f"give another name: drunner-vault install {reference} NAME",
    )


def _uninstall_for_recovery(host: ServiceHost, undo: Undo, home: ServiceHome) -> None:
    """The uninstall hook, whose failure stops nothing: services are recovered because they are broken."""
    undo.record("call hook", event=Event.INSTALL.value)
    try:
        host.call_hook(home, Event.UNINSTALL)
    except ServiceError as problem:
        host.notice(f"{problem.message}; going on")


def _files(reference: str, copied: Iterable[CopiedFile | RefusedMember]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for item in copied:
        if isinstance(item, RefusedMember):
            raise BadImage(
                f"{reference} is no service: /drunner/{item.path}: {item.reason}", "keep plain files in /drunner"
            )
        files[item.path] = item.data
    return files
