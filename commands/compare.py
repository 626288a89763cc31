"""Which model is better, by how much, and on which clips: python -m commands.compare A B [C ...]

A model is a DVC experiment's name, a git commit, branch or tag, `workspace` (the present results), the id or name of an MLflow
run, or a folder that holds predictions.csv. Where a name fits several of these, a prefix chooses: folder:, exp:, git:, mlflow:.
The first model is the baseline. Nothing but the folder of the comparison is written, and a run in MLflow where there is a store.
"""

import argparse
import re
from pathlib import Path

from pipeline.arguments import at_least, check_out, fraction
from pipeline.comparison.compare import Comparison, Resampling, compare_models
from pipeline.comparison.content import flipping_clips, flips_frame, make_sections
from pipeline.comparison.names import has_store, locate_all
from pipeline.comparison.opening import open_model
from pipeline.comparison.results import ModelResults
from pipeline.comparison.wording import VERDICTS, caveats, describe_pair, describe_shared, points, show_accuracy, show_log_loss
from pipeline.console import STARTS_OVER, UserError, run_command, say
from pipeline.files import atomic_folder, content_key, write_text

FOLDER = Path("results/comparisons")
WRITTEN = {"index.html", "comparison.md", "intervals.png", "flips.csv"}
NAME_LENGTH = 80


def comparison_name(models: list[ModelResults], split: str) -> str:
    """Of the folder: the models' labels, and the split where it is not test. A digest keeps long ones apart."""
    labels = [re.sub(r"[^\w.=-]+", "_", model.label).strip("_.") or "model" for model in models]
    name = "-vs-".join(labels)
    if len(name) > NAME_LENGTH:
        name = f"{name[:NAME_LENGTH]}-{content_key(name)[:6]}"
    return name if split == "test" else f"{name}-{split}"


def chosen_resampling(models: list[ModelResults], options: argparse.Namespace) -> Resampling:
    """The options, else what the first model was evaluated with, so that its interval is that of its report."""
    params, default = models[0].params, Resampling()
    if options.confidence in (0, 1):
        raise UserError(f"--confidence {options.confidence:g}: leaves no interval", advice="give one such as 0.95")
    return Resampling(
        options.resamples or int(params.get("evaluate.bootstrap", default.resamples)),
        options.confidence or float(params.get("evaluate.confidence", default.confidence)),
        int(params.get("seed", default.seed)),
    )


def write(comparison: Comparison, frames: Path, out: Path) -> None:
    """Writes index.html, comparison.md, intervals.png and flips.csv, all or none."""
    from pipeline.comparison.figure import draw_intervals
    from pipeline.comparison.markdown import PICTURE, render_markdown
    from pipeline.comparison.page import render
    from pipeline.comparison.strips import read_strips
    from pipeline.reporting.style import png

    strips = read_strips(frames, flipping_clips(comparison), comparison.shared.split)
    sections = make_sections(comparison, strips)
    picture = png(draw_intervals(comparison))
    with atomic_folder(out.resolve()) as part:
        (part / PICTURE).write_bytes(picture)
        flips_frame(comparison).to_csv(part / "flips.csv", index=False)
        write_text(part / "comparison.md", render_markdown(comparison, sections))
        write_text(part / "index.html", render(comparison, sections, picture))


def summarise(comparison: Comparison) -> str:
    """A short table: each model's scores, and its difference from the first."""
    against_first = {pair.second: pair for pair in comparison.pairs if pair.first == 0}
    rows = [("model", "accuracy", "log loss", "difference", "verdict")]
    for number, (model, scores) in enumerate(zip(comparison.models, comparison.scores, strict=True)):
        pair = against_first.get(number)
        difference = "baseline" if pair is None else points(pair.accuracy.value)
        verdict = "" if pair is None else VERDICTS[pair.verdict]
        rows.append((model.label, show_accuracy(scores.accuracy), show_log_loss(scores.log_loss), difference, verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="two or more")
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="clips to compare on (default: test)")
    parser.add_argument("--all-pairs", action="store_true", help="compare every pair, not only each model with the first")
    parser.add_argument("--out", type=Path, help=f"folder to write, replaced as a whole (default: {FOLDER}/<A>-vs-<B>)")
    parser.add_argument("--frames", type=Path, default=Path("data/frames"), help="records for pictures (default: %(default)s)")
    parser.add_argument("--resamples", type=at_least(100), help="of the bootstrap (default: as the first model was evaluated)")
    parser.add_argument("--confidence", type=fraction, help="of the intervals (default: as the first model was evaluated)")
    parser.add_argument("--no-mlflow", action="store_true", help="do not log the comparison to MLflow")
    options = parser.parse_args()
    if len(options.models) < 2:
        raise UserError(f"a comparison needs two models, and {options.models[0]} is one", advice="name another one")
    if options.out is not None:
        check_out(options.out, WRITTEN)
    located = locate_all(options.models)
    for one in located:
        say(f"{one.given}: {one.read_as}")
    models = [open_model(one) for one in located]
    comparison = compare_models(models, options.split, chosen_resampling(models, options), all_pairs=options.all_pairs)
    name = comparison_name(models, options.split)
    out = options.out or FOLDER / name
    check_out(out, WRITTEN)
    write(comparison, options.frames, out)
    say(describe_shared(comparison))
    for sentence in [*(describe_pair(comparison, pair) for pair in comparison.pairs), *caveats(comparison)]:
        say(sentence)
    print(summarise(comparison))
    if not options.no_mlflow and has_store():
        from pipeline.comparison.log import log_comparison

        say(f"logged as MLflow run {log_comparison(comparison, name, out)}")
    print(out / "index.html")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
