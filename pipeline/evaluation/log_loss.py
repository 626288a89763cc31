"""The log loss, apart from the other metrics: finetune fits the temperature with it, and depends on no other metric."""

import numpy as np

# Networks compute in float32, where a smaller probability is indistinguishable from 0. Fixed, so that the score does not depend
# on the dtype of the probabilities.
LOG_LOSS_FLOOR = float(np.finfo(np.float32).eps)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, as `sklearn.metrics.log_loss`; probabilities are clipped at LOG_LOSS_FLOOR.

    Args:
      probabilities: float array of shape (n_clips, n_classes).
      labels: int array of shape (n_clips,), the actual classes.
    """
    return float(log_losses(probabilities, labels).mean())


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The same of each clip, float of shape (n_clips,)."""
    own = probabilities[np.arange(len(labels)), labels]
    return np.log(1 / np.clip(own, LOG_LOSS_FLOOR, 1))
