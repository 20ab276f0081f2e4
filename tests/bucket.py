"""A bucket on an S3 server that the tests start; imported late, for most tests do without."""

import gc
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


class Bucket:
    """An S3 server with one bucket, which counts what it sends."""

    def __init__(self) -> None:
        serving = pytest.importorskip("werkzeug.serving")
        moto = pytest.importorskip("moto.moto_server.werkzeug_app")
        self.sent, self.requests = 0, 0
        app = moto.DomainDispatcherApplication(moto.create_backend_app)
        self._server = serving.make_server("127.0.0.1", 0, self._counted(app), threaded=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _counted(self, app):
        def counted(environ, start_response) -> Iterator[bytes]:
            self.requests += 1
            for part in app(environ, start_response):
                self.sent += len(part)
                yield part

        return counted

    def upload(self, path: Path, key: str) -> str:
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).put(str(path), f"slides/{key}", recursive=path.is_dir())
        return f"s3://slides/{key}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def hang_up(file_systems: type) -> None:
    """Let go of connections that are kept for the process's whole life; zarr-python never closes its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        file_systems.clear_instance_cache()
        gc.collect()


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    s3fs = pytest.importorskip("s3fs")
    with pytest.MonkeyPatch.context() as patch:
        served = Bucket()
        for name, value in {
            "AWS_ENDPOINT_URL": served.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem(skip_instance_cache=True).makedirs("slides", exist_ok=True)  # moto keeps it between servers
        yield served
        served.close()
        hang_up(s3fs.S3FileSystem)
