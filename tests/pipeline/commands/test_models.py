"""The command `models`: cards are listed, weights fetched, inspected and converted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.model.cards import KNOWN, SHIPPED
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.pipeline.cli import main
from tests.fakes.web import fake_web


def test_the_shipped_weights_are_pulled_already(said: Callable[..., Any]) -> None:
    told = said("models", "pull", SHIPPED.name)
    assert told == {"model": SHIPPED.name, "path": str(WEIGHTS), "sha256": SHIPPED.sha256}


def test_no_credential_of_an_address_is_told(
    golden: Path, tmp_path: Path, said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = (golden / "v2_qknorm.pt").read_bytes()
    with fake_web(lambda request: (200, {}, data)) as address:
        told = said("models", "inspect", f"{address}/a.pt?token=secret")
    assert told["file"] == f"{address}/a.pt"
    assert told["bytes"] == len(data)


def test_the_cards_are_listed(said: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    told = said("models")["models"]
    assert [card["name"] for card in told] == list(KNOWN)
    assert told[-1]["parameters"] == 2_064_266_242
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    table = text.splitlines()[: len(told) + 1]
    medium = next(line for line in table if line.startswith("v2-medium"))
    assert "21,031,506" in medium
    assert "CC0-1.0" in medium
    assert "v2-medium: Its one set of statistics was taken from imagery of mpc" in text


def test_weights_are_inspected_and_converted(
    golden: Path, tmp_path: Path, said: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = said("models", "inspect", golden / "v1_1.pt")
    assert (told["family"], told["ignored"], told["published"]) == ("v1.1", 2, None)
    assert told["parameters"] == 122_982
    there = said("models", "convert", golden / "v2_qknorm.pt", tmp_path / "a.safetensors")
    back = said("models", "convert", tmp_path / "a.safetensors", tmp_path / "a.pt")
    assert there["sizes"] == back["sizes"]
    assert there["sizes"]["qk_norm"] is True
    assert "written as .safetensors or .pt" in said(
        "models", "convert", golden / "v2_qknorm.pt", tmp_path / "a.bin"
    )
    shutil.copy(golden / "v2_nano.pt", tmp_path / "best_model_fsdp_20260425_202039.pt")
    assert "is withdrawn" in said(
        "models", "inspect", tmp_path / "best_model_fsdp_20260425_202039.pt"
    )
    assert main(["models", "inspect", str(golden / "v2_nano.pt")]) == 0
    assert "family      v2" in capsys.readouterr().out
