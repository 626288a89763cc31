"""Which of several training processes this one is, as TF_CONFIG says. Nothing here imports TensorFlow."""

import json
import os

from pipeline.console import UserError
from pipeline.settings import Finetune


def place_in_cluster() -> tuple[str, int, list[str]]:
    """This process's type and index, and the addresses of all that train, from TF_CONFIG."""
    hint = 'for example {"cluster": {"worker": ["one:2222", "two:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        content = json.loads(os.environ["TF_CONFIG"])
        kind, index = content["task"]["type"], int(content["task"]["index"])
        addresses = {name: content["cluster"].get(name, []) for name in ("chief", "worker")}
        addresses[kind][index]
    except KeyError as error:
        raise UserError(f"finetune.distribute = multi_worker needs TF_CONFIG ({error} is missing); {hint}") from None
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"TF_CONFIG does not name this process's place in the cluster ({error}); {hint}") from None
    return kind, index, addresses["chief"] + addresses["worker"]


def is_chief(settings: Finetune) -> bool:
    """Whether this process writes the results: always, but for the other workers of multi_worker."""
    if settings.distribute != "multi_worker" or settings.trainable == "head":
        return True
    kind, index, _ = place_in_cluster()
    return kind == "chief" or (index == 0 and not json.loads(os.environ["TF_CONFIG"])["cluster"].get("chief"))
