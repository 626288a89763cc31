"""AdamW with linear warm-up, cosine decay (Loshchilov and Hutter 2017, 2019), and gradient clipping by the global norm.

The rate may fall from layer to layer, from the head to the input (Howard & Ruder 2018, "Universal Language Model Fine-tuning").
"""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from pipeline.settings import Finetune

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Keras's
NOT_DECAYED = ["bias", "gamma", "beta", "scale"]  # biases, batch norm and residual scales


def schedule(settings: Finetune, steps: int) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over `steps` steps: it rises linearly from 0 during the warm-up, then falls to 0 along a cosine."""
    warmup = min(round(settings.warmup * steps), steps - 1)
    if warmup == 0:
        return tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, decay_steps=steps)
    return tf_keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warmup, warmup_target=settings.learning_rate, warmup_steps=warmup
    )


def rate_factors(settings: Finetune, variables: Sequence[tf.Variable], depths: Sequence[int] | None) -> list[float]:
    """The factor of each variable's learning rate: 1 in the head (depth 0), `backbone_rate` in the last blocks (depth 1), and
    `layer_decay` times less from each depth to the next. depths: by variable; None: all are 0.
    """
    if depths is None:
        return [1.0] * len(variables)
    return [1.0 if depth == 0 else settings.backbone_rate * settings.layer_decay ** (depth - 1) for depth in depths]


class LayerwiseAdamW(tf_keras.optimizers.AdamW):
    """AdamW with a factor of the learning rate for each trainable variable, in their order. Weight decay has no factor."""

    def __init__(self, *arguments, factors: Sequence[float], **options):
        super().__init__(*arguments, **options)
        self._factors = tuple(factors)

    def update_step(self, gradient, variable):
        factor = self._factors[self._index_dict[self._var_key(variable)]] if self._factors else 1.0
        if factor == 1.0:
            super().update_step(gradient, variable)
            return
        before = tf.identity(variable)
        super().update_step(gradient, variable)
        variable.assign(before + factor * (variable - before))


def build_optimizer(settings: Finetune, steps: int, factors: Sequence[float] = ()) -> tf_keras.optimizers.Optimizer:
    """The optimizer of a training of `steps` steps. Under mixed_float16 Keras adds loss scaling to it.

    factors: of the learning rate, by trainable variable; empty: all are 1.
    """
    optimizer = LayerwiseAdamW(
        schedule(settings, steps),
        factors=factors,
        beta_1=BETA_1,
        beta_2=BETA_2,
        epsilon=EPSILON,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        jit_compile=False,  # XLA would compile one update per variable, for half a minute, and is no faster on a CPU
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


class FusedAdamW(tf.Module):
    """The updates of `build_optimizer` with factors of 1, in one operation per variable: for tops, whose steps are short.

    Attributes:
      iterations: number of finished steps, an int64 scalar variable.
    """

    def __init__(self, settings: Finetune, steps: int, trained: Sequence[tf.Variable]):
        super().__init__()
        self.iterations = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._settings, self._rate, self._trained = settings, schedule(settings, steps), list(trained)
        self._means, self._squares = ([tf.Variable(tf.zeros_like(one), trainable=False) for one in trained] for _ in range(2))

    @property
    def state(self) -> list[tf.Variable]:
        """What a checkpoint must hold."""
        return [self.iterations, *self._means, *self._squares]

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """One step. gradients: in the order of the variables."""
        clip = self._settings.clip_norm
        if clip is not None:
            norm = tf.linalg.global_norm(gradients)
            # Only where it is needed: it would be another pass over all gradients.
            gradients = tf.cond(norm > clip, lambda: [one * (clip / norm) for one in gradients], lambda: list(gradients))
        rate, step = self._rate(self.iterations), tf.cast(self.iterations + 1, tf.float32)
        for variable, mean, square, gradient in zip(self._trained, self._means, self._squares, gradients, strict=True):
            if self._settings.weight_decay and not any(name in variable.name for name in NOT_DECAYED):
                variable.assign_sub(variable * (rate * self._settings.weight_decay))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=BETA_1**step,
                beta2_power=BETA_2**step,
                lr=rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )
        self.iterations.assign_add(1)
