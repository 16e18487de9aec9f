"""Images: finding, pulling, tagging, saving and loading them. References are used as given: tags and digests count."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import docker
from docker import errors as docker_errors
from docker.utils import parse_repository_tag

from drunner_vault.engine.connection import engine_errors
from drunner_vault.engine.streams import PieceSource
from drunner_vault.errors import BadUsage, EngineDown, EngineError, ImageNotFound
from drunner_vault.tar import Entry, Kind, TarReader, encode_members

_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_METADATA_LIMIT = 16 << 20
# The characters that references and ids are made of; the engine knows the rest of their grammar.
_REFERENCE = re.compile(r"(?!.*//)(?!.*\.\./)[\[A-Za-z0-9][][A-Za-z0-9_.:/@-]*")
_LOADED = "Loaded image ID: "


@dataclass(frozen=True)
class Image:
    """An image that is on the engine. id: `sha256:…`. user: as the image says, possibly empty. size: bytes."""

    reference: str
    id: str
    digests: tuple[str, ...]
    user: str
    architecture: str
    os: str
    size: int


class Images:
    """The engine's images."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client

    def find(self, reference: str) -> Image | None:
        """The image of this reference or id, if the engine has it. Raises BadUsage for what can be neither."""
        _check_reference(reference)
        with engine_errors(f"look up image {reference}"):
            try:
                found = self._client.api.inspect_image(reference)
            except docker_errors.ImageNotFound:
                return None
        return Image(
            reference=reference,
            id=found["Id"],
            digests=tuple(found.get("RepoDigests") or ()),
            user=(found.get("Config") or {}).get("User") or "",
            architecture=found.get("Architecture", ""),
            os=found.get("Os", ""),
            size=int(found.get("Size", 0)),
        )

    def get(self, reference: str) -> Image:
        """The image of this reference. Raises ImageNotFound if the engine does not have it."""
        image = self.find(reference)
        if image is None:
            raise ImageNotFound(f"there is no image {reference} on this host", f"docker pull {reference}")
        return image

    def ensure(self, reference: str) -> tuple[Image, bool]:
        """The image, pulled if it is not here; and whether it was pulled."""
        image = self.find(reference)
        if image is not None:
            return image, False
        return self.pull(reference), True

    def pull(self, reference: str) -> Image:
        """Pull exactly this tag or digest, with the logins of Docker's own configuration. Raises ImageNotFound."""
        _check_reference(reference)
        repository, tag = parse_repository_tag(reference)
        try:
            with engine_errors(f"pull {reference}"):
                for line in self._client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
                    if "error" in line:  # the engine had begun already when it failed
                        raise docker_errors.APIError(line["error"], explanation=line["error"])
        except EngineDown:
            raise
        except EngineError as cause:
            raise ImageNotFound(
                cause.message, f"check the name, `docker login` if the registry is private, or build {reference} here"
            ) from cause
        return self.get(reference)

    def in_registry(self, image: Image) -> bool:
        """Whether some registry can be expected to give this very image again.

        Engines with the containerd image store give every local build a digest, so there the registry is asked.
        """
        if not image.digests or not self._digests_are_local():
            return bool(image.digests)
        try:
            self._client.api.inspect_distribution(image.digests[0])
        except (docker_errors.DockerException, OSError):
            return False
        return True

    def offered_for(self, digest: str) -> tuple[str, ...]:
        """The architectures for which a registry offers an image, by digest; none if it cannot be had from there."""
        try:
            found = self._client.api.inspect_distribution(digest)
        except (docker_errors.DockerException, OSError):
            return ()
        return tuple(str(platform.get("architecture", "")) for platform in found.get("Platforms") or ())

    def tag(self, identifier: str, reference: str) -> None:
        """Give an image a further name. A reference by digest names itself."""
        if "@" in reference:
            return
        repository, tag = parse_repository_tag(reference)
        with engine_errors(f"name image {identifier} {reference}"):
            self._client.api.tag(identifier, repository, tag or "latest", force=True)

    def remove(self, reference: str) -> None:
        """Remove a reference or id if nothing uses it; anything else is left as it is."""
        with engine_errors(f"remove image {reference}"):
            try:
                self._client.api.remove_image(reference, noprune=False)
            except (docker_errors.ImageNotFound, docker_errors.NotFound):
                return
            except docker_errors.APIError as cause:
                if cause.status_code != 409:
                    raise

    def save(self, identifiers: list[str]) -> Iterator[tuple[Entry, Iterable[bytes]]]:
        """The images as entries that make up an OCI layout, which `docker load` takes too, in one pass.

        Engines before 25 save layers under names of their own. As a layer's digest is known only when it has gone
        by, such a layout gets its `blobs/` as hard links at the end.
        """
        api = self._client.api
        url = f"{api.base_url}/v{api.api_version}/images/get"
        with engine_errors(f"save image {', '.join(identifiers)}"):
            response = api.get(url, params=[("names", i) for i in identifiers], stream=True, timeout=api.timeout)
            api._raise_for_status(response)
            yield from _oci_layout(TarReader(PieceSource(response.iter_content(1 << 20))))

    def load(self, entries: Iterable[tuple[Entry, Iterable[bytes]]]) -> list[str]:
        """Load images from entries of a layout that `save` gave; returns their ids. Existing tags are not touched."""
        loaded: list[str] = []
        with engine_errors("load the images of the archive"):
            # the links only exist for readers of the OCI layout; the engine would unpack them to copies
            members = ((entry, content) for entry, content in entries if entry.kind is not Kind.HARDLINK)
            for line in self._client.api.load_image(encode_members(members)):
                if "error" in line:
                    raise EngineError(f"cannot load the images of the archive: {line['error']}", "see the engine's log")
                text = str(line.get("stream", ""))
                if text.startswith(_LOADED):
                    loaded.append(text.removeprefix(_LOADED).strip())
        return loaded

    def ids(self) -> set[str]:
        """Ids of all images, with and without a name."""
        with engine_errors("list images"):
            return {image["Id"] for image in self._client.api.images()}

    def dangling(self) -> list[str]:
        """Ids of images that no name and no container uses."""
        with engine_errors("list images"):
            return [image["Id"] for image in self._client.api.images(filters={"dangling": True})]

    def _digests_are_local(self) -> bool:
        with engine_errors("ask the engine about itself"):
            status = self._client.api.info().get("DriverStatus") or []
        return any("io.containerd.snapshotter" in str(value) for _, value in status)


