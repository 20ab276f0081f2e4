"""The script with which QuPath talks to this server, put together from its parts."""

from importlib.resources import files

__all__ = ["QUPATH_SCRIPT", "make_qupath_script"]

QUPATH_SCRIPT = "gigaslide.groovy"
PARTS = ("actions", "server", "image", "windows")


def make_qupath_script() -> bytes:
    """Return the Groovy script, UTF-8. QuPath runs single files, so the parts become one."""
    folder = files(__package__ or "") / "qupath"
    return b"\n".join((folder / f"{name}.groovy").read_bytes() for name in PARTS)
