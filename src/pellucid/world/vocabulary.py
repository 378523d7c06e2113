"""Every name the concept world knows, in fixed order, and the palette its colors are painted with.

The position of a name is its label: in a label map 0 means unlabeled and ``1 + position`` the name. The order
is part of the format (exported label numbers and trained weights depend on it): append, never reorder.
"""

from __future__ import annotations

import difflib

CLASSES: tuple[str, ...] = (
    "airliner",
    "helicopter",
    "sailboat",
    "cargo ship",
    "car",
    "truck",
    "bicycle",
    "bird",
    "fish",
    "house",
)
SCENES: tuple[str, ...] = ("sky", "open sea", "underwater", "road", "city", "forest", "desert", "snow")
STUFF: tuple[str, ...] = (
    "cloud",
    "sun",
    "water",
    "tree",
    "building",
    "grass",
    "sand",
    "air",
    "road surface",
    "snow cover",
    "mountain",
    "rock",
    "plant",
    "post",
)
OBJECTS: tuple[str, ...] = CLASSES + STUFF
PARTS: tuple[str, ...] = (
    "wheel",
    "window",
    "wing",
    "tail",
    "hull",
    "door",
    "fin",
    "eye",
    "sail",
    "mast",
    "rotor",
    "cabin",
    "roof",
    "fuselage",
    "engine",
    "skid",
    "flag",
    "container",
    "chimney",
    "lamp",
    "bumper",
    "frame",
    "saddle",
    "handlebar",
    "pedal",
    "body",
    "head",
    "beak",
    "leg",
    "mouth",
    "wall",
)
MATERIALS: tuple[str, ...] = ("metal", "wood", "glass", "fabric", "feather", "stone")
TEXTURES: tuple[str, ...] = ("solid", "striped", "dotted", "checked", "zigzag", "grid")
COLORS: tuple[str, ...] = (
    "black",
    "blue",
    "brown",
    "gray",
    "green",
    "orange",
    "pink",
    "purple",
    "red",
    "white",
    "yellow",
)
CATEGORIES: dict[str, tuple[str, ...]] = {
    "scene": SCENES,
    "object": OBJECTS,
    "part": PARTS,
    "material": MATERIALS,
    "texture": TEXTURES,
    "color": COLORS,
}

HABITAT: dict[str, str] = {
    "airliner": "sky",
    "helicopter": "city",
    "sailboat": "open sea",
    "cargo ship": "open sea",
    "car": "road",
    "truck": "desert",
    "bicycle": "forest",
    "bird": "sky",
    "fish": "underwater",
    "house": "snow",
}
"""The scene a class is drawn in when class and background are confounded."""

PALETTE: dict[str, tuple[int, int, int]] = {
    "black": (44, 44, 54),
    "blue": (58, 126, 222),
    "brown": (136, 90, 56),
    "gray": (146, 152, 160),
    "green": (74, 164, 88),
    "orange": (242, 142, 44),
    "pink": (244, 150, 186),
    "purple": (136, 88, 188),
    "red": (216, 60, 56),
    "white": (246, 246, 242),
    "yellow": (250, 210, 70),
}

ACCENTS: dict[str, tuple[str, ...]] = {
    "black": ("white", "yellow", "pink", "gray"),
    "blue": ("white", "yellow", "black"),
    "brown": ("white", "yellow", "orange"),
    "gray": ("white", "black", "red", "purple"),
    "green": ("white", "yellow", "black"),
    "orange": ("white", "black", "brown", "purple"),
    "pink": ("white", "red", "purple", "black"),
    "purple": ("white", "yellow", "pink"),
    "red": ("white", "black", "yellow"),
    "white": ("red", "blue", "green", "black", "purple", "orange"),
    "yellow": ("red", "black", "green", "purple", "blue"),
}
"""The second color of a pattern: only colors that stand out against the first."""


def check_name(kind: str, name: str, names: tuple[str, ...]) -> str:
    """Return ``name`` if it is one of ``names``; otherwise raise ``ValueError`` that suggests close names."""
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"try {' or '.join(map(repr, close))}" if close else f"try one of {', '.join(names)}"
    raise ValueError(f"Expected {kind} to be a known name, got {name!r}; {hint}.")
