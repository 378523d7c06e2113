"""Who runs in the class activation map benchmark, and what exactly each one does.

Every contender explains the same class of the same image on the same module with the same random weights,
and is a plain call without arguments. The *floor* is written by hand with autograd: whatever needs
activations and gradients of some stages cannot do with less than one forward pass, recorded from the first
asked stage on, and one backward pass down to it.

Peers are used as their documentation shows, and beside it in the cheapest way their public methods allow:

* grad-cam (pytorch-grad-cam) gives one map per object: of several layers it averages the maps. So all maps
  take one object per method and stage (``as documented``). ``one pass per method`` hands all stages
  to one object; it then computes every map but returns only their mean: a lower bound on its cost. It always
  upsamples to the input's size and scales to [0, 1].
* torch-cam gives all layers of one method from one pass (``as documented``). ``one forward pass`` attaches
  all extractors at once and goes back once for each, keeping the graph.
* captum has Grad-CAM only.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.zoo.zoos import import_torchvision

NETWORKS = ("resnet50", "vgg16", "squeezenet1_1")
# where VGG-16 and SqueezeNet 1.1 are cut: each piece ends with a stage
CUTS = {"vgg16": (4, 9, 16, 23, 30), "squeezenet1_1": (2, 5, 8, 13)}
METHODS = (
    "gradcam", "gradcam++", "xgradcam", "hirescam", "gradcam-elementwise", "layercam", "eigencam",
    "eigengradcam",
)  # fmt: skip
CLASS, SIZE, SEED = 243, 224, 0
# grad-cam's Eigen methods build a matrix [cells, cells]; at 112 × 112 that is 0.6 GB, at 224 × 224 10 GB
MOST_CELLS = 56 * 56
PLAIN, FLOOR = "plain forward pass", "floor: one forward, one backward to the first stage asked, by hand"


@dataclass(frozen=True)
class Contender:
    """Something to run: ``maps`` is how many maps come out; ``against`` names the pellucid run that makes the
    same ones; ``every`` means that it runs in every n-th round only (it takes long)."""

    name: str
    library: str
    run: Callable[[], Any]
    maps: int = 0
    against: str = ""
    every: int = 1


class Setting:
    """One network with one image."""

    def __init__(self, name: str, size: int = SIZE) -> None:
        self.name = name
        torch.manual_seed(SEED)
        self.module: nn.Module = import_torchvision().models.get_model(name, weights=None).eval()
        self.image = torch.randn(1, 3, size, size)

    @cached_property
    def net(self) -> pl.Network:
        """The loaded network, its layers already inspected."""
        return pl.load(self.module, input_shape=tuple(self.image.shape[1:]))

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """End of every resolution stage, shallow to deep."""
        if self.name in CUTS:
            return tuple(f"features.{cut - 1}" for cut in CUTS[self.name])
        return ("relu", "layer1", "layer2", "layer3", "layer4")

    @property
    def methods(self) -> tuple[str, ...]:
        """CAM exists only where pooling and one linear layer follow: at the last stage of ResNet-50."""
        return ("cam", *METHODS) if self.name == "resnet50" else METHODS

    @cached_property
    def pieces(self) -> tuple[list[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]:
        """The network cut behind every stage, and its head; a copy whose parameters are frozen."""
        m: Any = copy.deepcopy(self.module).requires_grad_(False)
        if self.name == "resnet50":
            stages = [nn.Sequential(m.conv1, m.bn1, m.relu), nn.Sequential(m.maxpool, m.layer1)]
            return [*stages, m.layer2, m.layer3, m.layer4], nn.Sequential(m.avgpool, nn.Flatten(), m.fc)
        cuts = (0, *CUTS[self.name])
        stages = [m.features[a:b] for a, b in itertools.pairwise(cuts)]
        head = (
            (m.avgpool, nn.Flatten(), m.classifier) if self.name == "vgg16" else (m.classifier, nn.Flatten())
        )
        return stages, nn.Sequential(m.features[cuts[-1] :], *head)

    def plain(self) -> Tensor:
        """A forward pass."""
        with torch.no_grad():
            return self.module(self.image)

    def floor(self, first: int) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Activations and gradients of all stages from number ``first`` on, by hand."""
        stages, head = self.pieces
        with torch.no_grad():
            value = self.image
            for stage in stages[: first % len(stages) + 1]:
                value = stage(value)
        kept = [value.requires_grad_()]
        value = value.view_as(value)  # the operation counter cannot have a leaf as a module's input
        for stage in stages[first % len(stages) + 1 :]:
            value = stage(value)
            kept.append(value)
        return kept, torch.autograd.grad(head(value)[:, CLASS].sum(), kept)

    def pellucid(self, methods: str | Sequence[str], layers: str | None = None) -> Any:
        """From the loaded network and the normalized tensor; by default each method where it belongs."""
        return pl.attribute(self.net, self.image, methods, layers, CLASS, normalized=True, progress=False)

    def clean(self) -> None:
        """Forget parameter gradients, which grad-cam leaves behind."""
        self.module.zero_grad(set_to_none=True)


