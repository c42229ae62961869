"""Files of weights: read by their content, refused by what they are, and only for the model that they belong to."""

import argparse
import gzip
import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save, save_file
from torch import nn

from dcn.backbone import Backbone
from dcn.errors import WeightsUnavailableError
from dcn.weights.fit import load_fitting
from dcn.weights.pretrained import read_state_dict

TINY_VIT = "vit_tiny_patch16_224"
SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}


def vit(name: str = TINY_VIT, **changes: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, **{"num_classes": 0, "dynamic_img_size": True, **SMALL, **changes})


def fit(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    convert: Any = sys.modules[type(model).__module__].checkpoint_filter_fn
    load_fitting(model, state, convert, "x.pth does not fit x")


def torch_bytes(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


STATE = {"cls_token": torch.arange(6.0).view(1, 1, 6), "norm.weight": torch.ones(6)}


class TestFormats:
    @pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin", ""])
    @pytest.mark.parametrize(
        "content",
        [save(STATE), torch_bytes(STATE), torch_bytes(STATE, _use_new_zipfile_serialization=False)],
        ids=["safetensors", "torch", "old torch"],
    )
    def test_the_content_decides_the_format(self, tmp_path: Path, content: bytes, suffix: str) -> None:
        path = tmp_path / f"weights.{suffix}"
        path.write_bytes(content)
        assert {name: value.tolist() for name, value in read_state_dict(path).items()} == {
            name: value.tolist() for name, value in STATE.items()
        }

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "an empty file; download it again"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 88180352\n",
                "a pointer of Git LFS instead of the file; fetch the file with `git lfs pull`",
            ),
            (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page instead of the file .*; download it again"),
            (b"\xef\xbb\xbf<html lang=en>", "a web page instead of the file"),
            (b"Entry not found", "a text that begins with 'Entry not found'; download it again"),
            (b'{"error":{"code": 401}}', "a text that begins with .*; download it again"),
            (gzip.compress(b"x", mtime=0), "a gzip archive; unpack it"),
            (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes; give a .safetensors or PyTorch file"),
            (b"GGUF\x03\0\0\0" + bytes(99), "a GGUF file; give"),
            (b"\x93NUMPY\x01\0" + bytes(99), "a NumPy array; give"),
            (bytes(999), "neither a safetensors file nor one of PyTorch"),
            (b"\x08\x07\x12\x07pytorch" + bytes(range(256)), "neither a safetensors file nor one of PyTorch"),  # ONNX
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    def test_what_is_no_file_of_weights_is_called_what_it_is(
        self, tmp_path: Path, content: bytes, words: str, suffix: str
    ) -> None:
        assert_refused(tmp_path / f"x.{suffix}", content, f"cannot be read as weights: it is {words}")

    @pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    @pytest.mark.parametrize(
        "content",
        [save(STATE), torch_bytes(STATE), torch_bytes(STATE, _use_new_zipfile_serialization=False)],
        ids=["safetensors", "torch", "old torch"],
    )
    def test_a_file_whose_download_broke_off_is_incomplete(
        self, tmp_path: Path, content: bytes, share: float
    ) -> None:
        assert_refused(tmp_path / "x.pth", content[: round(share * len(content))], "; download it again")

    def test_the_sizes_of_an_incomplete_file_are_named(self, tmp_path: Path) -> None:
        content = save(STATE)
        words = rf"an incomplete safetensors file \({len(content) - 4} of {len(content)} bytes\); download"
        assert_refused(tmp_path / "x.pth", content[:-4], words)

    def test_programs_and_archives_are_told_from_weights(self, tmp_path: Path) -> None:
        script = io.BytesIO()
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), script)
        assert_refused(
            tmp_path / "x.pt", script.getvalue(), "a program of TorchScript, and programs are not run"
        )
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("weights.pth", torch_bytes(STATE))
        assert_refused(tmp_path / "x.pth", archive.getvalue(), "a ZIP archive, not a PyTorch file; unpack it")

    def test_a_compressed_archive_is_not_unpacked_into_memory(self, tmp_path: Path) -> None:
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x/data.pkl", bytes(1 << 24))
        assert_refused(tmp_path / "x.pth", bomb.getvalue(), "a ZIP archive, not a PyTorch file")

    @pytest.mark.parametrize(
        "header",
        [b"{", b"{}x", b'{"a":1}', b'{"a":{"data_offsets":[0,"x"]}}', b'{"a":{"data_offsets":[0,9,9]}}', b"[" * 9000],
    )  # fmt: skip
    def test_a_damaged_header_is_refused(self, tmp_path: Path, header: bytes) -> None:
        content = len(header).to_bytes(8, "little") + header + bytes(9)
        words = "damaged|neither" if header[:1] == b"{" else "neither"
        assert_refused(tmp_path / "x.safetensors", content, words)

    def test_a_folder_is_called_one(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsUnavailableError, match="is a folder; name the file of weights"):
            read_state_dict(tmp_path)


def assert_refused(path: Path, content: bytes, words: str) -> None:
    """One line, which does not advise to run code from the file."""
    path.write_bytes(content)
    with pytest.raises(WeightsUnavailableError, match=words) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert "\n" not in message
    assert "weights_only" not in message
    assert "arbitrary" not in message


class TestTrainingCheckpoints:
    """As `main_dino.py` of the DINO authors saves them."""

    options = argparse.Namespace(arch="vit_small", patch_size=16, out_dim=65536, use_fp16=True, lr=5e-4)

    def checkpoint(self, **models: object) -> dict[str, object]:
        optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(2))]).state_dict()
        loss = {"center": torch.zeros(1, 4)}
        return {**models, "optimizer": optimizer, "epoch": 100, "args": self.options, "dino_loss": loss}

    def test_the_teacher_is_read_and_not_the_student(self, tmp_path: Path) -> None:
        teacher = {f"backbone.{name}": value for name, value in STATE.items()} | {
            "head.mlp.0.weight": torch.ones(1)
        }
        student = {f"module.backbone.{name}": -value for name, value in STATE.items()}
        content = self.checkpoint(student=student, teacher=teacher, fp16_scaler={"scale": 1.0})
        torch.save(content, tmp_path / "checkpoint0100.pth")
        found = read_state_dict(tmp_path / "checkpoint0100.pth")
        assert found.keys() == STATE.keys()
        torch.testing.assert_close(found["cls_token"], STATE["cls_token"])

    def test_the_student_is_read_where_there_is_no_teacher(self, tmp_path: Path) -> None:
        student = {f"module.backbone.{name}": value for name, value in STATE.items()}
        torch.save(self.checkpoint(student={**student, "module.head.x": torch.ones(1)}), tmp_path / "c.pth")
        assert read_state_dict(tmp_path / "c.pth").keys() == STATE.keys()

    def test_prefixes_are_cut_off_in_safetensors_as_well(self, tmp_path: Path) -> None:
        save_file({f"_orig_mod.backbone.{name}": v for name, v in STATE.items()}, tmp_path / "c.safetensors")
        assert read_state_dict(tmp_path / "c.safetensors").keys() == STATE.keys()

    def test_options_run_no_code(self, tmp_path: Path) -> None:
        class Attack:
            def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
                return Path.touch, (tmp_path / "was-run",)

        content = self.checkpoint(teacher=STATE) | {"args": argparse.Namespace(output_dir=Attack())}
        assert_refused(
            tmp_path / "c.pth", torch_bytes(content), "it holds .*save the state dict of the model alone"
        )
        assert not (tmp_path / "was-run").exists()

    def test_foreign_objects_are_named(self, tmp_path: Path) -> None:
        content = torch_bytes({"state_dict": STATE, "when": io.StringIO})
        assert_refused(
            tmp_path / "c.pth", content, r"it holds objects of _?io\.StringIO, or is damaged; save the"
        )
        assert_refused(
            tmp_path / "c.pth",
            pickle.dumps(np.float64),
            "it holds more than tensors, or is damaged; save the",
        )
        torch.save({"epoch": 3, "names": ["a"]}, tmp_path / "c.pth")
        with pytest.raises(WeightsUnavailableError, match="holds no state dict"):
            read_state_dict(tmp_path / "c.pth")


