"""Everything that can be told to be wrong with the settings, all at once rather than when a job fails at night."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from drunner_vault.config import JobSettings, NotificationSettings, Secret, Settings, StoreSettings, read_settings
from drunner_vault.errors import BadUsage, NoKey, VaultError
from drunner_vault.wiring.environment import adopt
from drunner_vault.wiring.jobs import job_schedule
from drunner_vault.wiring.settings import SETTINGS_FILE, config_directory, config_sh, named_retention, zone_of
from drunner_vault.wiring.stores import hurried, named_store, open_store, store_problem
from drunner_vault.workflows.trust import Named, Trust

Check = Callable[[], object]


def settings_problems(environment: Mapping[str, str], *, online: bool, file: Path | None = None) -> list[VaultError]:
    """What is wrong with vault.toml and what it names, in the order of the file; empty if nothing is.

    online: also ask every store whether it can be reached. file: in place of vault.toml. Nothing is written, and
    nobody notified.
    """
    found: list[VaultError] = []
    path = file or config_directory(environment) / SETTINGS_FILE
    try:
        known = read_settings(path, found.append)
    except VaultError as error:
        return [error]
    found += _failures(_checks(known, environment))
    if online and not found:
        found += _failures(partial(_visit, environment, name, item) for name, item in known.stores.items())
    return sorted({error.message: error for error in found}.values(), key=partial(_line, path.name))


def exposed_secrets(environment: Mapping[str, str], file: Path | None = None) -> list[str]:
    """The files with secrets that others than root may read, a sentence each. file: in place of vault.toml."""
    path = file or config_directory(environment) / SETTINGS_FILE
    try:
        known = read_settings(path, lambda _problem: None)
    except VaultError:
        return []
    secrets = [item.urls for item in known.notifications.values()]
    secrets += [job.ping for job in known.jobs.values() if job.ping is not None]
    files = [str(path)] if any(secret.lines for secret in secrets) else []
    files += [known.environment_file, *(secret.file for secret in secrets)]
    files += [name for job in known.jobs.values() for name in job.identity_files]
    return [
        f"others may read the secrets in {name}: chmod 600 {name}"
        for name in dict.fromkeys(files)
        if name and _open(name)
    ]


def _open(path: str) -> bool:
    """Whether others than root may read a file."""
    try:
        found = Path(path).stat()
    except OSError:
        return False
    return bool(found.st_mode & 0o004 or (found.st_mode & 0o040 and found.st_gid))


def _line(name: str, error: VaultError) -> int:
    """Where in the file of this name it is, or before all that is."""
    match = re.search(rf"{re.escape(name)}, line (\d+)", error.message)
    return int(match[1]) if match else 0


def _failures(checks: Iterable[Check]) -> Iterator[VaultError]:
    for check in checks:
        try:
            check()
        except VaultError as error:
            yield error


def _checks(known: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    yield partial(config_sh, environment)
    if known.environment_file:
        yield partial(adopt, known, environment)
    if known.timezone:
        yield partial(zone_of, known.timezone, known.timezone_where)
    yield partial(_recipients, known.recipients, known.where_of("recipients"))
    yield Trust(config_directory(environment), "", Named(known.signers, known.where_of("signers"))).signers
    if known.metrics:
        yield partial(_file_to_write, known.metrics, known.where_of("metrics"))
    for name, store in known.stores.items():
        if store.url:  # that it is missing has been said
            yield partial(_address, environment, name, store)
        yield partial(named_retention, store)
    for job in known.jobs.values():
        yield from _job_checks(known, job, environment)
    for item in known.notifications.values():
        if item.urls.is_somewhere:
            yield partial(_urls, item, environment)


def _job_checks(known: Settings, job: JobSettings, environment: Mapping[str, str]) -> Iterator[Check]:
    yield partial(job_schedule, job)
    if job.timezone:
        yield partial(zone_of, job.timezone, job.where_of("timezone"))
    yield partial(_recipients, job.recipients, job.where_of("recipients"))
    if job.task == "backup":
        yield partial(_has_key, known, job, environment)
    if job.task in ("drill", "rehearse"):
        yield partial(_can_open, job, environment)
    for path in job.identity_files:
        yield partial(_identities, path, job.where_of("identity_files"))
    if job.ping is not None and job.ping.is_somewhere:
        yield partial(_check_to_ping, job.ping, environment)


def _check_to_ping(ping: Secret, environment: Mapping[str, str]) -> None:
    from drunner_vault.alarms.ping import is_check

    if not all(map(is_check, ping.value(environment))):
        raise BadUsage(f"{ping.where}: ping is no URL", 'write it as in ping = "https://hc-ping.com/…"')


def _visit(environment: Mapping[str, str], name: str, item: StoreSettings) -> None:
    try:
        store = open_store(environment, lambda _line: None, hurried(named_store(name, item)))
        next(iter(store.list(os.uname().nodename)), None)
    except VaultError as error:
        raise BadUsage(f"{item.where}: {item.url} cannot be reached: {error.message}", error.hint) from error


def _address(environment: Mapping[str, str], name: str, item: StoreSettings) -> None:
    store_problem(environment, named_store(name, item), item.where)


def _recipients(texts: tuple[str, ...], where: str) -> None:
    from drunner_vault.age import parse_recipient

    for text in texts:
        try:
            parse_recipient(text)
        except VaultError as error:
            raise BadUsage(f"{where}: {error.message}", error.hint) from error


def _has_key(known: Settings, job: JobSettings, environment: Mapping[str, str]) -> None:
    from drunner_vault.workflows.keys import passphrase

    if not (job.recipients or known.recipients or passphrase(environment)):
        raise BadUsage(
            f"{job.where}: job {job.name} has nobody to encrypt to",
            'make a key with: drunner-vault key new -o key.txt, then set recipients = ["age1…"]',
        )


def _can_open(job: JobSettings, environment: Mapping[str, str]) -> None:
    from drunner_vault.workflows.keys import passphrase

    if not (job.identity_files or passphrase(environment)):
        raise BadUsage(
            f"{job.where}: job {job.name} has nothing that opens archives",
            'say which key does: identity_files = ["/root/drill-key.txt"]',
        )


def _identities(path: str, where: str) -> None:
    from drunner_vault.age import parse_identities

    try:
        parse_identities(Path(path).read_bytes(), path)
    except OSError as cause:
        raise BadUsage(f"{where}: cannot read {path}: {cause.strerror}", "check the path") from cause
    except NoKey as error:
        raise BadUsage(
            f"{where}: {path} is protected by a passphrase, which nobody is there to type", "use a key file without one"
        ) from error
    except VaultError as error:
        raise BadUsage(f"{where}: {error.message}", error.hint) from error


def _file_to_write(path: str, where: str) -> None:
    if Path(path).is_dir():
        raise BadUsage(f"{where}: {path} is a directory", "name a file in it")
    if not Path(path).parent.is_dir():
        raise BadUsage(f"{where}: {Path(path).parent} is no directory", "make it, or choose another path")


def _urls(item: NotificationSettings, environment: Mapping[str, str]) -> None:
    from drunner_vault.alarms.notify import check_urls

    wrong = check_urls(item.urls.value(environment))
    if wrong:
        hint = "see https://github.com/caronc/apprise/wiki for what URLs there are"
        raise BadUsage(f"{item.where}: {'; '.join(wrong)}", hint)
