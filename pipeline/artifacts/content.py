"""What the typed contents of all files share: how they are read, checked and written."""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.console import UserError
from pipeline.files import read_json, write_json


class Content(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Artifact(Content):
    """The content of a JSON file."""

    @classmethod
    def parse(cls, content: Any, path: Path) -> Self:
        """Raises UserError naming the file and what in it does not fit."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            what = f"lacks {where}" if first["type"] == "missing" else f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}"
            raise UserError(f"{path}: {what}", advice="run `dvc repro`, which makes it again") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises UserError when the file is absent, not JSON, or does not hold what it should."""
        return cls.parse(read_json(path), path)

    @classmethod
    def from_text(cls, text: str, path: Path) -> Self:
        """The same of a file's text, for files that are not on this disk."""
        return cls.parse(json.loads(text), path)

    def write(self, path: Path) -> None:
        write_json(path, self.model_dump(mode="json"))
