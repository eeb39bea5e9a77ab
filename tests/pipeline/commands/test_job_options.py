"""What every command takes that starts a tile job arrives in its request."""

from __future__ import annotations

import pytest

from tessera_mosaic.pipeline.cli import build_parser
from tessera_mosaic.pipeline.commands.adopt import adopt_request
from tessera_mosaic.pipeline.commands.map import map_request
from tessera_mosaic.pipeline.commands.run import run_request
from tessera_mosaic.pipeline.commands.sample import sample_request
from tessera_mosaic.pipeline.commands.search import search_request

LAND = ["--catalog=c", "--region=2,50,3,51"]

COMMANDS = {
    "run": (run_request, ["--store=s", *LAND]),
    "annual": (run_request, ["--store=s", *LAND]),
    "sample": (sample_request, ["--out=s", *LAND]),
    "adopt": (adopt_request, ["--store=s", "--from=d", "--model=m"]),
    "map": (map_request, ["--store=m", "--head=h", "--region=2,50,3,51", "--out=s"]),
    "search": (search_request, ["--store=m", "--like=2,50", "--out=hits.parquet"]),
}
"""What makes the request of each command, and the words that it needs."""


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_the_store_arrive_in_every_job(command: str) -> None:
    request_of, words = COMMANDS[command]
    more = ["--store-patience=7", "--single-launcher"]
    for given, wanted in ((more, (7.0, True)), ([], (300.0, False))):
        parser = build_parser(command)
        args, args.beam_arguments = parser.parse_known_args(
            [command, *words, "--year=2024", *given]
        )
        options = request_of(args).job_options()
        assert (options["store_patience"], options["single_launcher"]) == wanted
