"""Training on several devices or machines at once, through `tf.distribute`.

Invariants: a step on all replicas is the step that one process would take on the whole batch. They share its rows
(`shares`), sum their gradients before these are clipped, draw dropout and stochastic depth by the row in the batch, and normalise
by the statistics of the whole batch where batch norm trains. Only the order of the additions differs. One process, the chief,
writes; it also decides when the training is saved, because all must take part in reading what they hold together.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras

from pipeline.console import UserError, say
from pipeline.files import content_key
from pipeline.settings import Finetune
from pipeline.training.batch_shards import BatchShard
from pipeline.training.random_layers import rows_of_batch
from pipeline.training.tf_config import is_chief, place_in_cluster

SAVE = "save"  # among a step's results: above 0 when the chief wants the training saved
# What the processes that remain get to see when another one is gone.
GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)


class Replicas:
    """An open strategy."""

    def __init__(self, strategy: tf.distribute.Strategy, *, chief: bool, several_processes: bool):
        self.strategy = strategy
        self.chief = chief
        self.several_processes = several_processes
        self.count = strategy.num_replicas_in_sync
        self._wish = tf.Variable(0.0, trainable=False)

    def distribute(self, make: Callable[[BatchShard], tf.data.Dataset]):
        """The data set that `make` gives for each process's share, as the replicas take it."""

        def here(context: tf.distribute.InputContext) -> tf.data.Dataset:
            workers = context.num_input_pipelines
            return make(BatchShard(context.input_pipeline_id, workers, self.count // workers))

        return self.strategy.distribute_datasets_from_function(here)

    def take_over(self, model: tf_keras.Model, label_smoothing: float) -> None:
        """Makes `fit` and `evaluate` of a compiled model weigh its rows, as `shares` gives them."""
        losses = tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing, reduction="none")

        def measured(targets: tf.Tensor, logits: tf.Tensor, share: dict) -> dict:
            counted = share["weight"] > 0
            targets, logits = tf.boolean_mask(targets, counted), tf.boolean_mask(logits, counted)
            model.compiled_metrics.update_state(targets, logits)
            return {metric.name: metric.result() for metric in model.compiled_metrics.metrics}

        def train_step(data: tuple) -> dict:
            inputs, targets, share = data
            with rows_of_batch(share["row"]), tf.GradientTape() as tape:
                logits = model(inputs, training=True)
                loss = tf.reduce_sum(losses(targets, logits) * share["weight"])
                if model.losses:
                    loss += tf.nn.scale_regularization_loss(tf.add_n(model.losses))
            model.optimizer.minimize(loss, model.trainable_variables, tape=tape)
            results = measured(targets, logits, share)
            if self.several_processes:
                context = tf.distribute.get_replica_context()
                results[SAVE] = context.all_reduce(tf.distribute.ReduceOp.SUM, self._wish.read_value())
            return results

        def test_step(data: tuple) -> dict:
            inputs, targets, share = data
            return measured(targets, model(inputs, training=False), share)

        model.train_step, model.test_step = train_step, test_step
        model.distribute_reduction_method = "first"  # what a step returns is the same on all replicas; Keras would add it up
        for layer in model.submodules:
            if isinstance(layer, tf_keras.layers.BatchNormalization) and layer.trainable:
                layer.synchronized, layer.fused = True, False

    def wish_to_save(self, wanted: bool) -> None:
        """Has the next step tell all processes to save; only the chief's wish counts."""
        if self.several_processes and self.chief:
            self._wish.assign(float(wanted))

    def check_agreement(self, *parts: object) -> None:
        """Raises UserError unless all processes have equal `parts`: a training of different ones would hang or be wrong."""
        if not self.several_processes:
            return
        mine = int(content_key(*parts)[:12], 16)

        def gather() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(tf.constant([mine], tf.int64), axis=0)

        gathered = tf.function(lambda: self.strategy.run(gather))()
        all_of_them = self.strategy.experimental_local_results(gathered)[0].numpy()
        others = sorted({index for index, value in enumerate(all_of_them) if value != all_of_them[0]})
        if others:
            raise UserError(
                f"training worker {others[0]} does not have what worker 0 has: all need the same commit, params.yaml, frames and "
                "environment, and this repository's .cache under the same path (a shared file system)"
            )


def open_replicas(settings: Finetune) -> Replicas | None:
    """The strategy of `finetune.distribute`; None for none. Call it before TensorFlow's first operation.

    Waits for all workers of multi_worker.

    Raises:
      UserError: one device only, no usable TF_CONFIG, or a batch that cannot be shared evenly.
    """
    if settings.distribute == "none":
        return None
    if settings.trainable == "head":
        raise UserError(f"finetune.distribute = {settings.distribute}, but a head trains in seconds on one device; set none")
    if settings.distribute == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise UserError(f"finetune.distribute = mirrored needs several GPUs, found {devices[0].name}; set none")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        replicas = Replicas(strategy, chief=True, several_processes=False)
    else:
        kind, index, addresses = place_in_cluster()
        say(f"{kind} {index}: waiting for all {len(addresses)} training workers ({', '.join(addresses)})")
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        replicas = Replicas(strategy, chief=is_chief(settings), several_processes=len(addresses) > 1)
    if settings.batch_size % replicas.count:
        raise UserError(f"finetune.batch_size = {settings.batch_size} cannot be shared evenly by {replicas.count} replicas")
    say(f"training on {replicas.count} replicas, {settings.batch_size // replicas.count} clips of each batch on each")
    return replicas


@contextmanager
def others_may_die(replicas: Replicas | None) -> Iterator[None]:
    """StageLocks what TensorFlow raises when another process is gone into one clear line."""
    if replicas is None or not replicas.several_processes:
        yield
        return
    try:
        yield
    except GONE as error:
        raise UserError(
            f"another training worker is gone ({type(error).__name__}: {' '.join(error.message.split())[:200]}); "
            "start all of them again: the training goes on from its last checkpoint"
        ) from None
