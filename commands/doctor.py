"""Checks a configuration before a long run: what would fail in it, how long it takes, and what it needs. Changes nothing.

Each line is `ok`, `warning` (the run continues) or `problem` (it would fail, perhaps hours later). A problem
gives exit status 1. It takes seconds without a GPU, because nothing here imports TensorFlow then; an unresponsive network adds
to that.
"""

import argparse
import json
import sys
from collections.abc import Iterator

import yaml

from pipeline.check_results import CheckResult, refused
from pipeline.checks.costs import check_disk, check_memory, check_time
from pipeline.checks.machine import check_gpu, check_scripts, check_versions, find_gpus
from pipeline.checks.repository import check_git, check_params, is_made
from pipeline.checks.settings import check_settings
from pipeline.checks.source import check_source
from pipeline.checks.tracking import check_tracking
from pipeline.checks.weights import check_needed_weights
from pipeline.console import UserError, run_command
from pipeline.params import PARAMS_FILE, load_params


def examine() -> Iterator[CheckResult]:
    """Yields every check result, in the order of a run; those that need params.yaml only if it can be read."""
    yield check_versions()
    yield from check_scripts()
    yield from check_git()
    gpus = find_gpus()
    result, has_gpu = check_gpu(gpus)
    yield result
    try:
        params = load_params()
    except UserError as error:
        yield check_tracking()
        yield refused("params", error)
        return
    yield check_tracking(params.tracking.experiment or params.data.name)
    content = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))
    yield check_params(content)
    yield from check_settings(params, has_gpu)
    needed = not is_made("download", content)
    results, planned = check_source(params.data, params.seed, params.speed, needed, params.frames.image_rate)
    yield from results
    stage = "embed" if params.finetune.frozen else "finetune"
    yield check_needed_weights(params.model, needed=not is_made(stage, content))
    yield check_memory(params, gpus, has_gpu)
    if planned is not None:
        yield from check_disk(params, planned)
        yield check_time(params, planned, has_gpu)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="a list of {check, status, message, advice} instead of text")
    parser.add_argument("--quiet", action="store_true", help="only warnings and problems")
    options = parser.parse_args()
    results = []
    for result in examine():
        results.append(result)
        if not options.json and not (options.quiet and result.status == "ok"):
            print(result.text(), flush=True)
    if options.json:
        print(json.dumps([result.as_dict() for result in results], indent=2, ensure_ascii=False))
    if any(result.status == "problem" for result in results):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
