"""Convolutions and pooling in nnet3 networks, as operations of an ONNX graph.

The columns of a frame are an image: in a TimeHeightConvolution ``height × filters``, whose other
dimension is time, in the older components ``x × y × z`` within the frame. Layout of the columns and
parameters: ``nnet3/convolution.h`` and ``nnet3/nnet-combined-component.h`` in Kaldi.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.components import Component
from asr_hlg.acoustic.onnx_graph import OnnxGraph

Ints = npt.NDArray[np.int64]

_MOST_COLUMNS = 1 << 22
"""Columns of all patches of a frame."""


def time_height_output(component: Component) -> int:
    """Columns of the result of a TimeHeightConvolution.

    Raises
    ------
    ValueError
        If its parameters do not fit its description.
    """
    sizes = _sizes(component, "NumFiltersIn", "NumFiltersOut", "HeightIn", "HeightOut",
                   "HeightSubsampleOut")  # fmt: skip
    filters_in, filters_out, _, height_out, _ = sizes
    offsets, params = component.fields.get("Offsets"), component.array("LinearParams", 2)
    if offsets is None or not len(offsets) or abs(offsets).max() > 10_000:
        raise ValueError(f"the {component.kind} has no offsets, or they are out of range")
    if params.shape != (filters_out, len(offsets) * filters_in):
        raise ValueError(f"the {component.kind} has parameters of another size")
    if len(component.array("BiasParams", 1)) != filters_out:
        raise ValueError(f"the {component.kind} has a bias of another size")
    if height_out * len(offsets) * filters_in > _MOST_COLUMNS:
        raise ValueError(f"the {component.kind} is too large")
    return height_out * filters_out


def time_height(graph: OnnxGraph, component: Component, x: str, name: str) -> str:
    """Convolution over time and height; ``x`` has the frames of all time offsets side by side."""
    fields, op = component.fields, graph.op
    filters_in, height_in, height_out, step = _sizes(
        component, "NumFiltersIn", "HeightIn", "HeightOut", "HeightSubsampleOut"
    )
    offsets = fields["Offsets"].astype(np.int64)
    times = np.searchsorted(fields["TimeOffsets"], offsets[:, 0])
    heights = np.arange(height_out)[:, None] * step + offsets[:, 1]
    rows = times * height_in + heights
    beyond = len(fields["TimeOffsets"]) * height_in  # a row of zeros
    rows[(heights < 0) | (heights >= height_in)] = beyond
    image = op("Reshape", x, graph.integers(0, beyond, filters_in))
    image = op("Pad", image, graph.integers(0, 0, 0, 0, 1, 0))
    patches = op("Gather", image, graph.constant(f"{name}/rows", rows.reshape(-1)), axis=1)
    patches = op("Reshape", patches, graph.integers(0, height_out, -1))
    return _filtered(graph, component, patches, "LinearParams", name)


def convolution_output(component: Component) -> int:
    """Columns of the result of a ConvolutionComponent.

    Raises
    ------
    ValueError
        If its parameters do not fit its description.
    """
    columns, filters = _patches(component), component.array("FilterParams", 2)
    if filters.shape[1] != columns.shape[1] or not len(filters):
        raise ValueError(f"the {component.kind} has filters of another size")
    if len(component.array("BiasParams", 1)) != len(filters):
        raise ValueError(f"the {component.kind} has a bias of another size")
    return len(columns) * len(filters)


def convolution(graph: OnnxGraph, component: Component, x: str, name: str) -> str:
    """Convolution over x and y."""
    columns = _patches(component)
    patches = graph.op("Gather", x, graph.constant(f"{name}/columns", columns.reshape(-1)), axis=1)
    patches = graph.op("Reshape", patches, graph.integers(0, *columns.shape))
    return _filtered(graph, component, patches, "FilterParams", name)


def max_pooling_output(component: Component) -> int:
    """Columns of the result of a MaxpoolingComponent."""
    return _pools(component).shape[1]


def max_pooling(graph: OnnxGraph, component: Component, x: str, name: str) -> str:
    """Largest value of each pool."""
    columns = _pools(component)
    pools = graph.op("Gather", x, graph.constant(f"{name}/columns", columns.reshape(-1)), axis=1)
    pools = graph.op("Reshape", pools, graph.integers(0, *columns.shape))
    return graph.op("ReduceMax", pools, axes=[1], keepdims=0)


def image_size(component: Component) -> int:
    """Columns that a ConvolutionComponent or MaxpoolingComponent takes."""
    return int(np.prod(_sizes(component, "InputXDim", "InputYDim", "InputZDim")))


def _filtered(graph: OnnxGraph, component: Component, patches: str, tag: str, name: str) -> str:
    """Filters of patches ``(frames, patches, n)``, ``(frames, patches * filters)``."""
    params = np.ascontiguousarray(component.array(tag, 2).T)
    y = graph.op("MatMul", patches, graph.constant(f"{name}/{tag}", params))
    y = graph.op("Add", y, graph.constant(f"{name}/bias", component.array("BiasParams", 1)))
    return graph.op("Flatten", y, axis=1)


def _patches(component: Component) -> Ints:
    """Columns of each patch of a ConvolutionComponent, ``(patches, columns)``."""
    x_dim, y_dim, z_dim = _sizes(component, "InputXDim", "InputYDim", "InputZDim")
    x_size, y_size = _sizes(component, "FiltXDim", "FiltYDim")
    x_step, y_step = _sizes(component, "FiltXStep", "FiltYStep")
    x = _places(x_dim, x_size, x_step, component)
    y = _places(y_dim, y_size, y_step, component)
    _limit(x.size * y.size * z_dim, component)
    order = {0: (y_dim * z_dim, 1, y_dim), 1: (y_dim * z_dim, z_dim, 1)}
    strides = order.get(int(component.number("InputVectorization")))
    if strides is None:
        raise ValueError(f"the {component.kind} has an unknown order of columns")
    columns = (
        strides[0] * x[:, None, :, None, None]
        + strides[1] * y[None, :, None, :, None]
        + strides[2] * np.arange(z_dim)
    )
    result: Ints = columns.reshape(len(x) * len(y), -1)
    return result


def _pools(component: Component) -> Ints:
    """Columns of each pool of a MaxpoolingComponent, ``(columns, pools)``."""
    places = []
    dims = _sizes(component, "InputXDim", "InputYDim", "InputZDim")
    for axis, dim in zip("XYZ", dims, strict=True):
        size, step = _sizes(component, f"Pool{axis}Size", f"Pool{axis}Step")
        places.append(_places(dim, size, step, component).T)
    x, y, z = places
    _limit(x.size * y.size * z.size, component)
    columns = (
        (x * dims[1] * dims[2])[:, None, None, :, None, None]
        + (y * dims[2])[None, :, None, None, :, None]
        + z[None, None, :, None, None, :]
    )
    result: Ints = columns.reshape(len(x) * len(y) * len(z), -1)
    return result


def _places(dim: int, size: int, step: int, component: Component) -> Ints:
    """Places of each window along one axis, ``(windows, size)``."""
    if size > dim:
        raise ValueError(f"the {component.kind} has windows that exceed its image")
    _limit(dim * size, component)
    places: Ints = np.arange(0, dim - size + 1, step)[:, None] + np.arange(size)
    return places


def _limit(columns: int, component: Component) -> None:
    if columns > _MOST_COLUMNS:
        raise ValueError(f"the {component.kind} is too large")


def _sizes(component: Component, *tags: str) -> list[int]:
    """Fields that are positive integers."""
    sizes: list[Any] = [component.fields.get(tag) for tag in tags]
    if not all(isinstance(size, int) and 0 < size < 1 << 20 for size in sizes):
        raise ValueError(f"the {component.kind} has sizes that are absent or out of range")
    return sizes
