"""Settings of the server of pages and of the API."""

import re
from pathlib import Path

from pydantic import Field, field_validator

from ..storage import Settings

__all__ = ["ServerSettings"]

_BASE_URL = re.compile(r"/|(/[A-Za-z0-9._~@-]+)+")


class ServerSettings(Settings):
    """Address of the server, and what it allows."""

    port: int = Field(default=0, ge=0, le=65_535)
    """Port; 0 takes a free one."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on. Others than 127.0.0.1 let other machines in, without encryption."""
    base_url: str = "/"
    """Path of the page behind a proxy, such as /proxy/8000."""
    socket: Path | None = None
    """Unix socket to listen on instead of a port; only its owner can connect."""
    browser: bool = True
    """Open the page in a browser."""
    read_only: bool = False
    """Refuse to save anything."""
    allow_host: tuple[str, ...] = ()
    """Further host names that the page may be opened under, such as that of a proxy."""

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        path = "/" + value.strip("/")
        if not _BASE_URL.fullmatch(path):
            raise ValueError(f"base_url is {value!r}; give a path such as /proxy/8000")
        return path
