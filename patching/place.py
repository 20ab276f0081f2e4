"""Where a store lives: a folder, or a prefix of a bucket (s3://, gs://); what is needed of both, by TensorStore.

In a folder a group appears by a rename. A bucket has none: there a group is whole once its zarr.json stands, which is
written last, and until then a key named UNFINISHED tells that what lies there is ours to replace.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorstore

from ..wsi import (
    Location,
    SettingsError,
    StoreError,
    refuse_foreign_folder,
    remove_folder,
    restore_folder,
    whole_file,
    whole_folder,
)

__all__ = [
    "below",
    "delete_file",
    "exists_at",
    "kvstore",
    "read_files",
    "refuse_foreign",
    "remove_group",
    "settled",
    "whole_group",
    "write_file",
]

METADATA = "zarr.json"
UNFINISHED = "unfinished"
_OS_ERROR = re.compile(r"(?:os_error_code='|OS error )(\d+)")
DRIVERS = {"s3": "s3", "gs": "gcs"}


def below(place: Location, *names: str) -> Location:
    """A place inside another."""
    return place.joinpath(*names) if isinstance(place, Path) else "/".join([place.rstrip("/"), *names])


def kvstore(place: Location) -> dict[str, Any]:
    """TensorStore's name of a place. S3 takes its address and region from AWS_ENDPOINT_URL and AWS_REGION.

    Raises:
        SettingsError: a URL that TensorStore has no driver for.
    """
    if isinstance(place, Path):
        return {"driver": "file", "path": f"{place.resolve()}/"}
    scheme, _, rest = place.partition("://")
    bucket, _, path = rest.partition("/")
    if scheme not in DRIVERS or not bucket:
        raise SettingsError(f"{place}: a store is a folder, s3://BUCKET/… or gs://BUCKET/…; give one of these")
    spec = {"driver": DRIVERS[scheme], "bucket": bucket, "path": f"{path.rstrip('/')}/" if path else ""}
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
        number = _OS_ERROR.search(str(error))
        # TensorStore says it in words only; a full disk, and what may pass, is told by its number.
        cause = error if number is None else OSError(int(number[1]), os.strerror(int(number[1])))
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


def exists_at(place: Location, name: str) -> bool:
    return read_files(place, [name])[0] is not None


def write_file(place: Location, name: str, *parts: bytes, sync: bool = True) -> None:
    """Whole or not at all. Parts come one after the other: joined they would be copied once more.

    sync: in a folder, have it on disk before it gets its name.
    """
    if isinstance(place, Path):
        with whole_file(place / name, sync=sync) as partial, partial.open("wb") as file:
            file.writelines(parts)
        return
    settled(_opened(place).write(name, b"".join(parts)), f"{below(place, name)}: cannot be written")


def delete_file(place: Location, name: str) -> None:
    """Whether it is there or not.

    Raises:
        StoreError: the place does not answer.
    """
    settled(_opened(place).write(name, None), f"{below(place, name)}: cannot be deleted")


def refuse_foreign(place: Location) -> None:
    """Pass if `whole_group` may write here: nothing there, or a group; brings back what a kill had moved aside.

    Raises:
        SettingsError: something else is there.
    """
    if isinstance(place, Path):
        restore_folder(place)
        refuse_foreign_folder(place, known_by=METADATA)
    elif read_files(place, [METADATA, UNFINISHED]) == [None, None] and _listed(place):
        raise SettingsError(f"{place}: holds something that is no group of ours; give another place")


def _listed(place: Location) -> list[bytes]:
    return settled(_opened(place).list(), f"{place}: cannot be listed")


@contextmanager
def whole_group(place: Location) -> Iterator[Location]:
    """Give an empty place to write a group to, its zarr.json last; it becomes `place`, or leaves no group there.

    Raises:
        SettingsError: something else is there.
    """
    refuse_foreign(place)
    if isinstance(place, Path):
        with whole_folder(place, known_by=METADATA) as partial:
            yield partial
        return
    remove_group(place)
    write_file(place, UNFINISHED, b"")
    yield place
    delete_file(place, UNFINISHED)


def remove_group(place: Location) -> None:
    """Remove a group: whole or gone."""
    if isinstance(place, Path):
        remove_folder(place)
        return
    opened, what = _opened(place), f"{place}: cannot be removed"
    if exists_at(place, METADATA):
        settled(opened.write(UNFINISHED, b""), what)
        settled(opened.write(METADATA, None), what)
    settled(opened.delete_range(tensorstore.KvStore.KeyRange()), what)
