"""A file in Prometheus' text format, as node_exporter's textfile collector reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.durable import replace_file

PREFIX = "drunner_vault_"

# All are gauges: what is written is what is known now.
HELP = {
    "last_run_timestamp_seconds": "When it was last begun.",
    "last_run_success": "Whether the last run did all it should: 1 or 0.",
    "last_run_duration_seconds": "How long the last run took.",
    "last_success_timestamp_seconds": "When the last run that did all it should was begun.",
    "last_archive_bytes": "Size of the last archive.",
    "last_archive_content_bytes": "Size of the files in the last archive.",
    "last_archive_paused_seconds": "For how long the service was paused for its last archive.",
    "newest_archive_timestamp_seconds": "When the newest good archive in a store was made, as last seen.",
    "alarms": "How many alarms are raised.",
    "written_timestamp_seconds": "When this file was written.",
}


@dataclass(frozen=True)
class Sample:
    """One value. name: one of HELP."""

    name: str
    labels: Mapping[str, str]
    value: float


def render(samples: Iterable[Sample]) -> str:
    """The text of the file: samples by name, each name with its help."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines: list[str] = []
    for name in (name for name in HELP if name in by_name):
        lines += [f"# HELP {PREFIX}{name} {HELP[name]}", f"# TYPE {PREFIX}{name} gauge"]
        lines += [f"{PREFIX}{name}{_labels(sample.labels)} {_number(sample.value)}" for sample in by_name[name]]
    return "\n".join([*lines, ""])


def write_metrics(path: Path, samples: Iterable[Sample]) -> None:
    """Write the file anew; whoever reads it sees the old one or the new one, whole. Raises StorageError."""
    replace_file(path, render(samples).encode(), 0o644)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 3))