def last_stage(setting: Setting) -> list[Contender]:
    """Grad-CAM at the last stage."""
    module, image, last = setting.module, setting.image, setting.stages[-1]
    place = module.get_submodule(last)

    def grad_cam() -> Any:
        return _grad_cam(setting, "gradcam", [last])

    def torch_cam() -> list[Tensor]:
        from torchcam.methods import GradCAM

        with GradCAM(module, last) as extractor:
            return extractor(CLASS, module(image), normalized=False)

    def captum() -> Tensor:
        from captum.attr import LayerGradCam

        return LayerGradCam(module, place).attribute(image, target=CLASS, relu_attributions=True)

    return [
        Contender(PLAIN, "torch", setting.plain),
        Contender(FLOOR, "torch", lambda: setting.floor(-1)),
        Contender("pellucid", "pellucid", lambda: setting.pellucid("gradcam", last), 1),
        Contender(
            "pellucid, upsampled", "pellucid", lambda: setting.pellucid("gradcam", last)[last].upsample(), 1
        ),
        Contender("grad-cam", "grad-cam", grad_cam, 1, "pellucid, upsampled"),
        Contender("torch-cam", "torch-cam", torch_cam, 1, "pellucid"),
        Contender("captum", "captum", captum, 1, "pellucid"),
    ]


def all_stages(setting: Setting) -> list[Contender]:
    """Every class activation method that one trace serves, at every stage."""
    stages, count = setting.stages, len(setting.stages)
    known = [name for name in setting.methods if name in torch_cam_methods()]
    eigen = sum(_fits(setting, stage) for stage in stages)
    of_grad_cam = (len(METHODS) - 2) * count + 2 * eigen

    def each() -> list[Any]:
        return [
            _grad_cam(setting, method, [stage])
            for method in METHODS
            for stage in stages
            if "eigen" not in method or _fits(setting, stage)
        ]

    def per_method() -> list[Any]:
        return [
            _grad_cam(setting, method, [s for s in stages if "eigen" not in method or _fits(setting, s)])
            for method in METHODS
        ]

    mine, same = (
        f"pellucid, {len(setting.methods)} methods",
        f"pellucid, the {len(known)} methods of torch-cam",
    )
    maps = {name: 1 if name == "cam" else count for name in setting.methods}
    heavy = [] if setting.name == "vgg16" else [("as documented", each, 15)]  # minutes there
    return [
        Contender(PLAIN, "torch", setting.plain),
        Contender(FLOOR, "torch", lambda: setting.floor(0)),
        Contender(mine, "pellucid", lambda: setting.pellucid(setting.methods), sum(maps.values())),
        Contender(same, "pellucid", lambda: setting.pellucid(known), sum(maps[name] for name in known)),
        *(
            Contender(f"grad-cam, {how}", "grad-cam", run, of_grad_cam, mine, every)
            for how, run, every in [*heavy, ("one pass per method", per_method, 5)]
        ),
        *(
            Contender(f"torch-cam, {how}", "torch-cam", run, sum(maps[name] for name in known), same, every)
            for how, run, every in [
                (
                    "as documented",
                    lambda: torch_cam_each(setting, known),
                    5 if setting.name == "vgg16" else 1,
                ),
                ("one forward pass", lambda: torch_cam_together(setting, known), 1),
            ]
        ),
    ]


