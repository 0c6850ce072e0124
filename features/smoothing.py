"""What makes a transformer's linear layers fit for int8, before it is exported.

Dynamic quantisation gives a layer's input one scale, and a few channels of a transformer are far
louder than the rest. They are made quieter and their weights heavier, which changes nothing in
exact arithmetic (SmoothQuant: Xiao, Lin, Seznec, Wu, Demouth and Han, ICML 2023). Used by
`features.export` only, in its child process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

Encode = Callable[[Sequence[str]], Any]
"""Texts to a tensor of embeddings, shape (n, d)."""

_LEAST_SHARE = 0.5
"""Channels quieter than this share of the median count as that loud: the calibration is small."""


def linear_layers(model: Any) -> list[tuple[str, Any]]:
    """Names and modules of the linear layers, in order."""
    return [(n, layer) for n, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]


def loudest(model: Any, encode: Encode, texts: Sequence[str]) -> dict[str, Any]:
    """Linear layer to the largest magnitude of each of its input channels over ``texts``."""
    found: dict[str, Any] = {}

    def watch(name: str) -> Any:
        def hook(_: Any, inputs: Any) -> None:
            seen = inputs[0].detach().abs().reshape(-1, inputs[0].shape[-1]).amax(0)
            found[name] = torch.maximum(found.get(name, seen), seen)

        return hook

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in linear_layers(model)]
    encode(texts)
    for hook in hooks:
        hook.remove()
    return found


@contextmanager
def smoothed(model: Any, loud: dict[str, Any], strength: float) -> Iterator[None]:
    """Inside, each linear layer divides its input and multiplies its weights, channel by channel.

    The factor of channel j is max|X_j|^a / max|W_j|^(1 - a), equation 4 of the paper, where a is
    ``strength`` in [0, 1]. Layers that read the same tensor share the factor, so that it is divided
    and quantised once.
    """
    weights, hooks = [], []
    for heard, layers in _by_input(model, loud):
        inputs = heard.clamp_min(float(heard.median()) * _LEAST_SHARE + 1e-6)
        heavy = torch.stack([layer.weight.detach().abs().amax(0) for layer in layers]).amax(0)
        factor = inputs**strength / heavy.clamp_min(1e-6) ** (1 - strength)
        scale = _scale(1 / factor)
        for layer in layers:
            weights.append((layer, layer.weight.data))
            layer.weight.data = layer.weight.data * factor
            hooks.append(layer.register_forward_pre_hook(scale))
    try:
        yield
    finally:
        for layer, before in weights:
            layer.weight.data = before
        for hook in hooks:
            hook.remove()


def most_hurt(model: Any, encode: Encode, texts: Sequence[str]) -> list[Any]:
    """The linear layers, the one whose int8 form alone moves the embeddings most first."""
    exact = encode(texts)
    hurt = []
    for _, layer in linear_layers(model):
        before = layer.weight.data
        layer.weight.data = _per_channel(before)
        hook = layer.register_forward_pre_hook(lambda _, inputs: (_per_tensor(inputs[0]),))
        hurt.append((float((encode(texts) - exact).square().sum()), layer))
        hook.remove()
        layer.weight.data = before
    return [layer for _, layer in sorted(hurt, key=lambda pair: -pair[0])]


def _by_input(model: Any, loud: dict[str, Any]) -> list[tuple[Any, list[Any]]]:
    """The layers that were heard, together where their inputs were equally loud: the same."""
    groups: dict[bytes, tuple[Any, list[Any]]] = {}
    for name, layer in linear_layers(model):
        if name in loud:
            groups.setdefault(loud[name].numpy().tobytes(), (loud[name], []))[1].append(layer)
    return list(groups.values())


def _scale(by: Any) -> Any:
    """A hook for all layers that read one tensor; the trace then holds one multiplication."""
    last: list[Any] = []

    def hook(_: Any, inputs: Any) -> Any:
        if not last or last[0] is not inputs[0]:
            last[:] = inputs[0], inputs[0] * by
        return (last[1],)

    return hook


def _per_tensor(x: Any) -> Any:
    """``x`` as 8 bits with one scale and zero point would hold it."""
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    step = (high - low).clamp_min(1e-12) / 255
    zero = torch.round(-low / step)
    return (torch.clamp(torch.round(x / step) + zero, 0, 255) - zero) * step


def _per_channel(weight: Any) -> Any:
    """``weight`` as 8 bits with a scale per output channel would hold it."""
    step = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return torch.round(weight / step) * step
