"""Weights files: the published payloads, and everything else."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tessera_mosaic.model.checkpoints.checkpoint import (
    random_checkpoint,
    read_checkpoint,
    state_digest,
    write_checkpoint,
)
from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.model.checkpoints.untrusted import MOST_HEAD, MOST_VALUES
from tessera_mosaic.model.networks import empty_network
from tessera_mosaic.model.sizes import Family, Sizes
from tests.fakes.disk import small_disk

SIZES = Sizes(latent=3, layers=2, heads=4, feedforward=8, representation=16)
FAMILIES: tuple[Family, ...] = ("v1.0-float", "v1.0", "v1.1", "v2", "v2-teacher")

KEYS = {
    "v1_0_float": ("v1.0-float", Sizes(128, 8, 8, 4096, 128)),
    "v1_0_qat": ("v1.0", Sizes(128, 4, 4, 4096, 128)),
    "v1_1": ("v1.1", Sizes(192, 4, 4, 2048, 192)),
    "v2_student_nano": ("v2", Sizes(36, 2, 4, 384, 128)),
    "v2_student_small": ("v2", Sizes(64, 4, 4, 1024, 128)),
    "v2_student_medium": ("v2", Sizes(110, 4, 4, 1792, 128)),
    "v2_student_large": ("v2", Sizes(160, 4, 4, 2560, 128)),
    "v2_student_default_qk0": ("v2", Sizes(64, 4, 4, 1024, 128)),
    "v2_student_default_qk1": ("v2", Sizes(64, 4, 4, 1024, 128, qk_norm=True)),
    "v2_teacher": ("v2-teacher", Sizes(1024, 4, 4, 16384, 1024)),
}


@pytest.mark.parametrize("file", KEYS)
def test_networks_have_the_published_names_and_shapes(shared: Path, file: str) -> None:
    lines = (shared / f"golden/state_dicts/{file}.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    published = {key: shape for key, shape, _ in rows if not key.startswith("projector.")}
    family, sizes = KEYS[file]
    ours = {
        key: str(tuple(v.shape)) for key, v in empty_network(family, sizes).state_dict().items()
    }
    assert ours == published


@pytest.mark.parametrize(
    ("file", "family", "dropped"),
    [
        ("v1_0", "v1.0", 0),
        ("v1_1", "v1.1", 2),
        ("v2_nano", "v2", 0),
        ("v2_qknorm", "v2", 0),
        ("v2_teacher", "v2-teacher", 0),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_published_payloads_are_read_and_written(
    shared: Path, tmp_path: Path, file: str, family: Family, dropped: int, suffix: str
) -> None:
    checkpoint = read_checkpoint(shared / f"golden/encoders/{file}.pt")
    assert (checkpoint.family, checkpoint.dropped) == (family, dropped)
    write_checkpoint(checkpoint, tmp_path / f"again{suffix}")
    again = read_checkpoint(tmp_path / f"again{suffix}")
    assert (again.family, again.sizes) == (checkpoint.family, checkpoint.sizes)
    assert state_digest(again.state) == state_digest(checkpoint.state)
    assert [path.name for path in tmp_path.iterdir()] == [f"again{suffix}"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_known_by_its_parameters(tmp_path: Path, family: Family) -> None:
    checkpoint = random_checkpoint(SIZES, 1, family)
    write_checkpoint(checkpoint, tmp_path / "a.safetensors")
    again = read_checkpoint(tmp_path / "a.safetensors")
    assert (again.family, again.sizes) == (family, SIZES)


def test_random_parameters_are_the_same_on_every_machine() -> None:
    assert random_checkpoint(SIZES, 7).sha256 == random_checkpoint(SIZES, 7).sha256
    assert random_checkpoint(SIZES, 7).sha256 != random_checkpoint(SIZES, 8).sha256
    digest = "27fa0eaa4424c1ef3e91cc575f092609b6a972956b24bb2d9309e9264c9f2dd7"
    assert random_checkpoint(SIZES, 7).sha256 == digest


def test_a_file_is_the_same_whoever_writes_it(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(SIZES, 1)
    for name in ("a.safetensors", "b.safetensors", "a.pt"):
        write_checkpoint(checkpoint, tmp_path / name)
    one, two = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert one == two
    # Several entries of metadata would come in another order in every process.
    header = json.loads(one[8 : 8 + struct.unpack("<Q", one[:8])[0]])
    assert len(header["__metadata__"]) == 1
    plain = tmp_path / "plain"
    plain.touch()
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {plain.stat().st_mode}


def test_v1_names_may_carry_a_prefix_and_what_only_training_uses(tmp_path: Path) -> None:
    state = random_checkpoint(SIZES, 1, "v1.0").state
    payload = {f"_orig_mod.{key}": value for key, value in state.items()}
    payload |= {"projector.net.0.weight": torch.zeros(2), "observer.scale": torch.zeros(1)}
    torch.save({"model_state_dict": payload, "optimizer": {"lr": 0.1}}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    assert checkpoint.dropped == 2
    assert checkpoint.state.keys() == state.keys()


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda payload: payload["model"].pop(key)


def _changed(key: object, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda payload: payload["model"].__setitem__(key, value)


def _layers(more: int) -> Callable[[dict[str, Any]], None]:
    name = "s2_backbone.transformer_encoder.layers.{}.x"
    extra = {name.format(9 + index): torch.zeros(1) for index in range(more)}
    return lambda payload: payload["model"].update(extra)


def _endless() -> list[Any]:
    """A list that holds itself."""
    endless: list[Any] = []
    endless.append(endless)
    return endless


def _stating(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda payload: payload["args"].__setitem__(name, value)


QUERY = "s1_backbone.attn_pool.query.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without(QUERY), f'lacks parameters: 1, such as "{QUERY}"'),
        (_without("dim_reducer.4.weight"), "parameters that every v2 encoder has are missing"),
        (_changed("s3_backbone.x", torch.zeros(1)), "unknown parameters: 1, such as .s3_"),
        (_changed(QUERY, torch.zeros(12)), r"query.weight must have shape \(1, 12\)"),
        (_changed(QUERY, [1, 2]), "query.weight. is no plain tensor"),
        (_changed(QUERY, torch.zeros(1, 12).to_sparse()), "_rebuild_sparse_tensor"),
        (_changed(QUERY, torch.zeros(1, 12, device="meta")), "_rebuild_meta_tensor"),
        (_changed(QUERY, torch.zeros(1, 0)), "query.weight. is no plain tensor"),
        (_changed(QUERY, torch.zeros(1).expand(2**20, 2**24)), "claim 70,368,744,"),
        (_changed("x\ny" * 99, torch.zeros(1)), "unknown parameters"),
        (_changed((1, 2), torch.zeros(1)), "have no names"),
        (_layers(3000), "3,002 layers are more than"),
        (_changed(QUERY, torch.zeros(1, 12, dtype=torch.float64)), "must be float32"),
        (_changed(QUERY, torch.full((1, 12), torch.nan)), "not finite"),
        (_stating("latent_dim", 4), "states latent_dim 4, and its parameters are for 3"),
        (_stating("nhead", 5), "width of 12 in 5 heads"),
        (_stating("nhead", "4"), 'in "4" heads'),
        (_stating("nhead", 10**600), r"in \(int\) heads"),
        (_stating("latent_dim", torch.zeros(3)), r"states latent_dim \(Tensor\)"),
        (_stating("latent_dim", {(1, 2): 3}), r"states latent_dim \(dict\)"),
        (_stating("num_obs_checkpoints", _endless()), r"states num_obs_checkpoints \(list\)"),
        (_stating("max_seq_len", 512), "states max_seq_len 512"),
    ],
)
def test_parameters_must_be_exactly_the_familys(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    write_checkpoint(random_checkpoint(SIZES, 1), tmp_path / "a.pt")
    payload = torch.load(tmp_path / "a.pt", weights_only=True)
    damage(payload)
    torch.save(payload, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path / "b.pt")
    assert "\n" not in str(caught.value)
    assert "b.pt" in str(caught.value)


class Bomb:
    """Would leave a trace if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def _write_torch(payload: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(payload, path)


def _write_safetensors(tensors: object, heads: object = 4) -> Callable[[Path], None]:
    """A file with that header, and as many bytes of zeros as it may want."""
    stated = f'{{"nhead": {heads}}}'
    header = json.dumps({"__metadata__": {"tessera": stated}, "x": tensors}).encode()
    return lambda path: path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_what_is_no_file_is_not_read(path: str) -> None:
    with pytest.raises(CheckpointError, match=f"^{path} is no file$"):
        read_checkpoint(path)


FOREIGN = {
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "no weights file"),
    "text": (lambda path: path.write_text("weights"), "no weights file"),
    "nothing": (lambda path: path.write_bytes(b""), "no weights file"),
    "a zip": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "cannot be read safely"),
    "a bomb": (_write_torch({"model": Bomb()}), "asks to run posix.mkdir"),
    "a list": (_write_torch([1, 2]), "no payload of a published family"),
    "no encoder": (_write_torch({"model": {"x": torch.zeros(1)}}), "no parameters of a TESSERA"),
    "half a safetensors": (
        lambda path: path.write_bytes(struct.pack("<Q", 9999) + b'{"a":'),
        "is damaged",
    ),
    "a shape without end": (
        _write_safetensors({"dtype": "F32", "shape": [2**63], "data_offsets": [0, 4]}),
        "is damaged",
    ),
    "heads without end": (
        _write_safetensors({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "9" * 5000),
        "is damaged",
    ),
    "more words than parameters": (
        lambda path: path.write_bytes(struct.pack("<Q", MOST_HEAD + 1) + b"{" + bytes(MOST_HEAD)),
        "says 4,194,305 bytes about its parameters",
    ),
    "more values than parameters": (
        _write_safetensors([[]] * (MOST_VALUES // 2)),
        r"says [\d,]+ bytes about its parameters",
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_anything_else_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write, message = FOREIGN[what]
    write(tmp_path / "f.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path / "f.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_a_truncated_file_is_no_weights(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        write_checkpoint(random_checkpoint(SIZES, 1), tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for share in (0.3, 0.9, 0.999):
            (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(CheckpointError):
                read_checkpoint(tmp_path / name)


def test_digests_names_and_places_are_checked(tmp_path: Path) -> None:
    write_checkpoint(random_checkpoint(SIZES, 1), tmp_path / "a.pt")
    digest = read_checkpoint(tmp_path / "a.pt").sha256
    assert read_checkpoint(tmp_path / "a.pt", digest).sha256 == digest
    with pytest.raises(CheckpointError, match=f"its sha256 is {digest}"):
        read_checkpoint(tmp_path / "a.pt", "0" * 64)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "b.pt")
    withdrawn = tmp_path / "best_model_fsdp_20260425_202039.pt"
    (tmp_path / "a.pt").rename(withdrawn)
    with pytest.raises(CheckpointError, match=r"is withdrawn: .* tessera_v1_1_aws_encoder\.pt"):
        read_checkpoint(withdrawn)
    with pytest.raises(CheckpointError, match=r"written as \.safetensors or \.pt"):
        write_checkpoint(random_checkpoint(SIZES, 1), tmp_path / "a.onnx")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_where_nothing_can_be_written_is_one_line_and_nothing_stays(
    tmp_path: Path, suffix: str
) -> None:
    checkpoint = random_checkpoint(SIZES, 1)
    (tmp_path / f"folder{suffix}").mkdir()
    for where, why in {
        f"folder{suffix}": "Is a directory",
        f"none/a{suffix}": "No such file or directory",
        f"{'a' * 250}{suffix}": "File name too long",
    }.items():
        with pytest.raises(CheckpointError, match=f"cannot be written: {why}"):
            write_checkpoint(checkpoint, tmp_path / where)
    with small_disk(1000), pytest.raises(CheckpointError, match=r"be written: .*too large"):
        write_checkpoint(checkpoint, tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"folder{suffix}"]
