"""The table of image networks of Keras Applications that a CNN-RNN can use. Does not import TensorFlow.

Sources: Szegedy et al. 2016 (Inception V3), Howard et al. 2017 (MobileNet), Sandler et al. 2018 (MobileNetV2), Tan and Le 2019
(EfficientNet), He et al. 2016 (ResNet). Their ImageNet weights are those that Keras publishes.
"""

from typing import NamedTuple


class ImageNetwork(NamedTuple):
    """One network, without its classifier.

    Attributes:
      module, builder: in `tf_keras.applications`. The module's `preprocess_input` takes pixels in [0, 255].
      size: side of its training images in pixels.
      features: channels of its pooled output.
      parameters: number of weights, without the moving statistics of batch norm.
      gflop: 10^9 floating-point operations for one image of that size; a multiplication and an addition count as two.
    """

    module: str
    builder: str
    size: int
    features: int
    parameters: int
    gflop: float


NETWORKS = {
    "inception_v3": ImageNetwork("inception_v3", "InceptionV3", 299, 2048, 21_768_352, 11.4),
    "mobilenet": ImageNetwork("mobilenet", "MobileNet", 224, 1024, 3_206_976, 1.14),
    "mobilenet_v2": ImageNetwork("mobilenet_v2", "MobileNetV2", 224, 1280, 2_223_872, 0.60),
    "efficientnet_b0": ImageNetwork("efficientnet", "EfficientNetB0", 224, 1280, 4_007_548, 0.77),
    "resnet50": ImageNetwork("resnet50", "ResNet50", 224, 2048, 23_534_592, 7.71),
}
