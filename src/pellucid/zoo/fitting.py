"""Laying weights into a network: names matched through the wrappers of training tools, and every tensor checked before it counts.

All or nothing: every tensor of the network comes from the file, in its own shape and kind, or the file is refused with an account
of what does not fit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pellucid.core.printable import shown
from pellucid.zoo.checkpoint import CheckpointError, State
from pellucid.zoo.stored import Stored

# wrappers inside a name, which no network has of its own: compilation, sharding, recomputation
_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_fpw_module|_forward_module)\."
)
# what losses, averages and counters leave beside a network's weights, at the outer end of a name or at its inner one
_LEFTOVERS = re.compile(
    r"(?:(?:criterion\w*|loss\w*|\w*_loss|\w*_criterion|arc_?face\w*|cos_?face\w*|arc_?margin\w*|margin\w*"
    r"|metrics?|metric_\w+|\w*_metrics?|train_\w+|val_\w+|valid_\w+|test_\w+|\w*accuracy\w*|\w*_acc|acc|f1\w*|auroc\w*|confusion\w*"
    r"|optimizer\w*|scheduler\w*|ema_\w+|\w+_ema|ema|averager?)\..*"
    r"|n_averaged|num_updates|decay|steps?|global_step|iterations?|epochs?|pos_weights?|class_weights?|\w*loss_weights?|log_vars?"
    r"|initted|centers|temperature|(?:.*\.)?(?:total_ops|total_params|num_batches_tracked))"
)
# of two sets of weights with these names, the first is the network itself
_FIRST = (
    ("teacher", "student"),
    ("model", "ema"),
    ("net", "ema"),
    ("module", "ema"),
    ("model", "swa"),
    ("model", "averaged"),
    ("encoder_q", "encoder_k"),
    ("online", "target"),
)


@dataclass
class Match:
    """How a state dict lies over a network's names."""

    prefix: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether every tensor of the network is there and nothing of another network is."""
        return not (self.missing or self.unexpected or self.misshapen or self.odd)


def fit(module: nn.Module, state: Mapping[str, Tensor], file: str | Path) -> tuple[str, ...]:
    """Load weights into a module, whole or not at all; prefixes that training wrappers add are taken off.

    Args:
        module: the network; altered only where everything fits.
        state: weights by name, of `read_state` or a plain mapping.
        file: named in errors.

    Returns:
        Notes: what of the file was left out, and which of several sets of weights was taken.

    Raises:
        CheckpointError: counts and names what is missing, unexpected, of another shape or kind, or not finite.
    """
    wanted = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    best: Match | None = None
    taken: list[tuple[State, Match]] = []
    for candidate in _candidates(state):
        match = _matched(candidate, wanted, file)
        if match.fits:
            taken.append((candidate, match))
        elif best is None or len(match.tensors) > len(best.tensors):
            best = match
    if not taken:
        assert best is not None
        raise _misfit(module, state, wanted, best, file)
    chosen, match = taken[0]
    cast = cast_weights(module, match.tensors, file)
    extra = {key: value for key, value in module.state_dict().items() if key not in wanted}
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    module.load_state_dict({**extra, **counters, **cast}, strict=True)
    return _notes(chosen, match, [other for other, _ in taken[1:]], Path(file).name)


def _candidates(state: Mapping[str, Tensor]) -> list[State]:
    first = state if isinstance(state, State) else State(dict(state))
    return [first, *first.others]


def _notes(chosen: State, match: Match, others: list[State], file: str) -> tuple[str, ...]:
    notes: list[str] = []
    if match.aside:
        notes.append(
            f"{file}: left out {len(match.aside)} tensors that are not the network's ({_some(match.aside)})"
        )
    if others:
        listed = " and ".join(f"`{shown(other.where)}`" for other in others[:3])
        notes.append(f"{file}: `{shown(chosen.where or 'the outer weights')}` taken; {listed} would fit too")
    return tuple(notes)


def _bare(names: Iterable[str]) -> dict[str, str]:
    return {name: _WRAPPERS.sub("", name) for name in names}


def _matched(state: State, wanted: Mapping[str, Tensor], file: str | Path) -> Match:
    """The arrangement of a state dict that fits, or the one that comes closest."""
    names = _bare(wanted)
    inner = {bare: key for key, bare in names.items()}
    outer: dict[str, Tensor | Stored] = {}
    for key, bare in _bare([*state, *state.odd]).items():
        value = state[key] if key in state else state.odd[key]
        if bare in outer and not _equal(outer[bare], value):
            raise CheckpointError(
                f"Expected each tensor once, got `{shown(bare)}` twice with other values in `{file}`."
            )
        outer[bare] = value
    matches = [_under(prefix, outer, inner, wanted) for prefix in _prefixes(outer, inner)]
    fitting = [match for match in matches if match.fits]
    if len(fitting) > 1:
        return _chosen(fitting, file)
    if not fitting and any(".module." in f".{key}" for key in outer):  # parallel parts inside a network
        plain = {re.sub(r"(?:^|(?<=\.))module\.", "", key): value for key, value in outer.items()}
        again = [_under(prefix, plain, inner, wanted) for prefix in _prefixes(plain, inner)]
        fitting = [match for match in again if match.fits] if len(plain) == len(outer) else []
    return fitting[0] if fitting else max(matches, key=lambda match: (len(match.tensors), -len(match.prefix)))


def _prefixes(outer: Mapping[str, object], inner: Mapping[str, str], most: int = 4) -> list[str]:
    """What names begin with before the network's own names: the commonest such beginnings, and none."""
    counts: Counter[str] = Counter({"": 0})
    for key in outer:
        at = 0
        while at >= 0 and key.count(".") < 64:
            if key[at:] in inner:
                counts[key[:at]] += 1
            at = key.find(".", at) + 1 or -1
    return [prefix for prefix, _ in counts.most_common(most)] or [""]


