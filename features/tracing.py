"""Traces a sentence-transformers model to one ONNX graph. Used by `features.export` only.

The graph takes one text: token ids of shape (1, length), without a mask, because a text that runs
alone has no padding. Where a reshape leaves only the length open, its target is written into the
graph: computing targets and mask was a third of all nodes, which counts for a short text.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

_OPSET = 17
_TOKENS = 9


class _Pipeline(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    """The model as a function of one tensor, which is what can be traced."""

    def __init__(self, model: Any, *, masked: bool) -> None:
        super().__init__()
        self.model = model
        self.masked = masked

    def forward(self, input_ids: Any) -> Any:
        features = {"input_ids": input_ids}
        if self.masked:
            features["attention_mask"] = torch.ones_like(input_ids)
        return self.model(features)["sentence_embedding"]


def trace(model: Any, path: Path) -> None:
    """Write the graph of ``model`` as it is, with a mask of ones: every model can be run so."""
    _trace(model, path, masked=True)


def trace_lean(model: Any, path: Path) -> None:
    """Write the graph of ``model`` without mask and without needless shape arithmetic.

    Raises
    ------
    Exception
        Whatever the model or onnx raise where a model needs its mask or defies shape inference.
    """
    _trace(model, path, masked=False)
    graph = onnx.load(str(path))
    _settle_reshapes(graph)
    _drop_dead(graph.graph)
    onnx.save(graph, str(path))


def _trace(model: Any, path: Path, *, masked: bool) -> None:
    torch.onnx.export(
        _Pipeline(model, masked=masked),
        (torch.arange(_TOKENS, dtype=torch.int64)[None] + 5,),
        str(path),
        input_names=["input_ids"],
        output_names=["embedding"],
        dynamic_axes={"input_ids": {1: "length"}},
        opset_version=_OPSET,
        dynamo=False,  # the newer exporter needs onnxscript and gives the same graph
    )


def _settle_reshapes(model: Any) -> None:
    """Replace computed targets of reshapes, in place, where at most one dimension is unknown."""
    inferred = SymbolicShapeInference.infer_shapes(model, auto_merge=True).graph
    shapes = {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") else -1
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    for node in model.graph.node:
        shape = shapes.get(node.output[0], [-1, -1])
        if node.op_type == "Reshape" and shape.count(-1) <= 1 and 0 not in shape:
            target = np.array(shape, dtype=np.int64)
            name = f"{node.output[0]}_target"
            model.graph.initializer.append(onnx.numpy_helper.from_array(target, name))
            node.input[1] = name


def _drop_dead(graph: Any) -> None:
    """Remove, in place, the nodes that no output depends on; onnxruntime would run them."""
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):  # in topological order, as onnx demands
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(node.input)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)
