"""Computes the features of a split, in this process or on the workers of a cluster."""

from pathlib import Path

from pipeline.artifacts import FRAMES
from pipeline.cluster import Workers
from pipeline.console import UserError, progress
from pipeline.embedding.chunks import embed_on_cluster
from pipeline.embedding.rows import EmbeddingJob, SplitRows, decode_names
from pipeline.models.family import Backbone
from pipeline.training.datasets import embedding_views


def embed_split(
    job: EmbeddingJob, files: list[Path], clips: int, backbone: Backbone, store: Path, cluster: Workers | None
) -> None:
    """Computes the arrays of a split in the scratch folder `store`. Rows that a killed run has finished are not computed again.

    Args:
      files: the split's records, in order.
      clips: number of clips in them.
      cluster: None computes in this process.

    Raises:
      UserError: the split is empty, or the records do not hold `clips` clips.
    """
    if clips == 0:
        raise UserError(f"{FRAMES}: {job.split} has no clips")
    rows = SplitRows(job, clips, store)
    if len(rows.done) == clips:
        return
    with progress(total=clips, initial=len(rows.done), describe=f"embedding {job.split}", unit="clip") as bar:
        if cluster is not None:
            embed_on_cluster(job, files, store, cluster, rows, bar)
        else:
            dataset = embedding_views(files, job.split, job.views, job.recipe, first=len(rows.done))
            for block in dataset.batch(job.clips_per_batch).prefetch(2):
                rows.append(job.compute(backbone, block), decode_names(block))
                bar.update(len(block["clip"]))
                rows.save(if_due=True)
    rows.check()
    rows.save()
