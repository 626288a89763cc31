"""Data-parallel training on several devices or machines, through `tf.distribute`.

Invariants: a step on all replicas equals the step of one process on the whole batch, up to the order of additions. The replicas
divide the rows of the batch (`batch_shards`), sum their gradients before clipping, draw dropout and stochastic depth by the row
in the global batch (`random_layers`), and synchronize batch norm where it trains. One process, the chief, writes the results. It
also decides when to save, because all processes must save in the same step.
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
from pipeline.training.tf_config import cluster_task, is_chief

SAVE = "save"  # a result of each step: above 0 if the chief requests a save
# The errors that the remaining processes raise when another one has terminated.
WORKER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)


class Replicas:
    """A strategy that has been started, with what the training loop needs to know about it.

    Attributes:
      chief: whether this process writes the results.
      count: number of replicas in all processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy, *, chief: bool, several_processes: bool):
        self.strategy = strategy
        self.chief = chief
        self.several_processes = several_processes
        self.count = strategy.num_replicas_in_sync
        self._save_request = tf.Variable(0.0, trainable=False)

    def distribute(self, make: Callable[[BatchShard], tf.data.Dataset]):
        """A distributed dataset. make: builds the dataset of one process from its shard."""

        def make_local(context: tf.distribute.InputContext) -> tf.data.Dataset:
            workers = context.num_input_pipelines
            return make(BatchShard(context.input_pipeline_id, workers, self.count // workers))

        return self.strategy.distribute_datasets_from_function(make_local)

    def install_steps(self, model: tf_keras.Model, losses: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> None:
        """Replaces the training and test steps of a compiled model by ones that take the batches of `BatchShard`.

        losses: (targets (b, C), logits (b, C)) -> float32 (b,).
        """

        def update_metrics(targets: tf.Tensor, logits: tf.Tensor, row_info: dict) -> dict:
            is_counted = row_info["weight"] > 0
            targets, logits = tf.boolean_mask(targets, is_counted), tf.boolean_mask(logits, is_counted)
            model.compiled_metrics.update_state(targets, logits)
            return {metric.name: metric.result() for metric in model.compiled_metrics.metrics}

        def train_step(data: tuple) -> dict:
            inputs, targets, row_info = data
            with rows_of_batch(row_info["row"]), tf.GradientTape() as tape:
                logits = model(inputs, training=True)
                loss = tf.reduce_sum(losses(targets, logits) * row_info["weight"])
                if model.losses:
                    loss += tf.nn.scale_regularization_loss(tf.add_n(model.losses))
            model.optimizer.minimize(loss, model.trainable_variables, tape=tape)
            results = update_metrics(targets, logits, row_info)
            if self.several_processes:
                context = tf.distribute.get_replica_context()
                results[SAVE] = context.all_reduce(tf.distribute.ReduceOp.SUM, self._save_request.read_value())
            return results

        def test_step(data: tuple) -> dict:
            inputs, targets, row_info = data
            return update_metrics(targets, model(inputs, training=False), row_info)

        model.train_step, model.test_step = train_step, test_step
        model.distribute_reduction_method = "first"  # a step's results are equal on all replicas; by default Keras sums them
        for layer in model.submodules:
            if isinstance(layer, tf_keras.layers.BatchNormalization) and layer.trainable:
                layer.synchronized, layer.fused = True, False

    def request_save(self, wanted: bool) -> None:
        """Sets or clears the request to save, which the next step sends to all processes. Does nothing except on the chief."""
        if self.several_processes and self.chief:
            self._save_request.assign(float(wanted))

    def check_agreement(self, *parts: object) -> None:
        """Raises UserError unless `parts` are equal in all processes: otherwise training would hang, or its result be wrong."""
        if not self.several_processes:
            return
        key = int(content_key(*parts)[:12], 16)

        def gather() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(tf.constant([key], tf.int64), axis=0)

        gathered = tf.function(lambda: self.strategy.run(gather))()
        keys = self.strategy.experimental_local_results(gathered)[0].numpy()
        different = [index for index, value in enumerate(keys) if value != keys[0]]
        if different:
            raise UserError(
                f"training worker {different[0]} has other inputs or software than worker 0",
                advice="use the same commit, params.yaml, frames and environment on all workers, and this repository's .cache "
                "under the same path (a shared file system)",
            )


def check_precision(settings: Finetune) -> None:
    """Raises UserError where this machine cannot train with `finetune.precision`."""
    if settings.precision == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
        message = "finetune.precision = mixed_float16 needs a GPU, and TensorFlow finds none"
        raise UserError(message, advice="set finetune.precision=float32")


def open_replicas(settings: Finetune) -> Replicas | None:
    """Starts the strategy of `finetune.distribute`; returns None for none. Call it before TensorFlow's first operation.

    With multi_worker it blocks until all workers have started.

    Raises:
      UserError: there is only one device, TF_CONFIG is missing or invalid, or the batch size is not a multiple of the number of
        replicas.
    """
    if settings.distribute == "none":
        return None
    if settings.distribute == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            message = f"finetune.distribute = mirrored needs several GPUs, found {devices[0].name}"
            raise UserError(message, advice="set finetune.distribute=none")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        replicas = Replicas(strategy, chief=True, several_processes=False)
    else:
        kind, index, addresses = cluster_task()
        say(f"{kind} {index}: waiting for all {len(addresses)} training workers ({', '.join(addresses)})")
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        replicas = Replicas(strategy, chief=is_chief(settings), several_processes=len(addresses) > 1)
    if settings.batch_size % replicas.count:
        message = f"finetune.batch_size = {settings.batch_size} cannot be divided evenly among {replicas.count} replicas"
        raise UserError(message, advice=f"set it to a multiple of {replicas.count}")
    say(f"training on {replicas.count} replicas with {settings.batch_size // replicas.count} clips of each batch per replica")
    return replicas


@contextmanager
def convert_worker_errors(replicas: Replicas | None) -> Iterator[None]:
    """Converts the errors that TensorFlow raises when another process has terminated to a UserError."""
    if replicas is None or not replicas.several_processes:
        yield
        return
    try:
        yield
    except WORKER_LOST as error:
        raise UserError(
            f"another training worker is gone ({type(error).__name__}: {' '.join(error.message.split())[:200]})",
            advice="start all workers again: the training resumes from its last checkpoint",
        ) from None
