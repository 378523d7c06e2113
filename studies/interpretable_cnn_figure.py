"""Where filters fire: some of the ordinary network and of the interpretable one on the scenes that activate them most."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pellucid as pl
from interpretable_cnn_runs import Shared, Study, trained
from pellucid.core.capture import capture
from pellucid.core.geometry import upsample
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.world import SceneDataset
from pellucid.zoo.interpretable.backbones import open_backbone

FILTERS, SCENES = 5, 4
COLUMNS = 2 * SCENES + 1


def figure(study: Study, file: Path, target: str = "bird") -> Path:
    """Train both networks for one class and draw their strongest filters."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    plan = study.plan
    base = InterpretableTraining(target=target, images=plan.single_images, epochs=plan.single_epochs, seed=1)
    shared = Shared(base, open_backbone(base.backbone).preprocess)
    data = SceneDataset("test", 400)
    wanted = [index for index in range(400) if data.classes[data.scene(index).target] == target][:24]
    pictures = torch.stack([data[index][0] for index in wanted])
    canvas = Figure(figsize=(COLUMNS * 1.25 + 0.3, FILTERS * 1.3 + 0.5))
    for side, ordinary in enumerate((True, False)):
        job = shared.job(replace(base, ordinary=ordinary))
        trained(job)
        net = pl.load(job.module, preprocess=job.backbone.preprocess, classes=job.pictures.classes)
        layer = job.how.layers[-1]
        maps = capture(net, net.preprocess.normalize(pictures), [layer], 1, gradients=False).activations[
            layer
        ]
        peaks = maps.amax((2, 3))
        grid = net.layer(layer).geometry.effective((maps.shape[2], maps.shape[3]), (128, 128))
        # filters spread over the upper half of the layer, not the very strongest alone
        order = peaks.mean(0).argsort(descending=True)[: 4 * FILTERS : 4]
        for row, unit in enumerate(order.tolist()):
            for column, index in enumerate(peaks[:, unit].argsort(descending=True)[:SCENES].tolist()):
                place = (
                    row * COLUMNS + side * (SCENES + 1) + column + 1
                )  # an empty column between the networks
                axis = canvas.add_subplot(FILTERS, COLUMNS, place)
                heat = upsample(maps[index, unit][None], grid, (128, 128), (128, 128))[0]
                heat = (heat / heat.max().clamp_min(1e-9)).numpy()[..., None]
                shown = pictures[index].permute(1, 2, 0).numpy() / 255
                axis.imshow(np.clip(shown * (0.25 + 0.75 * heat), 0, 1))
                axis.set_xticks([])
                axis.set_yticks([])
                if row == 0 and column == 0:
                    axis.set_title("ordinary" if ordinary else "interpretable", loc="left", fontsize=10)
                if column == 0:
                    axis.set_ylabel(f"filter {unit}", fontsize=7)
    canvas.subplots_adjust(left=0.03, right=0.99, top=0.94, bottom=0.01, wspace=0.05, hspace=0.06)
    drawn = io.BytesIO()
    canvas.savefig(drawn, dpi=80, format="png")
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(128).save(file, optimize=True)
    return file
