"""What the tests of commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.pipeline.cli import main


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden/encoders"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command: its JSON, or its one line of complaint."""

    def run(*arguments: object) -> Any:
        code = main([str(argument) for argument in (*arguments, "--json")])
        out, error = capsys.readouterr()
        if code == 0:
            return json.loads(out)
        assert code == 2
        assert not out
        assert error.count("\n") == 1
        return error

    return run
