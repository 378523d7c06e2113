"""Against independent implementations: captum, pytorch-grad-cam and torch-cam, where theirs are right.

Left out for cause: torch-cam's Grad-CAM++ (its denominator is written to a copy and has no effect).
"""

import numpy as np
import pytest
import torch
from tests.reference.models import Plain, lively

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.core.registry import create
from pellucid.zoo.zoos import import_torchvision

pytestmark = pytest.mark.filterwarnings("ignore")
LAYERS = ["relu1", "conv2", "pool2", "relu3"]
TARGETS = [1, 4]


@pytest.fixture(scope="module")
def case():
    net = pl.load(lively(Plain(), seed=1), input_shape=(3, 20, 16))
    net.module.eval()
    x = torch.randn(2, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    return net, x, capture(net, x, ["input", *LAYERS], TARGETS)


def close(found, expected, rtol=1e-4):
    found, expected = torch.as_tensor(np.asarray(found)), torch.as_tensor(np.asarray(expected))
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected.to(found), rtol=rtol, atol=rtol * float(expected.abs().max()))


def submodule(net, layer):
    return net.module.get_submodule(layer)


@pytest.mark.parametrize("layer", LAYERS)
def test_gradcam_and_hirescam_of_captum(case, layer):
    from captum.attr import LayerGradCam, LayerGradientXActivation

    net, x, trace = case
    expected = LayerGradCam(net.module, submodule(net, layer)).attribute(x, TARGETS)[:, 0]
    close(create("attribution", "gradcam")(trace, layer), expected.detach())
    expected = LayerGradientXActivation(net.module, submodule(net, layer)).attribute(x, TARGETS).sum(1)
    close(create("attribution", "hirescam")(trace, layer), expected.detach())
    close(create("attribution", "gradient-x-input")(trace, layer), expected.detach())


def test_gradients_of_captum(case):
    from captum.attr import InputXGradient, Saliency

    net, x, trace = case
    close(
        create("attribution", "gradient")(trace, "input"), Saliency(net.module).attribute(x, TARGETS).amax(1)
    )
    expected = InputXGradient(net.module).attribute(x, TARGETS).sum(1)
    close(create("attribution", "gradient-x-input")(trace, "input"), expected.detach())


@pytest.mark.parametrize("layer", ["input", *LAYERS])
def test_integrated_gradients_of_captum(case, layer):
    from captum.attr import IntegratedGradients, LayerIntegratedGradients

    net, x, trace = case
    theirs = (
        IntegratedGradients(net.module)
        if layer == "input"
        else LayerIntegratedGradients(net.module, submodule(net, layer))
    )
    method = create("attribution", "integrated-gradients", steps=7, baseline=0.25)
    expected = theirs.attribute(x, torch.full_like(x, 0.25), TARGETS, n_steps=7, method="gausslegendre").sum(
        1
    )
    close(method(trace, layer), expected.detach())


def test_trapezoid_of_captum(case):
    """Captum's trapezoid divides by n instead of n − 1: its sum is short by that factor."""
    from captum.attr import IntegratedGradients

    net, x, trace = case
    expected = IntegratedGradients(net.module).attribute(
        x, torch.zeros_like(x), TARGETS, n_steps=9, method="riemann_trapezoid"
    )
    method = create("attribution", "integrated-gradients", steps=9, rule="trapezoid")
    found = method(trace, "input")
    ratio = float((found * expected.sum(1)).sum() / (expected.sum(1) ** 2).sum())
    assert min(abs(ratio - 1), abs(ratio - 9 / 8)) < 1e-3
    close(found / ratio, expected.sum(1))


@pytest.mark.parametrize(
    ("name", "theirs"), [("guided-backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")]
)
def test_changed_rectifiers_of_captum(case, name, theirs):
    import captum.attr

    _, x, trace = case
    expected = getattr(captum.attr, theirs)(lively(Plain(), seed=1).eval()).attribute(x, TARGETS)
    close(create("attribution", name).gradients(trace, "input"), expected.detach())


def test_smoothgrad_of_captum(case, monkeypatch):
    """With the same noise: captum's sampling is replaced by the noise ours draws."""
    from captum.attr import NoiseTunnel, Saliency

    net, x, trace = case
    sigma = 0.15 * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))[:, None, None, None]
    generator = torch.Generator().manual_seed(0)
    noise = torch.stack([torch.randn(x.shape[1:], generator=generator) for _ in range(4)])  # [sample c h w]
    monkeypatch.setattr(torch, "normal", lambda mean, std: (sigma[:, None] * noise[None]).flatten(0, 1))
    expected = NoiseTunnel(Saliency(net.module)).attribute(
        x, nt_type="smoothgrad", nt_samples=4, stdevs=1.0, target=TARGETS, abs=False
    )
    monkeypatch.undo()
    close(create("attribution", "smoothgrad", samples=4)(trace, "input"), expected.abs().amax(1))


GRADCAMS = {
    "gradcam": ("GradCAM", {}),
    "gradcam++": ("GradCAMPlusPlus", {"epsilon": 1e-6}),
    "xgradcam": ("XGradCAM", {"absolute": False}),
    "hirescam": ("HiResCAM", {}),
    "gradcam-elementwise": ("GradCAMElementWise", {}),
    "layercam": ("LayerCAM", {}),
    "eigencam": ("EigenCAM", {}),
    "eigengradcam": ("EigenGradCAM", {}),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", GRADCAMS)
def test_pytorch_grad_cam(case, name, layer):
    """Its raw map, before ReLU and scaling; principal components up to sign."""
    import_torchvision()
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    _, x, trace = case
    theirs, parameters = GRADCAMS[name]
    module = lively(Plain(), seed=1).eval()
    with getattr(pytorch_grad_cam, theirs)(module, [module.get_submodule(layer)]) as cam:
        targets = [ClassifierOutputTarget(target) for target in TARGETS]
        cam(x, targets)
        held = cam.activations_and_grads
        A = held.activations[0].numpy()
        g = held.gradients[0].numpy() if held.gradients else None  # Eigen-CAM takes none
        expected = cam.get_cam_image(x, cam.target_layers[0], targets, A, g, False)
    found = create("attribution", name, **parameters)(trace, layer).numpy()
    if name.startswith("eigen"):
        signs = np.sign((found * expected).sum((1, 2)))
        expected = expected * signs[:, None, None]
    close(found, expected, rtol=1e-3 if name.startswith("eigen") else 1e-4)


TORCHCAMS = {"cam": "CAM", "gradcam": "GradCAM", "xgradcam": "XGradCAM", "layercam": "LayerCAM"}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        (name, layer)
        for name in TORCHCAMS
        for layer in ("relu1", "relu3")
        if name != "cam" or layer == "relu3"
    ],
)
def test_torch_cam(case, name, layer):
    import torchcam.methods

    _, x, trace = case
    module = lively(Plain(), seed=1).eval()
    options = {"fc_layer": "fc"} if name == "cam" else {}
    with getattr(torchcam.methods, TORCHCAMS[name])(module, layer, input_shape=(3, 20, 16), **options) as cam:
        output = module(x)
        (expected,) = cam(TARGETS, output, normalized=False)
    close(create("attribution", name)(trace, layer).relu(), expected.detach().relu())