def _under(
    prefix: str, outer: Mapping[str, Tensor | Stored], inner: Mapping[str, str], wanted: Mapping[str, Tensor]
) -> Match:
    match = Match(prefix)
    own = {bare.partition(".")[0] for bare in inner}
    for bare, key in inner.items():
        value = outer.get(prefix + bare)
        if key.endswith("num_batches_tracked") and not _fits(value, wanted[key]):
            continue  # a count that no answer depends on; averages make a real number of it
        if value is None:
            match.missing.append(key)
        elif tuple(value.shape) != tuple(wanted[key].shape):
            match.misshapen.append(f"{key} {tuple(value.shape)} for {tuple(wanted[key].shape)}")
        elif not isinstance(value, Tensor) or not _alike(value, wanted[key]):
            match.odd.append(f"{key} {_type(value)} for {_type(wanted[key])}")
        else:
            match.tensors[key] = value
    for name in outer:
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and rest in inner:
            continue
        beside = prefix and not name.startswith(prefix)
        leftover = _LEFTOVERS.fullmatch(rest) and (
            rest.partition(".")[0] not in own or rest.endswith(_COUNTED)
        )
        (match.aside if beside or leftover else match.unexpected).append(name)
    return match


_COUNTED = ("total_ops", "total_params", "num_batches_tracked")


def _alike(value: Tensor, wanted: Tensor) -> bool:
    """Whether a cast keeps what the numbers mean: real to real, whole to whole, truth to truth."""
    first, second = value.dtype, wanted.dtype
    if first == second:
        return True
    whole = not (first.is_floating_point or second.is_floating_point or first.is_complex or second.is_complex)
    return (first.is_floating_point and second.is_floating_point) or (
        whole and torch.bool not in (first, second)
    )


