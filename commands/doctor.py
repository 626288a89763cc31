"""Says, before a long run, what would go wrong in it, how long it will take, and what it needs. Changes nothing.

Each line is `ok`, `warning` (the run goes on) or `problem` (it would fail, perhaps hours later). Exit status 1 with any problem.
It takes seconds where there is no GPU, because nothing here imports TensorFlow then; a network that does not answer adds to that.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipeline.check_results import CheckResult, ok, problem, refused, warning
from pipeline.checks import costs, machine
from pipeline.checks.repository import cache_folder, check_git, check_params, is_made
from pipeline.checks.settings import check_settings
from pipeline.checks.source import Planned, check_source
from pipeline.checks.tracking import check_tracking
from pipeline.checks.weights import check_needed_weights
from pipeline.console import UserError, run_command
from pipeline.files import repository_root
from pipeline.params import PARAMS_FILE, Params, load_params

LONG = 12 * 3600  # seconds after which an estimate becomes a warning


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def check_time(params: Params, planned: Planned, has_gpu: bool) -> CheckResult:
    """How long a whole run takes, by the speed of a matrix product on this machine now."""
    if has_gpu:
        return ok("time", "not estimated: TensorFlow uses the GPU, and only the processor's speed is measured here")
    work, rate = costs.work(params, planned), machine.product_rate()
    seconds = work.seconds(rate, machine.cores())
    arithmetic = f"{work.gflop:,.{0 if work.gflop >= 10 else 1}f} GFLOP"
    line = (
        f"about {_duration(seconds)} from extract to report on these {machine.cores()} cores, downloading aside: an estimate "
        f"within a factor of {costs.WITHIN}, from {arithmetic} and a matrix product at {rate / 1e9:,.0f} GFLOP/s"
    )
    if seconds > LONG:
        return warning("time", line, "choose a smaller model, fewer clips or epochs, finetune=head, or a GPU")
    return ok("time", line)


def check_memory(params: Params, gpus: list[machine.Gpu], has_gpu: bool) -> CheckResult:
    """Whether the largest stage fits, by peaks measured for each variant on a processor."""
    need, what = costs.memory(params)
    free, where = (min(gpu.free for gpu in gpus), "on the GPU") if has_gpu else (machine.free_memory(), "")
    line = f"about {need / 1e9:.1f} GB at the peak ({what}; estimated), {free / 1e9:.1f} GB free {where}".rstrip()
    key = "embed.batch_size" if params.finetune.trainable == "head" else "finetune.batch_size"
    advice = f"lower {key} or frames.count, or close other programs"
    if need > 1.5 * free:
        return problem("memory", line, advice)
    return warning("memory", line, advice) if need > 0.8 * free else ok("memory", line)


def check_room(params: Params, planned: Planned) -> list[CheckResult]:
    """Whether the disks have room for what the run writes."""
    room, root = costs.room(params, planned), repository_root()
    wanted: dict[Path, int] = {}
    for folder, size in (
        (Path("data"), room.outputs),
        (root / ".cache", room.scratch),
        (cache_folder(), room.cache),
        (Path(tempfile.gettempdir()), room.temporary),
    ):
        wanted[folder] = wanted.get(folder, 0) + size
    return machine.check_disks(wanted)


def examine() -> Iterator[CheckResult]:
    """Every finding, in the order of a run. What needs params.yaml is left out where that cannot be read."""
    yield machine.check_versions()
    yield from check_git()
    gpus = machine.find_gpus()
    finding, has_gpu = machine.check_gpu(gpus)
    yield finding
    yield check_tracking()
    try:
        params = load_params()
    except UserError as error:
        yield refused("params", error)
        return
    content = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))
    yield check_params(content)
    yield from check_settings(params, has_gpu)
    needed = not is_made("download", content)
    findings, planned = check_source(params.data, params.seed, params.speed, needed, params.frames.image_rate)
    yield from findings
    user = "embed" if params.finetune.trainable == "head" else "finetune"
    yield check_needed_weights(params.model, needed=not is_made(user, content))
    yield check_memory(params, gpus, has_gpu)
    if planned is not None:
        yield from check_room(params, planned)
        yield check_time(params, planned, has_gpu)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="a list of {check, status, message, advice} instead of text")
    parser.add_argument("--quiet", action="store_true", help="only warnings and problems")
    options = parser.parse_args()
    found = []
    for finding in examine():
        found.append(finding)
        if not options.json and not (options.quiet and finding.status == "ok"):
            print(finding.text(), flush=True)
    if options.json:
        print(json.dumps([finding.as_dict() for finding in found], indent=2, ensure_ascii=False))
    if any(finding.status == "problem" for finding in found):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
