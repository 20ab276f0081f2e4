"""Files in a folder or in a bucket (s3://, gs://), through TensorStore."""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import google_crc32c

from .atomic import atomic_file, remove_path, start_writeback
from .errors import SettingsError, StoreError
from .location import Location, join_location
from .retry import OBJECT_STORE_RETRIES

__all__ = [
    "Checksum",
    "checksum_files",
    "checksum_parts",
    "copy_files",
    "delete_file",
    "delete_files",
    "kvstore_spec",
    "list_files",
    "open_kvstore",
    "read_file",
    "read_files",
    "read_part",
    "wait_for",
    "write_checksummed",
    "write_file",
]

Checksum = Any
"""Plain JSON that changes with a file's content: size and CRC-32C in a folder, generation in a
bucket."""

CHUNK = 2**22
COPIED_AT_ONCE = 8
DRIVERS = {"s3": "s3", "gs": "gcs"}
_OS_ERROR = re.compile(r"(?:os_error_code='|OS error )(\d+)")
_TEMPORARY = ("ABORTED", "DEADLINE_EXCEEDED", "UNAVAILABLE")
"""Status words with which TensorStore gives up after its own retries."""


def kvstore_spec(location: Location) -> dict[str, Any]:
    """TensorStore's specification of a location. S3 takes its address and region from
    AWS_ENDPOINT_URL and AWS_REGION.

    Raises:
        SettingsError: a URL for which TensorStore has no driver.
    """
    if isinstance(location, Path):
        return {"driver": "file", "path": f"{location.resolve()}/"}
    scheme, _, rest = location.partition("://")
    bucket, _, path = rest.partition("/")
    if scheme not in DRIVERS or not bucket:
        raise SettingsError(
            f"{location}: an output is a folder, s3://BUCKET/… or gs://BUCKET/…; give one of these"
        )
    driver = DRIVERS[scheme]
    spec: dict[str, Any] = {
        "driver": driver,
        "bucket": bucket,
        "path": f"{path.rstrip('/')}/" if path else "",
        f"{driver}_request_retries": OBJECT_STORE_RETRIES,
    }
    if scheme == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            spec |= {"endpoint": endpoint.rstrip("/"), "aws_region": region or "us-east-1"}
        elif region:
            spec["aws_region"] = region
    return spec


def open_kvstore(location: Location) -> Any:
    """Open a location as a `tensorstore.KvStore`.

    Raises:
        StoreError: it cannot be reached.
    """
    import tensorstore  # here: it takes 0.2 s, and most commands do without

    opening = tensorstore.KvStore.open(kvstore_spec(location))
    return wait_for(opening, f"{location}: cannot be reached")


def wait_for(future: Any, message: str, *, timeout_s: float | None = None) -> Any:
    """Return the result of a TensorStore future.

    Raises:
        StoreError: message and the reason. Its cause is an OSError where the reason is a full disk
            or may be temporary.
    """
    try:
        return future.result(timeout=timeout_s)
    except TimeoutError as error:
        raise StoreError(f"{message}: no answer within {timeout_s} s") from error
    except (ValueError, OSError, IndexError, RuntimeError) as error:
        # TensorStore gives the reason as text only.
        found = _OS_ERROR.search(str(error))
        is_temporary = str(error).startswith(_TEMPORARY)
        number = int(found[1]) if found else errno.EAGAIN if is_temporary else None
        cause = error if number is None else OSError(number, os.strerror(number))
        raise StoreError(f"{message}: {_without_spec(error)}") from cause


def _without_spec(error: Exception) -> str:
    """The message without the whole specification, which TensorStore appends."""
    return str(error).split(" [tensorstore_spec=", 1)[0]


def read_file(location: Location, name: str) -> bytes | None:
    """Return the content of a file below a location; None if there is none.

    Raises:
        StoreError: it cannot be read, or the location does not answer.
    """
    return read_files(location, [name])[0]


def read_files(location: Location, names: Sequence[str]) -> list[bytes | None]:
    """Return the contents of files below a location; None for a missing one. A bucket is asked for
    all at once.

    Raises:
        StoreError: one cannot be read, or the location does not answer.
    """
    if isinstance(location, Path):
        return [_read_local(location / name) for name in names]
    found = _read_objects(location, names)
    return [one.value if one.state == "value" else None for one in found]


def _read_objects(location: str, names: Sequence[str], **how: Any) -> list[Any]:
    """Results of reading objects of a bucket, all requested at once."""
    if not names:
        return []
    opened = open_kvstore(location)
    requests = [(name, opened.read(name, **how)) for name in names]
    return [
        wait_for(reading, f"{join_location(location, name)}: cannot be read")
        for name, reading in requests
    ]


def _read_local(path: Path, *, start: int = 0, length: int = -1) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


