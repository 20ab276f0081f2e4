"""Where a store lives: a folder, or a prefix of a bucket (s3://, gs://); files of both, by
TensorStore."""

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorstore

from ..batch import size_and_crc
from ..storage import Location, SettingsError, StoreError, atomic_file, leave_to_disk

__all__ = [
    "below",
    "delete_all",
    "delete_file",
    "exists_at",
    "kvstore",
    "names_in",
    "read_files",
    "read_part",
    "settled",
    "signs_of",
    "write_file",
    "write_piece",
]

KeyRange = tensorstore.KvStore.KeyRange
DRIVERS = {"s3": "s3", "gs": "gcs"}
# Two minutes. By default it is a quarter of an hour, in which a batch takes the worker for one that
# hangs.
RETRIES: dict[str, Any] = {"max_retries": 8, "initial_delay": "1s", "max_delay": "32s"}
_OS_ERROR = re.compile(r"(?:os_error_code='|OS error )(\d+)")
_PASSING = (
    "ABORTED",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
)  # what TensorStore gave up after its own tries


def below(place: Location, *names: str) -> Location:
    """A place inside another."""
    return (
        place.joinpath(*names) if isinstance(place, Path) else "/".join([place.rstrip("/"), *names])
    )


def kvstore(place: Location) -> dict[str, Any]:
    """TensorStore's name of a place. S3 takes its address and region from AWS_ENDPOINT_URL and
    AWS_REGION.

    Raises:
        SettingsError: a URL that TensorStore has no driver for.
    """
    if isinstance(place, Path):
        return {"driver": "file", "path": f"{place.resolve()}/"}
    scheme, _, rest = place.partition("://")
    bucket, _, path = rest.partition("/")
    if scheme not in DRIVERS or not bucket:
        raise SettingsError(
            f"{place}: a store is a folder, s3://BUCKET/… or gs://BUCKET/…; give one of these"
        )
    driver = DRIVERS[scheme]
    spec: dict[str, Any] = {
        "driver": driver,
        "bucket": bucket,
        "path": f"{path.rstrip('/')}/" if path else "",
    }
    spec[f"{driver}_request_retries"] = RETRIES
    if scheme == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            spec |= {"endpoint": endpoint.rstrip("/"), "aws_region": region or "us-east-1"}
        elif region:
            spec["aws_region"] = region
    return spec


def _opened(place: Location) -> Any:
    return settled(tensorstore.KvStore.open(kvstore(place)), f"{place}: cannot be reached")


def settled(future: Any, what: str, *, limit_s: float | None = None) -> Any:
    """What a future of TensorStore comes to, if need be within a time.

    Raises:
        StoreError: what failed, and why.
    """
    try:
        return future.result(timeout=limit_s)
    except TimeoutError as error:
        raise StoreError(f"{what}: no answer within {limit_s} s") from error
    except (ValueError, OSError, IndexError, RuntimeError) as error:
        # TensorStore says it in words only; a full disk, and what may pass, is told by its number.
        found = _OS_ERROR.search(str(error))
        number = (
            int(found[1]) if found else errno.EAGAIN if str(error).startswith(_PASSING) else None
        )
        cause = error if number is None else OSError(number, os.strerror(number))
        raise StoreError(f"{what}: {_first_line(error)}") from cause


def _first_line(error: Exception) -> str:
    """Without the whole specification, which TensorStore appends to every message."""
    return str(error).split(" [tensorstore_spec=", 1)[0]


def read_files(place: Location, names: Sequence[str]) -> list[bytes | None]:
    """Whole files by their names below a place, asked for at once; None where there is none.

    Raises:
        StoreError: the place does not answer.
    """
    opened = _opened(place)
    asked = [(name, opened.read(name)) for name in names]
    results = [settled(reading, f"{below(place, name)}: cannot be read") for name, reading in asked]
    return [result.value if result.state == "value" else None for result in results]


def read_part(place: Location, name: str, *, start: int, stop: int) -> bytes:
    """Bytes start to stop - 1 of a file.

    Raises:
        StoreError: it has none, or the place does not answer.
    """
    found = settled(
        _opened(place).read(name, byte_range=slice(start, stop)),
        f"{below(place, name)}: cannot be read",
    )
    if found.state != "value":
        raise StoreError(
            f"{below(place, name)}: is gone; leave it alone while it is worked on, and run again"
        )
    return found.value


def exists_at(place: Location, name: str) -> bool:
    return read_files(place, [name])[0] is not None


def write_file(place: Location, name: str, content: bytes) -> None:
    """Whole or not at all, and there to stay."""
    if isinstance(place, Path):
        with atomic_file(place / name) as partial:
            partial.write_bytes(content)
    else:
        _put(place, name, content)


def write_piece(place: Location, name: str, parts: Sequence[bytes]) -> Any:
    """Write a file, whole or not at all, of what is whole only with others: the sign that it is as
    it was written.

    It is the one that `FolderPieces` and `signs_of` find later. In a folder the system takes its
    own time to bring the file to disk, and whoever makes the whole of it has it there at the end.
    """
    if not isinstance(place, Path):
        return _put(place, name, b"".join(parts)).generation.hex()
    with atomic_file(place / name, sync=False) as partial:
        with partial.open("wb") as file:
            file.writelines(parts)  # joined they would be copied once more
        leave_to_disk(partial)
    return size_and_crc(parts)


def _put(place: str, name: str, content: bytes) -> Any:
    return settled(_opened(place).write(name, content), f"{below(place, name)}: cannot be written")


def delete_file(place: Location, name: str) -> None:
    """Whether it is there or not.

    Raises:
        StoreError: the place does not answer.
    """
    settled(_opened(place).write(name, None), f"{below(place, name)}: cannot be deleted")


def delete_all(place: Location, *, but: str = "") -> None:
    """Delete every file below a place, but for one.

    Raises:
        StoreError: the place does not answer.
    """
    opened, what = _opened(place), f"{place}: cannot be removed"
    ranges = (
        [KeyRange(b"", but.encode()), KeyRange(but.encode() + b"\0", b"")] if but else [KeyRange()]
    )
    for deleting in [opened.delete_range(keys) for keys in ranges]:
        settled(deleting, what)


def names_in(place: Location, *, prefix: str = "") -> list[str]:
    """The names of the files below a place, or of those that begin so.

    Raises:
        StoreError: the place does not answer.
    """
    keys = KeyRange(prefix.encode(), prefix.encode() + b"\xff")  # which is in no UTF-8
    return [
        key.decode() for key in settled(_opened(place).list(keys), f"{place}: cannot be listed")
    ]


def signs_of(place: Location, names: Sequence[str]) -> list[str | None]:
    """What tells that files are as they were, asked for at once and without their content; None
    where there is none.

    It is the generation of the object: S3's ETag, Google's number. Who writes it again changes it,
    S3's only where the content is another.

    Raises:
        StoreError: the place does not answer.
    """
    opened = _opened(place)
    asked = [(name, opened.read(name, byte_range=slice(0, 0))) for name in names]
    found = [settled(reading, f"{below(place, name)}: cannot be read") for name, reading in asked]
    return [one.stamp.generation.hex() if one.state == "value" else None for one in found]