class TestFit:
    def test_weights_of_another_patch_size_are_refused_with_both_sizes(self, tmp_path: Path) -> None:
        """The library timm would resample them, and nobody would notice."""
        torch.manual_seed(0)
        save_file(
            timm.create_model("vit_small_patch16_224", num_classes=0).state_dict(), tmp_path / "s16.pth"
        )
        with pytest.raises(WeightsUnavailableError) as caught:
            Backbone.from_preset("dino-s8", tmp_path / "s16.pth")
        assert str(caught.value) == (
            f"{tmp_path / 's16.pth'} does not fit dino-s8 (vit_small_patch8_224.dino): patch_embed.proj.weight "
            f"has the shape 384 x 3 x 16 x 16, and that of the model is 384 x 3 x 8 x 8 (patches of 16 pixels, "
            f"not 8)"
        )

    def test_a_position_grid_of_another_size_is_resampled(self) -> None:
        model, larger = vit(img_size=64), vit(img_size=96)
        fit(model, larger.state_dict())
        assert model.pos_embed.shape == (1, 17, 48)
        assert larger.pos_embed.shape == (1, 37, 48)
        torch.testing.assert_close(model.pos_embed[:, 0], larger.pos_embed[:, 0])  # that of CLS is no grid
        torch.testing.assert_close(model.blocks[1].mlp.fc1.weight, larger.blocks[1].mlp.fc1.weight)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"patch_size": 8}, "patch_embed.proj.weight has the shape 48 x 3 x 8 x 8, and that of the model is 48 x 3 x 16 x 16"),
            ({"embed_dim": 96}, "has the shape 96 x 3 x 16 x 16, and that of the model is 48 x 3 x 16 x 16|has the shape 1 x 1 x 96, and that of the model is 1 x 1 x 48"),
            ({"mlp_ratio": 2}, "blocks.0.mlp.fc1.weight has the shape 96 x 48, and that of the model is 192 x 48"),
            ({"depth": 3}, "that model has no blocks.2.norm1.weight, .* and 9 more"),
            ({"depth": 1}, "it lacks blocks.1.norm1.weight, .* and 9 more"),
            ({"reg_tokens": 4}, "pos_embed has the shape 1 x 201 x 48, and that of the model is 1 x 197 x 48$"),
            ({"reg_tokens": 4, "no_embed_class": True}, "pos_embed has|that model has no reg_token"),
            ({"init_values": 1e-5}, "that model has no blocks.0.ls1.gamma"),
            ({"pre_norm": True}, "it lacks patch_embed.proj.bias$"),
            ({"class_token": False, "global_pool": "avg", "fc_norm": False}, "it lacks cls_token|pos_embed"),
        ],
    )  # fmt: skip
    def test_weights_of_another_architecture_are_refused(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(WeightsUnavailableError, match=f"x.pth does not fit x: .*({words})"):
            fit(vit(), vit(**changes).state_dict())

    def test_a_position_grid_that_is_no_square_is_refused(self) -> None:
        state = vit().state_dict()
        state["pos_embed"] = state["pos_embed"][:, :-1]
        with pytest.raises(
            WeightsUnavailableError, match="pos_embed has the shape 1 x 196 x 48, and that of the"
        ):
            fit(vit(), state)

    def test_heads_and_parts_of_the_training_are_left_out(self) -> None:
        state = vit(num_classes=7).state_dict()
        assert "head.weight" in state
        fit(vit(), state | {"dino_head.mlp.0.weight": torch.ones(2, 2), "decoder_pred.bias": torch.ones(2)})

    def test_a_file_that_lacks_tensors_is_refused(self, tmp_path: Path) -> None:
        header = json.dumps({"blocks.0.x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        path = tmp_path / "x.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        with pytest.raises(
            WeightsUnavailableError, match="it lacks cls_token, pos_embed, patch_embed.proj.weight and"
        ):
            Backbone.from_preset(TINY_VIT, path)
