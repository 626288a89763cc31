"""Trains a small network on records, as one of several processes: python -m tests.training.replica_training OUT SETTINGS."""

import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from pipeline.console import run_command

CLASSES = ["Dark", "Bright"]


def network(dropout: float, batch_norm: bool):
    """A small network with a MoViNet's kinds of layers: convolution, batch norm, stochastic depth, dropout. Fixed values."""
    import tf_keras

    class StochasticDepth(tf_keras.layers.Layer):
        """Stands in for the Model Garden's layer of this name, whose import takes seconds; `draw_from_steps` sets its call."""

        def get_config(self):
            return {"stochastic_depth_drop_rate": dropout}

    tf_keras.utils.set_random_seed(3)
    image = tf_keras.Input([None, None, None, 3], name="image")
    # Without a bias: before batch norm its gradient is only rounding error, which Adam would amplify.
    x = tf_keras.layers.Conv3D(6, 3, padding="same", use_bias=False)(image - 0.5)
    norm = tf_keras.layers.BatchNormalization(momentum=0.9)
    norm.trainable = batch_norm
    x = tf_keras.layers.ReLU()(norm(x))
    x = x + StochasticDepth()(tf_keras.layers.Conv3D(6, 1)(x))
    x = tf_keras.layers.Dropout(dropout)(tf_keras.layers.GlobalAveragePooling3D()(x))
    return tf_keras.Model({"image": image}, tf_keras.layers.Dense(len(CLASSES))(x))


def main() -> None:
    out, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    import tensorflow as tf

    if settings["finetune"]["distribute"] == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from pipeline.params import parse_params
    from pipeline.training.datasets import ViewRecipe, training_epoch, validation_views
    from pipeline.training.loop import Task, Training, train
    from pipeline.training.replicas import convert_worker_errors, open_replicas
    from pipeline.training.runtime import disable_grappler_on_cpu

    disable_grappler_on_cpu()
    model_options, folder, records, fatal = (settings.pop(name) for name in ("network", "folder", "records", "fatal_epoch"))
    params = parse_params(settings)
    replicas = open_replicas(params.finetune)
    with nullcontext() if replicas is None else replicas.strategy.scope():
        model = network(**model_options)
    initial = [value.numpy() for value in model.variables]
    files, clips = {}, {}
    for split in ("train", "validation"):
        files[split] = sorted(Path(records).glob(f"{split}-*.tfrecord"))
        clips[split] = sum(1 for _ in tf.data.TFRecordDataset([str(path) for path in files[split]]))

    recipe = ViewRecipe(params.sampling, params.augment, params.data.flip, CLASSES, params.seed)
    batch = params.finetune.batch_size

    def epoch(number, first, shard=None):
        return training_epoch(files["train"], clips["train"], recipe, batch_size=batch, epoch=number, first=first, shard=shard)

    def validation(shard=None):
        return validation_views(files["validation"], clips["validation"], recipe, batch_size=batch, shard=shard)

    if replicas is None:
        task = Task(clips["train"], epoch, validation())
    else:
        task = Task(
            clips["train"],
            lambda number, first: replicas.distribute(lambda shard: epoch(number, first, shard)),
            replicas.distribute(validation),
            clips["validation"],
        )

    def die(history):
        if len(history) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    training = Training(params.model, params.finetune, params.seed, Path(folder), params.speed.checkpoint_minutes, die)
    with convert_worker_errors(replicas):
        history, best = train(model, task, training, replicas)
    values = [value.numpy() for value in model.variables]
    moved = [np.abs(value - start).max() for value, start in zip(values, initial, strict=True)]
    history = history.drop(columns=["seconds", "examples_per_second"])
    np.savez(out, *values, history=history.to_numpy(float), best=best, moved=moved)


if __name__ == "__main__":
    run_command(main)
