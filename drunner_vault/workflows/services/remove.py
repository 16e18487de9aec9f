"""Taking a service off the host: keeping its volumes (uninstall), or with them (obliterate)."""

from __future__ import annotations

from drunner_vault.errors import HookFailed, VaultError, VolumeProblem
from drunner_vault.services.dialect import Event
from drunner_vault.services.home import ServiceHome
from drunner_vault.services.launcher import remove_launcher
from drunner_vault.services.names import volume_names
from drunner_vault.workflows.host import SERVICE_LABEL, ServiceHost
from drunner_vault.workflows.working import working_on


def uninstall(host: ServiceHost, name: str, *, force: bool = False) -> list[str]:
    """Remove a service and keep its volumes, whose names are returned. force: even if its hook fails."""
    with working_on(host, name, f"uninstall {name}") as home:
        return take_off(host, home, force=force)


def take_off(host: ServiceHost, home: ServiceHome, *, force: bool = False) -> list[str]:
    """Uninstall a service that the caller has locked; returns the names of the volumes that stay."""
    home.require()
    kept = _volumes(host, home, force)
    _call_hook(host, home, Event.UNINSTALL, force)
    _remove_files(host, home)
    return [volume for volume in kept if host.engine.volumes.find(volume)]


def obliterate(host: ServiceHost, name: str, *, force: bool = False) -> None:
    """Remove a service and its volumes. force: even if its hook fails, and with the containers that use the volumes.

    The files go last, so that a volume which cannot be removed leaves a service that can be obliterated again.
    """
    with working_on(host, name, f"obliterate {name}") as home:
        home.require()
        volumes = _volumes(host, home, force)
        _call_hook(host, home, Event.OBLITERATE, force)
        if force:
            for container in host.engine.containers.using(volumes):
                host.engine.containers.remove(container.id)
        _require_unused(host, home, volumes)
        for volume in volumes:
            host.engine.volumes.remove(volume)
        _remove_files(host, home)


def _volumes(host: ServiceHost, home: ServiceHome, force: bool) -> list[str]:
    """The volumes of the settings, and those that carry the service's label from an earlier version of it."""
    labelled = host.engine.volumes.labelled(f"{SERVICE_LABEL}={home.name}")
    try:
        current = volume_names(home.name, home.config().volumes)
    except VaultError:
        if not force:
            raise
        current = ()
    return list(dict.fromkeys([*current, *labelled]))


def _require_unused(host: ServiceHost, home: ServiceHome, volumes: list[str]) -> None:
    """Raises VolumeProblem if containers use any of the volumes: all of them are removed, or none."""
    for volume in volumes:
        users = ", ".join(container.name for container in host.engine.containers.using([volume]))
        if users:
            raise VolumeProblem(
                f"volume {volume} is still used by {users}; nothing was removed",
                f"remove that, or have it removed too: drunner-vault obliterate --force {home.name}",
            )


def _call_hook(host: ServiceHost, home: ServiceHome, event: Event, force: bool) -> None:
    try:
        host.call_hook(home, event)
    except HookFailed as problem:
        if not force:
            raise HookFailed(
                f"{problem.message}; nothing was removed",
                f"mend that, or remove it all the same: drunner-vault {event.value} --force {home.name}",
                hook=problem.hook,
                code=problem.code,
                output=problem.output,
            ) from problem
        host.notice(f"{problem.message}; going on")
    except VaultError as problem:
        if not force:
            raise
        host.notice(f"{problem.message}; going on")


def _remove_files(host: ServiceHost, home: ServiceHome) -> None:
    remove_launcher(host.bin_dir, home.name)
    home.remove()
