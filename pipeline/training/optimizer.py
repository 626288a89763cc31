"""AdamW with linear warm-up, cosine decay (Loshchilov and Hutter 2017, 2019), and gradient clipping by the global norm."""

import tf_keras

from pipeline.settings import Finetune

NOT_DECAYED = ["bias", "gamma", "beta", "scale"]  # biases, batch norm and residual scales


def schedule(settings: Finetune, steps: int) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over `steps` steps: it rises linearly from 0 during the warm-up, then falls to 0 along a cosine."""
    warmup = min(round(settings.warmup * steps), steps - 1)
    if warmup == 0:
        return tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, decay_steps=steps)
    return tf_keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warmup, warmup_target=settings.learning_rate, warmup_steps=warmup
    )


def build_optimizer(settings: Finetune, steps: int) -> tf_keras.optimizers.Optimizer:
    """The optimizer of a training of `steps` steps. Under mixed_float16 Keras adds loss scaling to it."""
    optimizer = tf_keras.optimizers.AdamW(
        schedule(settings, steps),
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        jit_compile=False,  # XLA would compile one update per variable, for half a minute, and is no faster on a CPU
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer
