"""The model card of an embedded network, from the facts of its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(facts: Mapping[str, Any]) -> str:
    """The model card of an embedded network, in Markdown."""
    world = (
        "every class was seen only in its habitual scene: the network may lean on the background, on purpose"
        if facts["confounding"]
        else "class and background were independent"
    )
    recipe = ", ".join(
        [
            f"{facts['images']:,} scenes",
            f"{facts['epochs']} epochs",
            f"batch {facts['batch_size']}",
            f"learning rate {facts['learning_rate']:g}",
            f"weight decay {facts['weight_decay']:g}",
            facts["precision"],
        ]
    )
    rows = {
        **{
            f"test scenes, {name}": f"{100 * value:.2f} % of {facts['test_images']:,}"
            for name, value in facts["accuracy"].items()
        },
        "parameters": f"{facts['parameters']:,}, matrices in half precision",
        "input": f"{facts['size']} × {facts['size']}, mean 0.5, standard deviation 0.25",
        "training": recipe,
        "seed": facts["seed"],
        "time": f"{facts['training_minutes']:g} minutes of training steps",
        "machine": facts["machine"],
        "licence": "Apache-2.0",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# {facts["network"]}

Classifier of the ten classes of pellucid's concept world (`pellucid.world`), trained on rendered scenes
only; {world}.

| | |
|---|---|
{table}

Made by `pellucid train classifier --network {facts["network"]}`. Meant for demonstration, teaching and tests;
it knows nothing of real photographs.
"""
