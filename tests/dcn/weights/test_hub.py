"""A hub that does not answer: one try, soon over, and a message with both ways out."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from dcn.backbone import Backbone
from dcn.errors import WeightsUnavailableError
from dcn.weights.hub import require_hub
from tests.servers import here


class DeafHub:
    """Accepts connections on loopback, counts them, and closes them without an answer."""

    def __init__(self) -> None:
        self.tries = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                connection, _ = self._socket.accept()
                self.tries += 1
                connection.close()
        except OSError:  # closed
            return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DeafHub]:
    deaf = DeafHub()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", deaf.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    yield deaf
    deaf.close()


def test_there_is_one_short_try_and_both_ways_out_are_named(hub: DeafHub) -> None:
    began = time.monotonic()
    with pytest.raises(WeightsUnavailableError) as caught:
        Backbone.from_preset("dino-s8")
    message = str(caught.value)
    assert message.startswith(
        f"the weights of dino-s8 (vit_small_patch8_224.dino) could not be downloaded: {hub.address} does not answer: "
    )
    assert "take the backbone focus-s14" in message
    assert (
        "model.safetensors of timm/vit_small_patch8_224.dino or the authors' dino_deitsmall8_pretrain.pth"
        in message
    )
    assert hub.tries == 1
    assert time.monotonic() - began < here(5)


def test_weights_that_are_in_the_cache_need_no_answer(hub: DeafHub, tmp_path: Path) -> None:
    (tmp_path / "models--timm--vit" / "snapshots" / "1").mkdir(parents=True)
    require_hub("timm/vit")
    assert hub.tries == 0
    with pytest.raises(ConnectionError, match="does not answer"):
        require_hub("timm/another")
