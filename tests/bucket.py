"""A bucket on an S3 server that the tests start; imported late, for most tests do without."""

import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Bucket:
    """An S3 server with one bucket, which counts what it sends."""

    def __init__(self) -> None:
        serving = pytest.importorskip("werkzeug.serving")
        moto = pytest.importorskip("moto.moto_server.werkzeug_app")
        self.sent, self.requests = 0, 0
        self.refusal: Callable[[str, str], str | None] = lambda *_: None
        """Of a request, by its method and path: None, or the status with which it is refused,
        having done nothing."""
        app = moto.DomainDispatcherApplication(moto.create_backend_app)
        self._server = serving.make_server("127.0.0.1", 0, self._counted(app), threaded=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _counted(self, app):
        def counted(environ, start_response) -> Iterator[bytes]:
            self.requests += 1
            status = self.refusal(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            if status is not None:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response(status, [("Content-Length", "0")])
                return
            for part in app(environ, start_response):
                self.sent += len(part)
                yield part

        return counted

    def upload(self, path: Path, key: str) -> str:
        s3fs().put(str(path), f"slides/{key}", recursive=path.is_dir())
        return f"s3://slides/{key}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def s3fs():
    """The bucket's files, asked for anew."""
    from s3fs import S3FileSystem

    return S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def after(changes: int) -> Callable[[str, str], str | None]:
    """So many changes are done and no more, as to a run that is killed there."""
    done = []

    def refusal(method: str, _: str) -> str | None:
        done.extend([method] if method in ("PUT", "POST", "DELETE") else [])
        return "403 Forbidden" if len(done) > changes else None

    return refusal


def hang_up(file_systems: type) -> None:
    """Let go of connections that are kept for the process's whole life; zarr-python never closes
    its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        file_systems.clear_instance_cache()
        gc.collect()


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    file_systems = pytest.importorskip("s3fs").S3FileSystem
    with pytest.MonkeyPatch.context() as patch:
        served = Bucket()
        for name, value in {
            "AWS_ENDPOINT_URL": served.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        s3fs().makedirs("slides", exist_ok=True)  # moto keeps it between servers
        yield served
        served.close()
        hang_up(file_systems)


@pytest.fixture
def requests(bucket) -> Iterator[Callable]:
    """Sets which requests are refused: see `Bucket.refusal`."""
    before = bucket.refusal
    yield lambda refusal=before: setattr(bucket, "refusal", refusal)
    bucket.refusal = before