TASKS: dict[str, Callable[[Setting], list[Contender]]] = {"last stage": last_stage, "all stages": all_stages}


def _fits(setting: Setting, stage: str) -> bool:
    _, h, w = setting.net.layer(stage).shape
    return h * w <= MOST_CELLS


def _grad_cam(setting: Setting, method: str, layers: Sequence[str]) -> Any:
    import pytorch_grad_cam as peer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    made = {
        "gradcam": peer.GradCAM,
        "gradcam++": peer.GradCAMPlusPlus,
        "xgradcam": peer.XGradCAM,
        "hirescam": peer.HiResCAM,
        "gradcam-elementwise": peer.GradCAMElementWise,
        "layercam": peer.LayerCAM,
        "eigencam": peer.EigenCAM,
        "eigengradcam": peer.EigenGradCAM,
    }[method]
    with made(setting.module, [setting.module.get_submodule(name) for name in layers]) as cam:
        return cam(setting.image, [ClassifierOutputTarget(CLASS)])


def torch_cam_methods() -> dict[str, Any]:
    """torch-cam's extractors by our names."""
    from torchcam import methods as peer

    return {
        "gradcam": peer.GradCAM,
        "gradcam++": peer.GradCAMpp,
        "xgradcam": peer.XGradCAM,
        "layercam": peer.LayerCAM,
        "cam": peer.CAM,
    }


def _extractor(setting: Setting, name: str) -> Any:
    if name == "cam":
        return torch_cam_methods()["cam"](setting.module, setting.stages[-1], "fc")
    return torch_cam_methods()[name](setting.module, list(setting.stages))


def torch_cam_each(setting: Setting, names: Sequence[str]) -> dict[str, list[Tensor]]:
    """A forward and a backward pass for each method."""
    found = {}
    for name in names:
        with _extractor(setting, name) as extractor, torch.set_grad_enabled(name != "cam"):
            found[name] = extractor(CLASS, setting.module(setting.image), normalized=False)
    return found


def torch_cam_together(setting: Setting, names: Sequence[str]) -> dict[str, list[Tensor]]:
    """One forward pass, and a backward pass for each method."""
    with contextlib.ExitStack() as stack:
        made = {name: stack.enter_context(_extractor(setting, name)) for name in names}
        scores = setting.module(setting.image)
        keep = {name: {} if name == "cam" else {"retain_graph": True} for name in names}
        return {n: extractor(CLASS, scores, normalized=False, **keep[n]) for n, extractor in made.items()}


def warm(library: str) -> None:
    """Import a library and all that it imports late, by running it on something small."""
    tiny = Setting("squeezenet1_1", 64)
    tiny.pellucid(METHODS)  # every contender's process has pellucid in it
    for each in last_stage(tiny):
        if each.library == library:
            each.run()


def check(setting: Setting) -> None:
    """Before anything is timed: the stages are pellucid's own, and what is compared is the same map."""
    assert setting.net.default_layers == setting.stages, (setting.net.default_layers, setting.stages)
    ours = {name: [each.values for each in maps.values()] for name, maps in setting.pellucid(METHODS).items()}
    kept, slopes = setting.floor(0)
    hand = [(a * g.mean((2, 3), keepdim=True)).sum(1).relu() for a, g in zip(kept, slopes, strict=True)]
    theirs = torch_cam_each(setting, ["gradcam", "layercam"])
    for name, maps in (("gradcam", hand), *theirs.items()):
        for mine, other in zip(ours[name], maps, strict=True):
            scale = float(mine.abs().max())
            torch.testing.assert_close(mine, other.detach(), rtol=1e-3, atol=1e-4 * scale)
    setting.clean()