def read_part(location: Location, name: str, *, start: int, stop: int) -> bytes:
    """Return bytes start to stop - 1 of a file.

    Raises:
        StoreError: the file is missing or shorter, or the location does not answer.
    """
    path = join_location(location, name)
    if isinstance(path, Path):
        found = _read_local(path, start=start, length=stop - start)
    else:
        (result,) = _read_objects(str(location), [name], byte_range=slice(start, stop))
        found = result.value if result.state == "value" else None
    if found is None:
        raise StoreError(f"{path}: is gone; leave it alone while a run works on it, and run again")
    if len(found) < stop - start:
        raise StoreError(f"{path}: has less than {stop} bytes; run again")
    return found


def write_file(location: Location, name: str, content: bytes, *, sync: bool = True) -> None:
    """Write a file, whole or not at all; in a folder with sync, have it on disk."""
    if isinstance(location, Path):
        with atomic_file(location / name, sync=sync) as partial:
            partial.write_bytes(content)
    else:
        _put(location, name, content)


def write_checksummed(location: Location, name: str, parts: Sequence[bytes]) -> Checksum:
    """Write a file from parts, whole or not at all; return its checksum.

    For files of a `PartialOutput`: in a folder the system brings the file to disk in its own time,
    and the output's commit waits for it.
    """
    if not isinstance(location, Path):
        return _put(location, name, b"".join(parts)).generation.hex()
    with atomic_file(location / name, sync=False) as partial:
        with partial.open("wb") as file:
            file.writelines(parts)  # joining them would copy them once more
        start_writeback(partial)
    return checksum_parts(parts)


def _put(location: str, name: str, content: bytes) -> Any:
    writing = open_kvstore(location).write(name, content)
    return wait_for(writing, f"{join_location(location, name)}: cannot be written")


def delete_file(location: Location, name: str) -> None:
    """Delete a file if it exists.

    Raises:
        StoreError: the location does not answer.
    """
    if isinstance(location, Path):
        (location / name).unlink(missing_ok=True)
    else:
        deleting = open_kvstore(location).write(name, None)
        wait_for(deleting, f"{join_location(location, name)}: cannot be deleted")


def delete_files(location: Location) -> None:
    """Delete a file, or every file below a location; a folder too, as far as possible.

    Raises:
        StoreError: the location does not answer.
    """
    if isinstance(location, Path):
        remove_path(location)
    else:
        opened = open_kvstore(location)
        wait_for(opened.delete_range(opened.KeyRange()), f"{location}: cannot be removed")


def list_files(location: Location, *, prefix: str = "") -> list[str]:
    """List the names of the files below a location, or of those with a prefix.

    Raises:
        StoreError: the location does not answer.
    """
    if isinstance(location, Path):
        files = (path for path in location.rglob("*") if path.is_file())
        names = [path.relative_to(location).as_posix() for path in files]
        return [name for name in names if name.startswith(prefix)]
    opened = open_kvstore(location)
    keys = opened.KeyRange(prefix.encode(), prefix.encode() + b"\xff")  # a byte not in UTF-8
    return [key.decode() for key in wait_for(opened.list(keys), f"{location}: cannot be listed")]


def copy_files(source: Location, target: Location, *, last: str) -> None:
    """Copy every file below a location, the file last after all others.

    Raises:
        StoreError: a location does not answer.
    """
    names = [name for name in list_files(source) if name != last]
    groups = [names[i : i + COPIED_AT_ONCE] for i in range(0, len(names), COPIED_AT_ONCE)]
    for group in [*groups, [last]]:
        for name, content in zip(group, read_files(source, group), strict=True):
            if content is not None:
                write_file(target, name, content)


def checksum_files(location: Location, names: Sequence[str]) -> list[Checksum | None]:
    """Return the checksum of each file below a location; None for a missing or unreadable one.

    A bucket is asked for all at once and without content: another write changes an object's
    generation (S3's ETag, Google's number), on S3 only if the content differs.

    Raises:
        StoreError: the bucket does not answer.
    """
    if isinstance(location, Path):
        return [_checksum_file(location / name) for name in names]
    found = _read_objects(location, names, byte_range=slice(0, 0))
    return [one.stamp.generation.hex() if one.state == "value" else None for one in found]


def checksum_parts(parts: Iterable[bytes]) -> list[int]:
    """Return size (bytes) and CRC-32C of the parts of a file, one after the other."""
    crc = size = 0
    for part in parts:
        crc, size = google_crc32c.extend(crc, part), size + len(part)
    return [size, crc]


def _checksum_file(path: Path) -> Checksum | None:
    try:
        with path.open("rb") as file:
            return checksum_parts(iter(lambda: file.read(CHUNK), b""))
    except OSError:
        return None
