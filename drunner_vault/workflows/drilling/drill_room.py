"""Where a drill happens: a root of its own below this host's, and a room of its own on the engine.

    ROOT/drills/NAME/    services/, undo/, bin/ and so on, as ROOT has them; sock, the engine as the service sees it

NAME is the throwaway name of the service. So no other command meets a service that is being drilled, and whatever a
drill that was killed has left is found: by the next drill, or by `clean`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from drunner_vault.durable import storage_error
from drunner_vault.errors import BadServiceName, ServiceBusy, VaultError
from drunner_vault.services.lock import service_lock
from drunner_vault.services.names import check_service_name
from drunner_vault.services.variables import host_ip
from drunner_vault.workflows.host import SERVICE_LABEL, HookTerms, ServiceHost
from drunner_vault.workflows.undo import Undo
from drunner_vault.workflows.working import is_empty, remove_if_empty

if TYPE_CHECKING:
    from drunner_vault.engine.isolation import Room

DRILLS = "drills"
_LONGEST = 24  # characters of a service's name that are kept in its throwaway name
_TRIES, _PAUSE = (
    20,
    0.5,
)  # seconds between tries: the engine may just be removing something, and refuses till it is done
_TIDYING = 60.0  # seconds that a hook may take when a killed drill is tidied up after


@dataclass
class DrillRoom:
    """One drill's place. name: of the service in it. host: as it looks from there. left: what could not be removed,
    once the drill is over."""

    name: str
    host: ServiceHost
    room: Room
    left: list[str] = field(default_factory=list)

    def note_images(self) -> list[str]:
        """Remember the images that a restore has brought, which its own journal may forget too early; returns them."""
        undo = Undo.unfinished(self.host, self.name)
        names = [str(step["image"]) for step in undo.recorded("remove image")] if undo is not None else []
        self.room.images.watch_new(names)
        return [name for name in names if self.host.engine.images.find(name)]

    def tidy(self) -> None:
        """Remove every trace but the directory itself."""
        self.note_images()
        undo = Undo.unfinished(self.host, self.name)
        left = undo.roll_back() if undo is not None else []
        for attempt in range(_TRIES):
            time.sleep(_PAUSE if attempt else 0)
            self.left = [*left, *self.room.clear(), *self.room.take_back_images()]
            if self.left == left:
                return


@contextlib.contextmanager
def drill_room(host: ServiceHost, service: str, timeout: float) -> Iterator[DrillRoom]:
    """A place for a drill of this service, with nothing in it; nothing of it is left when the block ends.

    timeout: seconds that each hook may take. Raises Unsupported for an engine on another machine, EngineError,
    StorageError.
    """
    with contextlib.ExitStack() as last:
        last.callback(remove_if_empty, host, keep_root=is_empty(host))
        sweep(host)
        name = _throwaway(service)
        last.enter_context(service_lock(host.root, name, f"drill {service}"))
        place = _place(host, name, timeout)
        last.enter_context(_opened(place))
        try:
            yield place
        finally:
            _tidy(host, place)


def sweep(host: ServiceHost) -> list[str]:
    """Remove what drills have left that were killed; returns their names."""
    swept = []
    for path in sorted((host.root / DRILLS).glob("*")):
        try:
            with service_lock(host.root, path.name, "tidying up after a drill"):
                place = _place(host, path.name, _TIDYING)
                with _opened(place):
                    _tidy(host, place)
                swept += [] if place.left else [path.name]
        except (ServiceBusy, BadServiceName):  # it goes on; or it is nothing of ours
            continue
    return swept


def _tidy(host: ServiceHost, place: DrillRoom) -> None:
    try:
        place.tidy()
    except VaultError as problem:
        place.left.append(problem.message)
    for line in place.left:
        host.notice(f"the drill left something behind: {line}; the next drill, or `clean`, tries again")


@contextlib.contextmanager
def _opened(place: DrillRoom) -> Iterator[None]:
    """The directory and the room of a drill; hooks are run in it."""
    with _directory(place), place.room.open():
        place.host.terms = replace(place.host.terms, prefix=place.room.prefix)
        yield


@contextlib.contextmanager
def _directory(place: DrillRoom) -> Iterator[None]:
    """The directory of a drill; it stays if something else could not be removed, so that it is found again."""
    root = place.host.root
    try:
        root.mkdir(0o755, parents=True, exist_ok=True)
    except OSError as cause:
        raise storage_error("make", root, cause) from cause
    try:
        yield
    finally:
        if not place.left:
            shutil.rmtree(root, ignore_errors=True)
            with contextlib.suppress(OSError):
                root.parent.rmdir()


def _place(host: ServiceHost, name: str, timeout: float) -> DrillRoom:
    from drunner_vault.engine.isolation import Room

    root = host.root / DRILLS / check_service_name(name)
    room = Room(host.environment, name, root, {SERVICE_LABEL: name}, [host_ip()])
    bin_dir = root / "bin"
    environment = {
        **room.environment(host.environment),
        "DRUNNER_ROOT": str(root),
        "DRUNNER_BIN": str(bin_dir),
        "DRUNNER_DRILL": name,
    }
    inside = replace(
        host,
        root=root,
        bin_dir=bin_dir,
        environment=environment,
        connect=lambda: host.engine,
        path_dirs=(bin_dir, *host.path_dirs),
        terms=HookTerms(timeout=timeout, terminal=False),
    )
    return DrillRoom(name, inside, room)


def _throwaway(service: str) -> str:
    """A name that nothing has: the service's own, if it can be told, and something random."""
    known = re.sub(r"[^A-Za-z0-9]+$", "", re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9_.-]", "", service)[:_LONGEST])
    return f"{known or 'service'}-drill-{secrets.token_hex(3)}"
