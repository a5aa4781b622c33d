"""How many pictures to take in one pass: as many as memory and data allow."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor, nn

from sleuth.data.batches import to_batch
from sleuth.data.cache import free_memory
from sleuth.data.samples import Sample, SampleSource
from sleuth.data.stream import Batch
from sleuth.data.transforms import Augmentation, Resize
from sleuth.errors import UserError

LEAST, MOST = 2, 32
BATCHES_PER_EPOCH = 10
"""An epoch has at least so many steps: with fewer, small data is learnt from too seldom."""

_SHARE_OF_MEMORY = 0.6
# Weights, gradients, two moments and an average.
_COPIES_OF_WEIGHTS = 5

Autocast = Callable[[], AbstractContextManager[object]]


def choose_batch_size(
    model: nn.Module,
    source: SampleSource,
    augmentation: Augmentation,
    *,
    autocast: Autocast,
    processes: int = 1,
) -> int:
    """The largest power of two from 2 to 32 with which a step fits into the memory that is free.

    On a GPU two trial passes, of two and of four pictures, show what a picture takes. On a processor the tensors are
    counted that a pass of two pictures keeps for its gradient.

    Args:
        model: on its device, with what it trains set to be trained; its norm statistics change.
        source: the pictures to train on.
        augmentation: says how large pictures become.
        autocast: the arithmetic of the training.
        processes: how many share an epoch: one with few pictures is not taken in fewer than ten steps.

    Raises:
        UserError: not even two pictures fit into a GPU.
    """
    device = next(model.parameters()).device
    weights = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    model.train()
    if device.type == "cuda":
        each, free = _measured(model, source, augmentation, autocast, device)
    else:
        each, free = _kept(model, largest_batch(source, augmentation, LEAST), autocast) / LEAST, free_memory()
    room = free * _SHARE_OF_MEMORY - _COPIES_OF_WEIGHTS * weights
    size = MOST
    while size > LEAST and (size * each > room or size * processes * BATCHES_PER_EPOCH > len(source)):
        size //= 2
    return size


def largest_batch(source: SampleSource, augmentation: Augmentation, count: int) -> Batch:
    """The first pictures of the data, as large as the augmentation makes them."""
    transform: Callable[[Sample], Sample]
    padded = None
    if augmentation.fit is not None:
        high = max(1.0, augmentation.multi_scale[1])
        padded = round(augmentation.fit[0] * high), round(augmentation.fit[1] * high)
        transform = Augmentation.fitted(padded, stretch=augmentation.stretch, flip=False)
    elif augmentation.scales:
        transform = Resize(max(augmentation.scales), augmentation.longest)
    else:
        transform = replace(augmentation.closed(), flip=False, crop_prob=0.0)
    return to_batch([transform(source.load(place % len(source))) for place in range(count)], padded_hw=padded)


def _pass(model: nn.Module, batch: Batch, autocast: Autocast, device: torch.device) -> Tensor:
    """A pass forward; the sum of all that is found, in place of a loss."""
    images, targets = batch
    with autocast():
        found = model(images.to(device), [target.to(device) for target in targets])
    return found.logits.float().sum() + found.boxes_cxcywh.float().sum()


def _kept(model: nn.Module, batch: Batch, autocast: Autocast) -> float:
    """Bytes that a pass keeps for its gradient, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(model.parameters()).device
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        total = _pass(model, batch, autocast, device)
    del total
    # Going back, a gradient lies beside each tensor for a while.
    return 1.5 * sum(sizes.values())


def _measured(
    model: nn.Module, source: SampleSource, augmentation: Augmentation, autocast: Autocast, device: torch.device
) -> tuple[float, float]:
    """Bytes that a picture takes on a GPU, and bytes that are free for pictures and what training adds to weights."""
    peaks = []
    for count in (LEAST, 2 * LEAST):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            _pass(model, largest_batch(source, augmentation, count), autocast, device).backward()
        except torch.cuda.OutOfMemoryError as error:
            if count == LEAST:
                raise UserError(
                    "not even two pictures fit into the memory of the GPU",
                    where="optimizer.batch_size",
                    mend="make the model or the pictures smaller",
                ) from error
            peaks.append(float("inf"))
        else:
            peaks.append(float(torch.cuda.max_memory_allocated(device) - before))
        for parameter in model.parameters():
            parameter.grad = None
    torch.cuda.empty_cache()
    # A workspace that does not grow makes the difference small: a picture takes at least half of what the first did.
    each = max((peaks[1] - peaks[0]) / LEAST, peaks[0] / LEAST / 2)
    return each, float(torch.cuda.mem_get_info(device)[0])
