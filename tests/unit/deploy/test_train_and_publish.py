"""deploy/train-and-publish.sh, with a stand-in for the interpreter that notes what it is asked."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "train-and-publish.sh"

TRAINING = "model train demo/dataset --out demo/run --resume"

# Notes the command line, then leaves what the real command would leave. Fails at the step FAIL_AT;
# at the step STOP_AT, it is stopped by a signal and has nothing to leave.
STAND_IN = """#!/usr/bin/env bash
set -euo pipefail
if [[ $1 == -c ]]; then exec python3 "$@"; fi
echo "${@:2}" >>"$NOTES"
if [[ "$2 $3" == "${FAIL_AT:-}" ]]; then exit 1; fi
if [[ "$2 $3" == "${STOP_AT:-}" ]]; then exit 0; fi
while [[ $1 != --out && $1 != --registry ]]; do shift; done
mkdir -p "$2"
case $(tail -n 1 "$NOTES") in
  "model train"*) echo '{}' >"$2/run.json" ;;
  "index build"*) echo '{"version": "v1"}' >"$2/manifest.json" ;;
  "index publish"*) mkdir -p "$2/bundles/v1"; echo v1 >"$2/CURRENT" ;;
esac
"""


class Pipeline:
    """Runs the script in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.python = folder / "stand-in"
        self.python.write_text(STAND_IN)
        self.python.chmod(0o755)

    def run(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = {"PYTHON": str(self.python), "NOTES": str(self.notes), **variables}
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATA", "REGISTRY", "SOURCE"}
        }
        return subprocess.run(
            [str(SCRIPT), *options],
            cwd=self.folder,
            env=kept | given,
            capture_output=True,
            text=True,
            check=False,
        )

    def commands(self) -> list[str]:
        """What was run since the last call."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)


def test_the_first_run_goes_from_data_to_a_published_bundle(pipeline: Pipeline) -> None:
    done = pipeline.run()

    assert done.returncode == 0, done.stderr
    assert pipeline.commands() == [
        "model movielens --out demo/movielens",
        "model prepare --interactions demo/movielens/interactions.csv"
        " --items demo/movielens/items.csv --out demo/dataset",
        TRAINING,
        "index build demo/run --out demo/bundle",
        "index publish demo/bundle --registry demo/registry",
    ]


def test_a_training_that_was_stopped_ends_the_run_and_the_next_one_goes_on(
    pipeline: Pipeline,
) -> None:
    done = pipeline.run(STOP_AT="model train")
    assert (done.returncode, pipeline.commands()[-1]) == (0, TRAINING)

    pipeline.run()
    assert pipeline.commands() == [
        TRAINING,
        "index build demo/run --out demo/bundle",
        "index publish demo/bundle --registry demo/registry",
    ]


def test_a_second_run_only_asks_whether_the_training_is_still_the_same(pipeline: Pipeline) -> None:
    pipeline.run()
    pipeline.commands()

    done = pipeline.run()

    assert done.returncode == 0, done.stderr
    assert pipeline.commands() == [TRAINING]
    assert done.stderr.count("done before") == 4


def test_a_failed_step_stops_the_run_and_the_next_run_goes_on_there(pipeline: Pipeline) -> None:
    failed = pipeline.run(FAIL_AT="model train")

    assert failed.returncode == 1
    assert [command.split()[1] for command in pipeline.commands()] == [
        "movielens",
        "prepare",
        "train",
    ]
    assert pipeline.run().returncode == 0
    assert [command.split()[1] for command in pipeline.commands()] == ["train", "build", "publish"]


def test_a_bundle_that_was_rolled_back_is_not_made_live_again(pipeline: Pipeline) -> None:
    pipeline.run()
    current = pipeline.folder / "demo" / "registry" / "CURRENT"
    current.write_text("v0")

    pipeline.run()

    assert current.read_text() == "v0"


def test_a_registry_without_a_live_bundle_gets_one(pipeline: Pipeline) -> None:
    pipeline.run()
    pipeline.commands()
    (pipeline.folder / "demo" / "registry" / "CURRENT").unlink()

    pipeline.run()

    publishing = "index publish demo/bundle --registry demo/registry"
    assert pipeline.commands() == [TRAINING, publishing]


def test_folders_can_be_chosen_and_may_hold_spaces(pipeline: Pipeline) -> None:
    done = pipeline.run(DATA="my work", REGISTRY="my registry", SOURCE="my ml-1m")

    assert done.returncode == 0, done.stderr
    assert (pipeline.folder / "my work" / "bundle" / "manifest.json").exists()
    assert (pipeline.folder / "my registry" / "bundles" / "v1").exists()
    assert pipeline.commands()[0] == "model movielens --source my ml-1m --out my work/movielens"


def test_options_go_to_the_training(pipeline: Pipeline) -> None:
    pipeline.run("--max-len", "20")

    assert pipeline.commands()[2] == (
        "model train demo/dataset --out demo/run --resume --max-len 20"
    )


def test_data_of_another_source_is_refused(pipeline: Pipeline) -> None:
    pipeline.run()
    pipeline.commands()

    refused = pipeline.run(SOURCE="ml-1m")

    assert refused.returncode == 1
    assert refused.stderr.startswith("error: demo was made from SOURCE=''")
    assert pipeline.commands() == []
