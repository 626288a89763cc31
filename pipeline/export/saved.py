"""Saves a stream network as a SavedModel that runs frame by frame and on whole clips, without this project's code."""

from pathlib import Path

import tensorflow as tf

from pipeline.files import atomic_folder
from pipeline.inference.lite import IMAGE, LOGITS
from pipeline.models.family import Stream
from pipeline.video.views import test_views


class Streaming(tf.Module):
    """The module that is saved. A loaded SavedModel has the same functions:

    - `call(image, states)`: float32 (1, T, size, size, 3) in [0, 1] -> logits float32 (1, N) after the last frame, next states.
      The signature `call` is the same with named inputs and outputs.
    - `init_states()`: the states before the first frame; also a signature.
    - signature `serving_default`: whole clips, `frames` uint8 (B, T, H, W, 3) -> `probabilities` float32 (B, N), as in the
      SavedModel that finetune writes.

    Its variables are settings:

    - `classes`: names in the order of the logits. `fps`: frames per second.
    - `count`, `views`, `sampling`, `short_clips`: of `serving_default`; see `ClassifierDescription`.
    - `decision`: when a prediction is unknown, `Decision` as JSON; absent if the classifier does not state it.
    """

    def __init__(self, classifier: Stream):
        super().__init__()
        size, classes, views = classifier.size, len(classifier.classes), classifier.views
        specs = classifier.state_specs
        image = tf.TensorSpec([1, None, size, size, 3], tf.float32, name=IMAGE)
        states_of = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()}

        def start() -> dict[str, tf.Tensor]:
            return {name: tf.zeros(spec.shape, spec.dtype) for name, spec in specs.items()}

        run = tf.function(classifier.call.python_function, autograph=False).get_concrete_function(image, states_of)

        # Not `run` itself: saving retraces the module's functions, and would store the weights in `run` a second time.
        def call(image: tf.Tensor, states: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            return run(image, states)

        def named(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            logits, states = run(inputs.pop(IMAGE), inputs)
            return {LOGITS: logits} | states

        def serve(frames: tf.Tensor) -> dict[str, tf.Tensor]:
            chosen = test_views(frames, classifier.sampling, views)
            clips = tf.reshape(chosen, [-1, 1, tf.shape(chosen)[2], size, size, 3])
            each = tf.map_fn(lambda clip: tf.nn.softmax(run(clip, start())[0][0]), clips)
            return {"probabilities": tf.reduce_mean(tf.reshape(each, [-1, views, classes]), axis=1)}

        self.call = tf.function(call, input_signature=[image, states_of], autograph=False)
        self.init_states = tf.function(start, input_signature=[], autograph=False)
        self.named = tf.function(named, autograph=False).get_concrete_function(**{IMAGE: image}, **states_of)
        self.serve = tf.function(serve, input_signature=[tf.TensorSpec([None, None, None, None, 3], tf.uint8, name="frames")])
        # Variables, because constants that no function reads are not saved.
        self.classes, self.fps = tf.Variable(classifier.classes, trainable=False), tf.Variable(classifier.fps, trainable=False)
        self.count, self.views = tf.Variable(classifier.sampling.count, trainable=False), tf.Variable(views, trainable=False)
        self.sampling = tf.Variable(classifier.sampling.where, trainable=False)
        self.short_clips = tf.Variable(classifier.sampling.short_clips, trainable=False)
        if classifier.decision is not None:
            self.decision = tf.Variable(classifier.decision.model_dump_json(), trainable=False)


def save_streaming(classifier: Stream, folder: Path) -> None:
    """Writes the network to `folder`, atomically."""
    module = Streaming(classifier)
    signatures = {"serving_default": module.serve, "call": module.named, "init_states": module.init_states}
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with atomic_folder(folder) as part:
        tf.saved_model.save(module, str(part), signatures=signatures, options=options)