def _fits(value: Tensor | Stored | None, wanted: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == wanted.shape and _alike(value, wanted)


def _type(value: Tensor | Stored) -> str:
    return shown(value.kind) if isinstance(value, Stored) else str(value.dtype).removeprefix("torch.")


def _equal(first: Tensor | Stored, second: Tensor | Stored) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and first.dtype == second.dtype and torch.equal(first, second)
    return first is second


def _chosen(fitting: list[Match], file: str | Path) -> Match:
    """Of several sets of weights within one state dict, the one that is the network itself."""
    first = fitting[0]
    if all(
        all(_equal(other.tensors[key], value) for key, value in first.tensors.items())
        for other in fitting[1:]
    ):
        return min(fitting, key=lambda match: len(match.prefix))
    for name, rival in _FIRST:
        named = [match for match in fitting if _says(match.prefix, name) and not _says(match.prefix, rival)]
        rivals = [match for match in fitting if _says(match.prefix, rival)]
        if len(named) == 1 and len(named) + len(rivals) == len(fitting):
            return named[0]
    listed = " and ".join(f"`{shown(match.prefix)}`" for match in fitting)
    raise CheckpointError(
        f"Expected the weights of one network, got several that fit in `{file}`, under {listed}; try to save one of them alone."
    )


def _says(prefix: str, name: str) -> bool:
    return (
        name in re.split(r"[._]", prefix) or name in prefix.split(".") or (name == "module" and prefix == "")
    )


def learned(module: nn.Module) -> set[str]:
    """Names of a module's tensors that have to be finite, weights and statistics; other buffers may hold infinity on purpose."""
    statistics = {
        name
        for name, _ in module.named_buffers()
        if name.rpartition(".")[2] in ("running_mean", "running_var")
    }
    return {name for name, _ in module.named_parameters(remove_duplicate=False)} | statistics


def cast_weights(module: nn.Module, tensors: Mapping[str, Tensor], file: str | Path) -> dict[str, Tensor]:
    """Tensors in the types that a module has them in.

    Raises:
        CheckpointError: a tensor of another kind (whole numbers for real ones), one that is not finite in the module's type, a
            negative variance.
    """
    wanted = module.state_dict()
    odd = [
        f"{key} {_type(value)} for {_type(wanted[key])}"
        for key, value in tensors.items()
        if not _alike(value, wanted[key])
    ]
    if odd:
        raise CheckpointError(
            f"Expected weights of the network's types, got others in `{file}` ({_some(odd)}); try a float file."
        )
    cast = {key: value.to(wanted[key].dtype) for key, value in tensors.items()}
    needed = learned(module)
    bad = not_finite({key: value for key, value in cast.items() if key in needed})
    if bad:
        raise CheckpointError(
            f"Expected finite weights, got NaN or infinity in {bad} of `{file}`; "
            "the training probably diverged, try an earlier checkpoint."
        )
    negative = [
        key
        for key, value in cast.items()
        if key.endswith("running_var") and key in needed and (value < 0).any()
    ]
    if negative:
        raise CheckpointError(
            f"Expected variances, got negative ones in `{file}` ({_some(negative)}); is it damaged?"
        )
    return cast


def not_finite(state: Mapping[str, Tensor]) -> str:
    """How many tensors hold NaN or infinity, and some of their names; empty when all are finite."""
    bad = [
        key
        for key, value in state.items()
        if isinstance(value, Tensor)
        and not value.is_quantized
        and value.layout == torch.strided
        and (value.is_floating_point() or value.is_complex())
        and not (value.float() if value.element_size() == 1 else value).isfinite().all()
    ]
    return f"{len(bad)} of {len(state)} tensors ({_some(bad)})" if bad else ""


def _some(names: Iterable[str], count: int = 4) -> str:
    listed = [shown(name) for name in names]
    return ", ".join(listed[:count]) + (f" and {len(listed) - count} more" if len(listed) > count else "")


def _misfit(
    module: nn.Module,
    state: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    match: Match,
    file: str | Path,
) -> CheckpointError:
    labels = (
        ("missing", match.missing),
        ("unexpected", match.unexpected),
        ("of another shape", match.misshapen),
        ("of another type", match.odd),
    )
    parts = [f"{len(names)} {label} ({_some(names)})" for label, names in labels if names]
    return CheckpointError(
        f"Expected the {len(wanted)} tensors of {type(module).__name__}, got {len(state)} from `{file}`: "
        f"{'; '.join(parts)}. Try the architecture the weights were trained with."
    )


def class_count(module: nn.Module, state: Mapping[str, Tensor], outputs: int, most: int = 1 << 28) -> int:
    """How many classes a checkpoint has: the rows of the tensors that have one row per output of the module.

    ``outputs`` where these disagree, are not really there (expanded from fewer numbers) or would need more than ``most`` bytes.
    """
    wanted = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    inner = {bare: key for key, bare in _bare(wanted).items()}
    for candidate in _candidates(state):
        outer = {bare: candidate[key] for key, bare in _bare(candidate).items()}
        for prefix in _prefixes(outer, inner):
            matched = {key: outer[prefix + bare] for bare, key in inner.items() if prefix + bare in outer}
            other = [key for key, value in matched.items() if value.shape != wanted[key].shape]
            heads = [matched[key] for key in other if wanted[key].ndim and wanted[key].shape[0] == outputs]
            needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
            whole = len(heads) == len(other) and heads and all(key in matched for key in needed)
            sizes = {tuple(head.shape[:1]) for head in heads}
            if whole and len(sizes) == 1 and all(_backed(head, most) for head in heads):
                return int(heads[-1].shape[0])
    return outputs


def _backed(tensor: Tensor, most: int) -> bool:
    size = tensor.numel() * tensor.element_size()
    return tensor.ndim > 0 and 0 < size <= min(most, tensor.untyped_storage().nbytes())
