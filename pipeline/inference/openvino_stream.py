"""Runs a network frame by frame in OpenVINO on the processor.

Invariants: it uses one thread, because a frame is too little work for more, and computes in float32. States are not copied: they
stay in the tensors that the network wrote them to.
"""

import numpy as np
import openvino

from pipeline.engines.engine import StreamGraph
from pipeline.engines.openvino_core import compile_graph


class OpenvinoStream:
    """See `stepper.Stepper`.

    Attributes:
      size: pixels of a side of the frames. state_bytes: size of the states that are kept between frames.
    """

    def __init__(self, graph: StreamGraph):
        compiled = compile_graph(graph.model, threads=1)
        self._request = compiled.create_infer_request()
        self._number = np.zeros(1, np.float32)
        self._request.set_input_tensor(1, openvino.Tensor(self._number, shared_memory=True))
        # The tensors of each layer, oldest first; the last is written next, and the first is then free.
        self._rings: list[list[openvino.Tensor]] = []
        first = 2
        for count in graph.states:
            shape = compiled.input(first).shape
            self._rings.append([openvino.Tensor(np.float32, shape) for _ in range(count + 1)])
            first += count
        self.size = int(compiled.input(0).shape[1])
        self.state_bytes = sum(tensor.byte_size for ring in self._rings for tensor in ring[:-1])
        self.reset()

    def reset(self) -> None:
        self._number[0] = 0
        for tensor in (tensor for ring in self._rings for tensor in ring):
            tensor.data[:] = 0

    def step(self, image: np.ndarray) -> np.ndarray:
        image = np.ascontiguousarray(image, np.float32)[np.newaxis]
        self._request.set_input_tensor(0, openvino.Tensor(image, shared_memory=True))
        self._number[0] += 1
        position = 2
        for layer, ring in enumerate(self._rings, 1):
            for tensor in ring[:-1]:
                self._request.set_input_tensor(position, tensor)
                position += 1
            self._request.set_output_tensor(layer, ring[-1])
        self._request.infer()
        self._rings = [[*ring[1:], ring[0]] for ring in self._rings]
        return self._request.get_output_tensor(0).data[0].copy()
