"""The file format of a bundle: a plain zip with a manifest. What comes from others is read with care.

Nothing is extracted by its name before all names are checked: no folders above, no links, no more bytes than a bundle
can have. The hashes of the manifest find damage. They cannot find forgery, since whoever changes a file can change them
too; for that, compare the sha256 of the whole bundle with the one that its author names.
"""

import hashlib
import io
import json
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from cifar_tune import __version__
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.model_files.description import parse_json, require_known_version
from cifar_tune.model_files.reading import read_file
from cifar_tune.visible import visible_json

FORMAT = "cifar-tune bundle"
FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
MOST_FILES = 10_000
MOST_BYTES = 4 * 2**30
"""Of a bundle, and of all its files together."""

_MOST_OF_MANIFEST = 10_000_000
_MOST_OF_NAME = 300
_MOST_OF_PART = 200
"""Bytes between two slashes. Most file systems end at 255."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of all files, so that equal bundles are equal to the byte."""

_MODE = (stat.S_IFREG | 0o644) << 16
_UNIX = 3


class FileEntry(BaseModel):
    """One file of a bundle."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """What a bundle holds beside the manifest itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    cifar_tune: str = __version__
    study: str
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and is whole.

    Attributes:
        manifest: what it says of itself.
        files: the content of every file by its name.
        sha256: of the whole bundle.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    sha256: str


def packed(study: str, files: Mapping[str, bytes]) -> bytes:
    """The bundle that holds these files; the same files give the same bytes.

    Args:
        study: its name.
        files: by their path in the bundle.
    """
    entries = {
        name: FileEntry(sha256=hashlib.sha256(files[name]).hexdigest(), bytes=len(files[name]))
        for name in sorted(files)
    }
    manifest = Manifest(study=study, files=entries).model_dump(mode="json")
    text = visible_json(json.dumps(manifest, indent=2, ensure_ascii=False)) + "\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in [(MANIFEST_FILE, text.encode()), *((name, files[name]) for name in entries)]:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr, info.create_system = _MODE, _UNIX
            archive.writestr(info, content)
    return stream.getvalue()


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and compare every file with its hash. Nothing is written and nothing is run.

    Raises:
        UserError: it is no bundle, a newer version wrote it, or it holds names or sizes that no bundle has.
        CheckError: it is damaged; names the files.
    """
    if not path.exists():
        raise UserError(Problem("there is no such file", source=str(path)))
    content = read_file(path, MOST_BYTES)
    source = str(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = _checked(archive, source)
            manifest = _manifest(archive, infos, source)
            files = {name: _read(archive, info) for name, info in infos.items() if name != MANIFEST_FILE}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(Problem(f"is no bundle, or is damaged: {error}", source=source)) from error
    _require_whole(manifest, files, source)
    return Bundle(manifest, files, hashlib.sha256(content).hexdigest())


def _checked(archive: zipfile.ZipFile, source: str) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise UserError(
            Problem(f"holds {len(infos):,} files, and no bundle has more than {MOST_FILES:,}", source=source)
        )
    total = sum(info.file_size for info in infos)
    if total > MOST_BYTES:
        rule = f"would become {total:,} bytes, and no bundle has more than {MOST_BYTES:,}"
        raise UserError(Problem(rule, source=source))
    names = {_as_found(info.filename) for info in infos}
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _as_found(info.filename)
        folders = [str(each) for each in PurePosixPath(name).parents]
        fault = "is there twice" if name in found else _fault(info)
        if fault is None and not names.isdisjoint(folders):
            fault = "leads through a file"
        if fault is not None:
            raise UserError(
                Problem(f"the name {info.filename!r} {fault}, so this is no bundle of cifar-tune", source=source)
            )
        found[name] = info
    return {info.filename: info for info in found.values()}


def _as_found(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _fault(info: zipfile.ZipInfo) -> str | None:
    """What is wrong with an entry; None where nothing is."""
    name = info.filename
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        return "leads out of the bundle"
    is_long = len(name) > _MOST_OF_NAME or any(len(part.encode()) > _MOST_OF_PART for part in parts)
    if "/".join(parts) != name or not name.isprintable() or is_long:
        return "is none of a file"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):  # not every program writes it down
        return "is a link or a device"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is packed by another method"
    return None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The content, and never more than was announced."""
    with archive.open(info) as file:
        content = file.read(info.file_size)
        if file.read(1):
            raise zipfile.BadZipFile(f"{info.filename} is longer than it says")
    return content


def _manifest(archive: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo], source: str) -> Manifest:
    info = infos.get(MANIFEST_FILE)
    if info is None or info.file_size > _MOST_OF_MANIFEST:
        raise UserError(Problem(f"is no bundle of cifar-tune: it has no {MANIFEST_FILE}", source=source))
    try:
        plain = parse_json(_read(archive, info))
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise ValueError("of another program")
        require_known_version(plain, FORMAT_VERSION, source)
        return Manifest.model_validate(plain)
    except (ValueError, ValidationError) as error:
        raise UserError(
            Problem(f"is no bundle of cifar-tune: its {MANIFEST_FILE} cannot be read", source=source)
        ) from error


def _require_whole(manifest: Manifest, files: Mapping[str, bytes], source: str) -> None:
    problems = [f"{name} is missing" for name in sorted(manifest.files.keys() - files.keys())]
    problems += [f"{name} is not in the manifest" for name in sorted(files.keys() - manifest.files.keys())]
    problems += [
        f"{name} is damaged: its sha256 is not the one in the manifest"
        for name, content in files.items()
        if name in manifest.files and hashlib.sha256(content).hexdigest() != manifest.files[name].sha256
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise CheckError(f"{source}: {shown}")