def _check_reference(reference: str) -> None:
    if not _REFERENCE.fullmatch(reference):
        raise BadUsage(f"{reference!r} is no name of an image", "give an image as NAME, NAME:TAG or NAME@sha256:DIGEST")


def _oci_layout(tar: TarReader) -> Iterator[tuple[Entry, Iterable[bytes]]]:
    """The entries of a `docker save` stream, completed to an OCI layout if it is none."""
    seen: dict[str, tuple[str, int, bytes]] = {}
    complete = False
    for member in tar:
        name = member.entry.path.decode("utf-8", "surrogateescape")
        complete = complete or name == "oci-layout"
        tap = _Tap(tar.content(), keep=name.endswith(".json"))
        yield member.entry, tap
        if member.entry.kind is Kind.FILE:
            seen[name] = (tap.hash.hexdigest(), member.entry.size, bytes(tap.kept))
    if not complete:
        yield from _oci_additions(seen)


class _Tap:
    """Content passing by: its SHA-256, and the bytes themselves where they are metadata."""

    def __init__(self, content: Iterable[bytes], *, keep: bool) -> None:
        self._content = content
        self._keep = keep
        self.hash = hashlib.sha256()
        self.kept = bytearray()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._content:
            self.hash.update(piece)
            if self._keep and len(self.kept) < _METADATA_LIMIT:
                self.kept += piece
            yield piece


def _oci_additions(seen: dict[str, tuple[str, int, bytes]]) -> Iterator[tuple[Entry, Iterable[bytes]]]:
    """What makes an OCI layout of a legacy one: blobs as links to what is there, manifests, index.json, oci-layout."""
    manifests: list[dict[str, object]] = []
    linked: set[str] = set()
    documents: list[tuple[str, bytes]] = []
    for image in json.loads(seen["manifest.json"][2]):
        parts = [image["Config"], *image["Layers"]]
        for part in parts:
            if seen[part][0] not in linked:
                linked.add(seen[part][0])
                yield Entry(_blob(seen[part][0]), Kind.HARDLINK, 0o644, link=part.encode()), ()
        types = [_OCI_CONFIG] + [_OCI_LAYER] * len(image["Layers"])
        described = [
            {"mediaType": kind, "digest": f"sha256:{seen[part][0]}", "size": seen[part][1]}
            for kind, part in zip(types, parts, strict=True)
        ]
        manifest = _json(
            {"schemaVersion": 2, "mediaType": _OCI_MANIFEST, "config": described[0], "layers": described[1:]}
        )
        digest = hashlib.sha256(manifest).hexdigest()
        documents.append((_blob(digest).decode(), manifest))
        manifests.append({"mediaType": _OCI_MANIFEST, "digest": f"sha256:{digest}", "size": len(manifest)})
    documents.append(("index.json", _json({"schemaVersion": 2, "mediaType": _OCI_INDEX, "manifests": manifests})))
    documents.append(("oci-layout", _json({"imageLayoutVersion": "1.0.0"})))
    for name, data in documents:
        yield Entry(name.encode(), Kind.FILE, 0o644, size=len(data)), (data,)


def _blob(digest: str) -> bytes:
    return b"blobs/sha256/" + digest.encode()


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
