"""The role of this process among several training processes, from TF_CONFIG. Does not import TensorFlow."""

import json
import os

from pipeline.console import UserError
from pipeline.settings import Finetune


def cluster_task() -> tuple[str, int, list[str]]:
    """Returns this process's type (chief or worker) and index, and the addresses of all training processes.

    Raises:
      UserError: TF_CONFIG is missing or invalid.
    """
    advice = (
        "set it on every worker, "
        'for example {"cluster": {"worker": ["one:2222", "two:2222"]}, "task": {"type": "worker", "index": 0}}'
    )
    try:
        content = json.loads(os.environ["TF_CONFIG"])
        kind, index = content["task"]["type"], int(content["task"]["index"])
        addresses = {name: content["cluster"].get(name, []) for name in ("chief", "worker")}
        addresses[kind][index]
    except KeyError as error:
        raise UserError(f"finetune.distribute = multi_worker needs TF_CONFIG ({error} is missing)", advice=advice) from None
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"TF_CONFIG does not give this process's type and index in the cluster ({error})", advice=advice
        ) from None
    return kind, index, addresses["chief"] + addresses["worker"]


def is_chief(settings: Finetune) -> bool:
    """Whether this process writes the results: True except for all but one worker of multi_worker. Raises as `cluster_task`."""
    if settings.distribute != "multi_worker" or settings.frozen:
        return True
    kind, index, _ = cluster_task()
    return kind == "chief" or (index == 0 and not json.loads(os.environ["TF_CONFIG"])["cluster"].get("chief"))
