"""What a migration would do: the service here, held against what the other side says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drunner_vault import __version__
from drunner_vault.archive import ImageRecord
from drunner_vault.errors import ServiceError
from drunner_vault.workflows.moving.journal import Attempt
from drunner_vault.workflows.moving.other_side import Line, OtherSide
from drunner_vault.workflows.moving.preflight import Needs
from drunner_vault.workflows.services.drunner_service import DrunnerService
from drunner_vault.workflows.workload import Embed


@dataclass(frozen=True)
class MigrationChoices:
    """What a person decides. called: its name there, None for the same. stop: stop it here, once it is proven there.
    replace: the content of volumes that an earlier uninstall kept there. allow_partial: even if files cannot be read as
    they are. level, threads, limit: see BackupChoices. ask_again: seconds to wait before each try to learn how it went,
    should the connection be lost at the last moment."""

    called: str | None = None
    stop: bool = False
    replace: bool = False
    allow_partial: bool = False
    level: int = 3
    threads: int = 0
    limit: int = 0
    ask_again: tuple[float, ...] = (1.0, 3.0, 9.0)


@dataclass(frozen=True)
class MigrationPlan:
    """What would be done. volumes: bytes in each, None if unknown. images: by reference, `here` (it is there already),
    `pull` (from its registry), `bring` (it travels along). differences: what is not the same there: (what, here,
    there). free: bytes where Docker keeps its data there. problems: why it cannot be done, a sentence each. arrived: an
    earlier try that was cut off has got through: that is all, or, with `stop`, it is replaced by what is here now."""

    service: str
    host: str
    called: str
    stop: bool
    volumes: dict[str, int | None]
    images: dict[str, str]
    ports: list[str]
    differences: list[tuple[str, str, str]]
    free: int | None
    problems: list[str]
    arrived: bool = False


class Traveller:
    """An installed service on its way: with the images that the other side cannot get, and paused for as long as `held`
    says. See Workload."""

    def __init__(self, service: DrunnerService, bring: frozenset[str] = frozenset(), held: ExitStack | None = None):
        self.service = service
        self._bring = bring
        self._held = held
        self.describe = service.describe
        self.scripts = service.scripts
        self.image_layout = service.image_layout
        self.volumes = service.volumes

    def images(self, embed: Embed) -> list[ImageRecord]:
        """See Workload. `embed` is not asked: the other side has been."""
        found = self.service.images(Embed.NEVER)
        return [replace(image, embedded=bool(image.id) and image.reference in self._bring) for image in found]

    @contextlib.contextmanager
    def quiesced(self) -> Iterator[Path]:
        """See Workload."""
        if self._held is not None:
            yield self._held.enter_context(self.service.quiesced())
            return
        with self.service.quiesced() as directory:
            yield directory


def planned(
    traveller: Traveller, line: Line, there: OtherSide, choices: MigrationChoices, earlier: Attempt | None
) -> MigrationPlan:
    """See plan_migration."""
    service = traveller.describe()
    volumes = {record.name: tree.estimate() for record, tree in traveller.volumes()}
    known = [count for count in volumes.values() if count is not None]
    images = traveller.images(Embed.NEVER)
    ports = [str(port) for port in traveller.service.ports()]
    needs = Needs(
        name=service.name if choices.called is None else choices.called,
        volumes=tuple(service.settings["volumes"]),
        content=sum(known) if len(known) == len(volumes) else None,
        images=tuple(images),
        ports=tuple(ports),
        replace=choices.replace,
    )
    found = line.check(needs, earlier.transfer if earlier else "")
    return MigrationPlan(
        service=service.name,
        host=there.name,
        called=needs.name,
        stop=choices.stop,
        volumes=volumes,
        images=dict(found["images"]),
        ports=ports,
        differences=list(_differences(traveller, line, found, needs)),
        free=found["free"],
        # what an earlier try has sent is not in the way: the service has run on, and takes its place
        problems=[] if found["arrived"] else list(found["problems"]),
        arrived=bool(found["arrived"]),
    )


def _differences(
    traveller: Traveller, line: Line, found: dict[str, Any], needs: Needs
) -> Iterator[tuple[str, str, str]]:
    facts = traveller.service.engine_facts()
    pairs = (
        ("name", traveller.describe().name, needs.name),
        ("drunner-vault", __version__, line.version),
        ("Docker", facts.version, str(found["engine"])),
        ("architecture", facts.architecture, str(found["architecture"])),
    )
    for what, here, over_there in pairs:
        if here != over_there:
            yield what, here, over_there


def cannot_take(there: OtherSide, problems: list[str], name: str) -> ServiceError:
    return ServiceError(
        f"{there.name} cannot take {name}: {'; '.join(problems)}",
        f"nothing was changed; to see all that differs: drunner-vault migrate {name} {there.name} --dry-run",
    )
