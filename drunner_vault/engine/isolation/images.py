"""Which images a drill brought, and what their names meant before: written down first, so that a killed drill can be
tidied up after."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path

from drunner_vault.durable import replace_file, storage_error
from drunner_vault.engine.isolation.engineapi import EngineApi
from drunner_vault.errors import EngineError


class ImageLedger:
    """The names of images that the drill may change, each with the id it stood for; None if it stood for nothing."""

    def __init__(self, path: Path, api: EngineApi) -> None:
        self._path = path
        self._api = api
        self._lock = threading.Lock()
        self._before: dict[str, str | None] = {}
        self._all: dict[str, str] | None = None
        self._read()

    def watch(self, name: str) -> None:
        """This name may come to stand for another image."""
        with self._lock:
            if name not in self._before:
                found = self._api.image(name)
                self._before[name] = str(found["Id"]) if found else None
                self._write()

    def watch_new(self, names: Iterable[str]) -> None:
        """These names and ids stood for nothing before the drill."""
        with self._lock:
            for name in names:
                self._before.setdefault(name, None)
            self._write()

    def watch_all(self) -> None:
        """Images whose names are not known yet will come."""
        with self._lock:
            if self._all is None:
                self._all = self._api.images()
                self._write()

    def made(self, name: str) -> bool:
        """Whether the drill brought the image of this name."""
        with self._lock:
            return self._before.get(name, "") is None or (self._all is not None and name not in self._all)

    def take_back(self) -> list[str]:
        """Remove what the drill brought, and give names back to what they stood for; returns what is left."""
        left: list[str] = []
        now = self._api.images() if self._all is not None else {}
        if self._all is not None:
            self._before.update({name: self._all.get(name) for name in now if now[name] != self._all.get(name)})
        for name, identifier in self._before.items():
            try:
                self._give_back(name, identifier)
            except EngineError as problem:
                left.append(f"image {name}: {problem.message}")
        return left

    def _give_back(self, name: str, identifier: str | None) -> None:
        found = self._api.image(name)
        if found is None or found["Id"] == identifier:
            return
        if identifier is not None:
            repository, _, tag = name.rpartition(":")
            self._api.post(f"/images/{identifier}/tag?repo={repository or name}&tag={tag or 'latest'}")
        target = str(found["Id"]) if identifier is not None else name
        if identifier is None or not (self._api.image(target) or {}).get("RepoTags"):
            self._api.delete(f"/images/{target}")

    def _read(self) -> None:
        try:
            document = json.loads(self._path.read_bytes())
            self._before, self._all = dict(document["before"]), document["all"]
        except FileNotFoundError:
            return
        except OSError as cause:
            raise storage_error("read", self._path, cause) from cause
        except (ValueError, KeyError, TypeError):
            return  # damaged: what images a drill brought cannot be told any more

    def _write(self) -> None:
        replace_file(self._path, json.dumps({"before": self._before, "all": self._all}).encode())
