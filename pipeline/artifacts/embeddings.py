"""What embed writes: data/embeddings/embed.json."""

from pathlib import Path
from typing import Any, Literal, Self

from pipeline.artifacts.content import Artifact


class EmbedSummary(Artifact):
    """data/embeddings/embed.json.

    Attributes:
      mode: cached, or none where the backbone trains, so that there is nothing to cache; then `reason` says why.
      shape: of the features of one view.
      masked: whether some of a view's frames may be padding, so that there are masks.
    """

    mode: Literal["cached", "none"]
    reason: str = ""
    classes: list[str] = []
    shape: tuple[int, ...] = ()
    masked: bool = False
    made_with: dict[str, Any] = {}

    @classmethod
    def of(cls, embeddings: Path) -> Self:
        return cls.read(Path(embeddings) / "embed.json")


def is_cached(embeddings: Path) -> bool:
    """Whether a folder that embed wrote holds features, that is, whether the backbone is frozen."""
    return EmbedSummary.of(embeddings).mode == "cached"
