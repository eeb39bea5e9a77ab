"""A file of options, what is told and logged, and completion."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.cli import COMMANDS, build_parser, main
from tessera_mosaic.pipeline.commands.config_file import with_config
from tessera_mosaic.pipeline.console import TOLD, log_to, quiet, set_up_logging, tell
from tessera_mosaic.pipeline.errors import BadInput

REGION = 'region = "7.0,46.0,7.01,46.01"\nyear = 2024\n'


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return str(path)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--store")
    made.add_argument("--workers", type=int)
    made.add_argument("--allow-host", action="append")
    made.add_argument("--overwrite", nargs="+")
    made.add_argument("--depths", action="store_true")
    loud = made.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", action="store_true")
    loud.add_argument("--quiet", action="store_true")
    made.add_argument("--config")
    return made


@pytest.mark.parametrize(
    ("told", "words", "found"),
    [
        ('store = "a"\nworkers = 2', [], ["--store=a", "--workers=2"]),
        ('store = "a"\nworkers = 2', ["--store", "b"], ["--workers=2"]),
        ('store = "a"', ["--store=b"], []),
        ('allow_host = ["x", "y"]', [], ["--allow-host=x", "--allow-host=y"]),
        ('allow-host = "x"', [], ["--allow-host=x"]),
        ('allow-host = ["x"]', ["--allow-host", "z"], []),
        ('overwrite = ["t1", "t2"]', [], ["--overwrite", "t1", "t2"]),
        ("depths = true", [], ["--depths"]),
        ("depths = false", [], []),
        ("verbose = true", ["--quiet"], []),
        ("quiet = true", ["-v"], []),
        ("", [], []),
    ],
)
def test_options_come_from_a_file_and_the_command_line_wins(
    told: str, words: list[str], found: list[str], tmp_path: Path
) -> None:
    given = [*words, "--config", config(tmp_path, told)]
    assert with_config(given, parser()) == [*found, *given]
    parser().parse_args(with_config(given, parser()))


def test_without_a_file_words_stay_as_they_are() -> None:
    assert with_config(["--store", "a"], parser()) == ["--store", "a"]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ('stoer = "a"', "unknown option --stoer; did you mean --store?"),
        ("nothing_like_it = 1", "unknown option --nothing-like-it"),
        ('config = "b.toml"', "unknown option --config"),
        ("help = true", "unknown option --help"),
        ('[run]\nstore = "a"', "unknown option --run"),
        ('[store]\na = "b"', "store takes a text or a number"),
        ("store = true", "store takes a text or a number"),
        ('store = ["a", "b"]', "store takes one value"),
        ("depths = 1", "depths is true or false"),
        ("store = 2024-01-01", "store takes a text or a number"),
        ("store = ", "no TOML file"),
        ("store = 'a'\nstore = 'b'", "no TOML file"),
    ],
)
def test_what_a_file_may_not_say_is_refused_in_one_line(
    told: str, says: str, tmp_path: Path
) -> None:
    path = config(tmp_path, told)
    with pytest.raises(BadInput, match=says.replace("?", r"\?")) as caught:
        with_config([f"--config={path}"], parser())
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        assert main(["plan", "--config", str(path)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"tessera-mosaic plan: --config {path}: it cannot be read")
        assert len(told.splitlines()) == 1


def test_options_of_beam_may_stand_in_a_file(tmp_path: Path) -> None:
    path = config(tmp_path, 'machine_type = "g2-standard-8"\nno_use_public_ips = true')
    words = ["--config", path]
    assert with_config(words, parser(), takes_beam_options=True) == [
        "--machine_type=g2-standard-8",
        "--no_use_public_ips",
        *words,
    ]
    with pytest.raises(BadInput, match=r"run.toml: unknown option --machine_typo"):
        with_config(["--config", config(tmp_path, "machine_typo = 1")], parser(), True)
    given = ["--machine_type=n", "--config", config(tmp_path, 'machine_type = "g"')]
    assert with_config(given, parser(), True) == given


def test_a_plan_of_a_file_is_that_of_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(tmp_path, REGION + 'pixels = "inside"\n')
    assert main(["plan", "--config", path, "--json"]) == 0
    inside = json.loads(capsys.readouterr().out)
    assert main(["plan", f"--config={path}", "--pixels=all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pixels"] > inside["pixels"] > 0


def test_quiet_tells_errors_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(tmp_path, REGION)
    assert main(["plan", "--config", path, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["plan", "--config", path, "--quiet", "--workers", "0"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "at least one machine" in told.err
    assert main(["plan", "--config", path, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles"] == 1
    tell()


def test_a_log_is_added_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, path = tmp_path / "logs" / "plan.log", config(tmp_path, REGION)
    words = ["plan", "--config", path, "--log-file", str(log)]
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    assert main([*words, "--tile", "100"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    lines = log.read_text().splitlines()
    assert [line.split(": ")[1].split(" ")[1] for line in lines] == ["begins", "ends"] * 2
    assert "BadInput: --tile 100: such a side" in lines[-1]
    before = len(logging.getLogger().handlers)
    assert main([*words[:-1], str(tmp_path)]) == 2
    assert "--log-file" in capsys.readouterr().err
    assert len(logging.getLogger().handlers) == before


def test_verbose_tells_ours_and_what_was_told_goes_to_the_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    set_up_logging()
    ours, others = logging.getLogger("tessera_mosaic.x"), logging.getLogger("somebody")
    tell(verbose=True)
    handler = log_to(str(tmp_path / "a.log"))
    ours.info("a step\x1b[31m")
    ours.error("was printed", extra={TOLD: True})
    others.info("noise")
    handler.close()
    tell(quiet=True)
    assert quiet()
    ours.warning("a warning")
    tell()
    assert not quiet()
    assert capsys.readouterr().err == "INFO tessera_mosaic.x: a step\\x1b[31m\n"
    logged = (tmp_path / "a.log").read_text().splitlines()
    assert ["a step" in logged[0], "was printed" in logged[1]] == [True, True]


def test_every_command_has_the_common_options() -> None:
    whole = build_parser(all_commands=True)
    (commands,) = (each for each in whole._actions if each.dest == "command")
    assert isinstance(commands.choices, dict)
    for name in COMMANDS:
        known = commands.choices[name]._option_string_actions
        assert known.keys() >= {"--json", "--config", "-v", "--quiet", "--log-file"}, name


@pytest.fixture(scope="module")
def script() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tessera_mosaic", "completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def completed(script: str, words: list[str], cwd: Path) -> set[str]:
    """What bash offers for the last of some words."""
    program = f"""{script}
COMP_WORDS=({" ".join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1}
COMP_LINE="${{COMP_WORDS[*]}}" COMP_POINT=${{#COMP_LINE}}
function=$(complete -p tessera-mosaic | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" tessera-mosaic "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=cwd)
    return {word.strip() for word in done.stdout.splitlines()}


def test_bash_completes_commands_options_words_and_files(script: str, tmp_path: Path) -> None:
    (tmp_path / "valley.zarr").mkdir()
    assert completed(script, ["tessera-mosaic", "ver"], tmp_path) == {"verify"}
    options = completed(script, ["tessera-mosaic", "run", "--max"], tmp_path)
    assert "--max-failed-share" in options
    assert completed(script, ["tessera-mosaic", "run", "--precision", ""], tmp_path) == {
        "fp32",
        "bf16",
    }
    files = completed(script, ["tessera-mosaic", "run", "--store", "val"], tmp_path)
    assert {name.rstrip("/") for name in files} == {"valley.zarr"}


def test_zsh_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("#compdef tessera-mosaic")
    assert "--allow-lost-scenes" in told
    assert "_files" in told
    assert main(["completion", "zsh", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"].strip() == told.strip()
