"""When a job may be run: alone, and if it is due."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from drunner_vault.errors import EngineDown, NoChange, ServiceBusy
from drunner_vault.policy import Schedule, is_due
from drunner_vault.schedules.entry import SCHEDULER
from drunner_vault.services.lock import service_lock
from drunner_vault.services.names import MAX_LENGTH

_TRIES, _PAUSE = 60, 5.0  # seconds: five minutes in all


@contextlib.contextmanager
def alone(directory: Path, job: str) -> Iterator[None]:
    """Hold the job for the block. directory: `ROOT/vault`. Raises NoChange if it is running already."""
    with contextlib.ExitStack() as held:
        try:
            # the prefix: a job may have a name that no service can have
            held.enter_context(service_lock(directory, _lock_name(job), f"run {job}"))
        except ServiceBusy as busy:
            process = busy.message.rpartition("(")[2].rstrip(")")
            raise NoChange(
                f"job {job} is running already ({process}), so this run is skipped", "see: drunner-vault history"
            ) from busy
        yield


def _lock_name(job: str) -> str:
    """A name as locks have them; of long ones that begin alike each has its own."""
    name = f"job.{job}"
    return name if len(name) <= MAX_LENGTH else f"{name[: MAX_LENGTH - 9]}.{zlib.crc32(job.encode()):08x}"


def require_due(
    schedule: Schedule | None,
    zone: dt.tzinfo,
    last: dt.datetime | None,
    now: dt.datetime,
    *,
    catch_up: bool,
    jitter: float = 0.0,
) -> None:
    """Raises NoChange unless a job is due that was last started, or first seen, at `last`. jitter: see is_due."""
    if schedule is None:
        raise NoChange("the job has no schedule", "run it without --scheduled")
    if not is_due(schedule, zone, last, now, catch_up=catch_up, jitter=jitter):
        due = schedule.next(now, zone).astimezone(zone)
        raise NoChange(f"the job is not due before {due:%Y-%m-%d %H:%M %Z}")


def delay(jitter: float, environment: Mapping[str, str]) -> float:
    """Seconds to wait before a job is begun: by chance, up to its jitter; none where whoever started us has waited."""
    return 0.0 if environment.get(SCHEDULER) == "systemd" else random.uniform(0, jitter)  # noqa: S311 (no secret)


def wait_for_engine(connect: Callable[[], object], sleep: Callable[[float], None]) -> None:
    """Where cron makes up for what was missed as soon as the machine is up, Docker may still be starting. Waits until
    it answers; if it does not in the end, whoever needs it will say so."""
    for _ in range(_TRIES):
        try:
            connect()
        except EngineDown:
            sleep(_PAUSE)
        else:
            return
