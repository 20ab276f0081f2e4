"""Loading a model beside other threads: it touches nothing that they use."""

import os
import threading
import time
import warnings

import pytest
from gigaslide.models.runtimes.loading import refuse_partial_weights, without_telemetry


def warn_from(module: str) -> None:
    """Warn as a line of that module does."""
    warnings.warn_explicit("a layer stays as it was", UserWarning, "f.py", 1, module=module)


def test_only_a_warning_of_keras_about_weights_is_an_error_meanwhile():
    seen = []

    def work() -> None:
        try:
            warn_from("gigaslide.wsi.slide")
            warn_from("keras.src.trainers")
        except UserWarning as error:
            seen.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with refuse_partial_weights():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            with pytest.raises(UserWarning, match="stays"):
                warn_from("keras.src.saving.saving_lib")
        warn_from("keras.src.saving.saving_lib")
    assert not seen


@pytest.mark.parametrize("before", [None, "mine"])
def test_converters_in_threads_leave_the_environment_as_it_was(monkeypatch, before):
    if before is None:
        monkeypatch.delenv("CI", raising=False)
    else:
        monkeypatch.setenv("CI", before)
    seen: list[str | None] = []

    def convert(seconds: float) -> None:
        with without_telemetry():
            time.sleep(seconds)
            seen.append(os.environ.get("CI"))

    threads = [threading.Thread(target=convert, args=(s,)) for s in (0.2, 0.05, 0.1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["true"] * 3
    assert os.environ.get("CI") == before
