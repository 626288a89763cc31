"""A stream network as a SavedModel that needs nothing of this project: frame by frame, and whole clips."""

from pathlib import Path

import tensorflow as tf

from pipeline.export.lite import IMAGE, LOGITS
from pipeline.export.stepper import signature_call
from pipeline.files import atomic_folder
from pipeline.models.movinet.streaming import States, StreamingClassifier
from pipeline.video.views import test_views


class Streaming(tf.Module):
    """What is saved; loaded again it has the same functions.

    - `call(image, states)`: float32 (1, T, size, size, 3) in [0, 1] -> logits float32 (1, N), states. Signature `call` is the
      same with everything by name.
    - `init_states()`: the states before the first frame; also a signature.
    - signature `serving_default`: whole clips, `frames` uint8 (B, T, H, W, 3) -> `probabilities` float32 (B, N), as the
      classifier that finetune saves.
    - `classes`, `fps`: what the logits are of, and how many frames a second it was trained at.
    - `count`, `views`: frames of a view, and views of a clip, of `serving_default`.
    """

    def __init__(self, classifier: StreamingClassifier, *, count: int, views: int):
        super().__init__()
        size, classes = classifier.size, len(classifier.classes)
        specs = classifier.specs(size)
        image = tf.TensorSpec([1, None, size, size, 3], tf.float32, name=IMAGE)
        states_of = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()}

        def start() -> States:
            return {name: tf.zeros(spec.shape, spec.dtype) for name, spec in specs.items()}

        run = tf.function(classifier.call.python_function, autograph=False).get_concrete_function(image, states_of)

        # Not `run` itself, with all weights in its graph: saving traces once more what is an attribute.
        def call(image: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
            return run(image, states)

        def named(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            logits, states = run(inputs.pop(IMAGE), inputs)
            return {LOGITS: logits} | states

        def serve(frames: tf.Tensor) -> dict[str, tf.Tensor]:
            clips = tf.reshape(test_views(frames, count=count, views=views, size=size), [-1, 1, count, size, size, 3])
            each = tf.map_fn(lambda clip: tf.nn.softmax(run(clip, start())[0][0]), clips)
            return {"probabilities": tf.reduce_mean(tf.reshape(each, [-1, views, classes]), axis=1)}

        self.call = tf.function(call, input_signature=[image, states_of], autograph=False)
        self.init_states = tf.function(start, input_signature=[], autograph=False)
        self.named = tf.function(named, autograph=False).get_concrete_function(**{IMAGE: image}, **states_of)
        self.serve = tf.function(serve, input_signature=[tf.TensorSpec([None, None, None, None, 3], tf.uint8, name="frames")])
        # Variables, because a constant that no function reads is not saved.
        self.classes, self.fps = tf.Variable(classifier.classes, trainable=False), tf.Variable(classifier.fps, trainable=False)
        self.count, self.views = tf.Variable(count, trainable=False), tf.Variable(views, trainable=False)


def save_streaming(classifier: StreamingClassifier, folder: Path, *, count: int, views: int) -> None:
    """Writes it to `folder`, whole; `count` frames a view and `views` of a clip are what `serving_default` uses."""
    module = Streaming(classifier, count=count, views=views)
    signatures = {"serving_default": module.serve, "call": module.named, "init_states": module.init_states}
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with atomic_folder(folder) as part:
        tf.saved_model.save(module, str(part), signatures=signatures, options=options)


class SavedStream:
    """The SavedModel in a folder with the interface of LiteClassifier, to be measured like the files beside it."""

    def __init__(self, folder: Path):
        self._model = tf.saved_model.load(str(folder))
        self._call = signature_call(self._model)
        self._start = self._model.init_states()
        self.state_bytes = sum(state.numpy().nbytes for state in self._start.values())
        self.reset()

    def reset(self) -> None:
        self._states = self._start

    def step(self, image):
        """As LiteClassifier.step."""
        logits, self._states = self._call(tf.constant(image[None, None]), self._states)
        return logits[0].numpy()
