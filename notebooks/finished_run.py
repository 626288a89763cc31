# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A finished run, step by step
#
# What `dvc repro` or `dvc exp run` leaves behind, read with the library: scores with intervals, the confusion matrix, the surest
# mistakes as film strips, the history of the training, a comparison with a second run, and a prediction for one clip. The report
# (`results/report/index.html`) shows more of the same; this is where to start for figures and questions of your own.

# %%
import base64
import os
import sys
from pathlib import Path

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "params.yaml").exists())
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import pandas as pd
from IPython.display import HTML, Image, Markdown, display

from commands.predict import predict_clip
from pipeline.artifacts import CLIPS, HISTORY, MANIFEST, METRICS, Metrics
from pipeline.comparison.compare import Resampling, compare_models
from pipeline.comparison.figure import draw_intervals
from pipeline.comparison.names import locate
from pipeline.comparison.opening import open_model as open_results
from pipeline.comparison.wording import caveats, describe_pair, describe_shared
from pipeline.console import quiet_libraries
from pipeline.inference.formats import open_model
from pipeline.inference.formatting import format_clip
from pipeline.inference.sources import find_sources
from pipeline.params import load_params
from pipeline.reporting import figures, tables
from pipeline.reporting.inputs import read_inputs
from pipeline.reporting.style import png
from pipeline.revisions import list_experiments
from pipeline.sources.manifest import read_manifest

quiet_libraries()

# %% [markdown]
# ## What to look at
#
# `OTHER` is the run to compare with: a DVC experiment, a commit, an MLflow run or a folder of results, as for
# `python -m commands.compare`. If it is empty, the first DVC experiment is taken, where there is one.

# %% tags=["parameters"]
OTHER = ""

# %% [markdown]
# ## Scores
#
# Each score with its interval, which accounts for the number of independent groups (a person, a scene), and the baselines that
# the accuracy has to beat.

# %%
metrics = Metrics.read(METRICS)
scores = {split: of for split, of in (("test", metrics.test), ("validation", metrics.validation)) if of is not None}
display(
    pd.DataFrame(
        {
            (split, column): {name: getattr(of, f"{name}{end}") for name in ("top1", "top5", "macro_f1")}
            for split, of in scores.items()
            for column, end in (("score", ""), ("low", "_low"), ("high", "_high"))
        }
    ).style.format("{:.1%}", na_rep="–")
)
pd.DataFrame([{"split": split, "log loss": of.log_loss, "clips": of.clips, "groups": of.groups} for split, of in scores.items()])

# %%
params = load_params()
report = read_inputs(Path("data"), Path("results"), params.evaluate, params.report)
tables.baselines(report).rename(columns={"{confidence} interval": f"{params.evaluate.confidence:.0%} interval"})

# %% [markdown]
# ## Confusion matrix


# %%
def show(figure) -> None:
    display(Image(png(figure), width=round(96 * figure.get_figwidth())))


show(figures.confusion(report))

# %% [markdown]
# ## The surest mistakes
#
# Wrong labels and unusual clips are often among them. The frames are those that `evaluate` kept in `results/clips`.

# %%
mistakes = tables.mistakes(report)
mistakes.head(10)


# %%
def film_strip(clip: str) -> str:
    strip = report.clips.strips("test")[clip]
    sources = ("data:image/jpeg;base64," + base64.b64encode(report.clips.jpegs[name]).decode() for name in strip.files)
    return " ".join(f'<img src="{source}" alt="{clip}" style="display: inline">' for source in sources)


for mistake in mistakes.head(5).to_dict("records"):
    text = "**{actual}**, predicted **{predicted}** ({probability:.1%}): {clip}"
    display(Markdown(text.format(**mistake)))
    display(HTML(film_strip(mistake["clip"])))

# %% [markdown]
# ## History
#
# A row per epoch, or of a probe, a row per penalty.

# %%
display(pd.read_csv(HISTORY).tail())
show(figures.learning_curves(report))

# %% [markdown]
# ## Compared with another run
#
# On the clips that both have. "Better" is said only where the interval of the paired difference excludes 0 and a test by groups
# agrees.

# %%
other = OTHER or next((f"exp:{experiment.name}" for experiment in list_experiments()), "")
if other:
    comparison = compare_models([open_results(locate(other)), open_results(locate("workspace"))], "test", Resampling())
    (pair,) = comparison.pairs
    for sentence in (describe_shared(comparison), describe_pair(comparison, pair), *caveats(comparison)):
        print(sentence)
    show(draw_intervals(comparison))
else:
    print("There is no other run. Make one, for instance: dvc exp run -S seed=2")

# %% [markdown]
# ## A prediction for one clip
#
# With the classifier of this run, as `python -m commands.predict` makes it.

# %%
manifest = read_manifest(MANIFEST)
clip = manifest[manifest["split"] == "test"].iloc[0]
(source,) = find_sources(str(CLIPS / clip["file"]))
prediction = predict_clip(open_model(), source)
print(f"{clip['clip']} is a clip of {clip['class']}")
print(format_clip(prediction, "text"))
