"""Heads that give every patch a class, against the same formulas written out."""

import torch
import torch.nn.functional as F
from torch import nn

from sleuth.heads.semantic import LinearSemanticHead, MaskTransformerHead
from sleuth.nn.attention import SelfAttention
from sleuth.nn.blocks import PreNormBlock
from sleuth.nn.feedforward import FeedForward, gelu_of_own
from sleuth.types.memory import PatchMemory

DIM, CLASSES, GRID = 12, 5, (3, 4)


def memory(valid: torch.Tensor | None = None) -> PatchMemory:
    draw = torch.Generator().manual_seed(1)
    patches = torch.randn(2, GRID[0] * GRID[1], DIM, generator=draw)
    return PatchMemory(prefix=patches[:, :0], patches=patches, valid=valid, grid_hw=GRID)


def mask_head(depth: int = 2) -> MaskTransformerHead:
    blocks = [
        PreNormBlock(
            dim=DIM,
            attention=SelfAttention(dim=DIM, num_heads=3),
            feedforward=FeedForward(dim=DIM, hidden_dim=20, activation=gelu_of_own),
        )
        for _ in range(depth)
    ]
    head = MaskTransformerHead(dim=DIM, num_classes=CLASSES, blocks=blocks)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    return head.eval()


def test_the_linear_head_is_a_convolution_of_one_pixel():
    head, given = LinearSemanticHead(dim=DIM, num_classes=CLASSES), memory()
    picture = given.patches.transpose(1, 2).reshape(2, DIM, *GRID)
    expected = F.conv2d(picture, head.classes.weight[:, :, None, None], head.classes.bias)
    torch.testing.assert_close(head(given), expected)


def layer_norm(x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def written_out(head: MaskTransformerHead, given: PatchMemory) -> torch.Tensor:
    """Segmenter's mask Transformer, picture after picture and head after head."""
    found = []
    for patches in given.patches:
        tokens = torch.cat([head.queries[0], patches @ head.project.weight.T + head.project.bias])
        for block in head.blocks:
            qkv = layer_norm(tokens, block.norm1) @ block.attention.qkv.weight.T + block.attention.qkv.bias
            query, key, value = qkv.split(DIM, dim=1)
            looked = []
            for part in range(3):
                own = slice(4 * part, 4 * part + 4)
                looked.append(((query[:, own] @ key[:, own].T) / 2.0).softmax(dim=1) @ value[:, own])
            out = block.attention.out_proj
            tokens = tokens + torch.cat(looked, dim=1) @ out.weight.T + out.bias
            first, second = block.feedforward.linear1, block.feedforward.linear2
            hidden = F.gelu(layer_norm(tokens, block.norm2) @ first.weight.T + first.bias)
            tokens = tokens + hidden @ second.weight.T + second.bias
        tokens = layer_norm(tokens, head.norm)
        classes = tokens[:CLASSES] @ head.class_projection.weight.T
        cells = tokens[CLASSES:] @ head.patch_projection.weight.T
        classes = classes / classes.norm(dim=1, keepdim=True)
        cells = cells / cells.norm(dim=1, keepdim=True)
        found.append(layer_norm(cells @ classes.T, head.mask_norm).T.reshape(CLASSES, *GRID))
    return torch.stack(found)


@torch.no_grad()
def test_the_mask_head_is_segmenters_formula():
    head, given = mask_head(), memory()
    torch.testing.assert_close(head(given), written_out(head, given), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_is_hidden_from_the_queries():
    head, whole = mask_head(), memory()
    narrow = PatchMemory(
        prefix=whole.prefix,
        patches=whole.patches.unflatten(1, GRID)[:, :, :3].flatten(1, 2),
        valid=None,
        grid_hw=(GRID[0], 3),
    )
    valid = torch.ones(2, *GRID, dtype=torch.bool)
    valid[:, :, 3] = False
    padded = head(memory(valid.flatten(1)))
    torch.testing.assert_close(padded[..., :3], head(narrow), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(padded[..., :3], head(whole)[..., :3], atol=1e-2)


@torch.no_grad()
def test_classes_may_change_their_order():
    head, given, order = mask_head(), memory(), torch.tensor([3, 1, 4, 0, 2])
    before = head(given)
    for parameter in (head.mask_norm.weight, head.mask_norm.bias):
        parameter.copy_(parameter[order])
    head.queries.copy_(head.queries[:, order])
    torch.testing.assert_close(head(given), before[:, order], atol=1e-5, rtol=1e-4)
