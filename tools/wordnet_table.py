"""Write the table of words for ImageNet's classes: every class, every noun of WordNet 3.0 above one, in plain words.

    python tools/wordnet_table.py imagenet_class_index.json [--wordnet /usr/share/wordnet]

The index is the usual JSON object {"0": ["n01440764", "tench"], …}; WordNet is Debian's package `wordnet-base`. An ImageNet
identifier is the letter n and the offset of the noun in WordNet 3.0. Output, in `src/pellucid/naming/wordnet/`:
`imagenet.tsv`, one noun a line (identifier, index of the class or `-`, whether the noun says anything, identifiers of the nouns
directly above, plain name, WordNet's names), and `LICENSE`, WordNet's licence.
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "pellucid" / "naming" / "wordnet"

# Nouns that say nothing a person would want to hear: an answer has to be below them.
MUTE = [
    "n00001740",
    "n00001930",
    "n00002684",
    "n00003553",
    "n00021939",
    "n00004475",
    "n00004258",
    "n03575240",
    "n01466257",
    "n01471682",
    "n01886756",
    "n03183080",
    "n03094503",
    "n03122748",
    "n03100490",
    "n03076708",
    "n03093574",
    "n01905661",
    "n00020827",
    "n03294048",
    "n03563967",
    "n04170037",
    "n01661818",
    "n03574816",
    "n04014297",
    "n00020090",
    "n15046900",
    "n00019128",
    "n11675842",
    "n13087625",
    "n13086908",
    "n01473806",
    "n03257877",
    "n03738472",
    "n04081844",
    "n07570720",
    "n07566340",
    "n03839993",
    "n03736970",
    "n00002137",
    "n00007347",
    "n00019613",
    "n00031921",
    "n03892891",
    "n13809207",
    "n14778436",
    "n03247620",
    "n00022903",
    "n14939900",
    "n14940386",
    "n04377057",
    "n03932203",
    "n03125870",
    "n04188643",
    "n00033020",
    "n03700963",
    "n02756098",
    "n03391770",
    "n04361095",
    "n02384858",
    "n03096960",
    "n03859495",
    "n00027807",
    "n13865483",
    "n00024264",
    "n13899200",
    "n13899404",
    "n09289709",
    "n08620061",
    "n00027167",
    "n08578706",
    "n04602044",
    "n06254669",
    "n04007894",
    "n03953020",
    "n03297735",
    "n03748162",
    "n03405265",
    "n04359589",
    "n04470953",
    "n03269401",
    "n03274561",
    "n03248958",
    "n02152991",
    "n01661592",
    "n03430959",
    "n03129123",
    "n03664943",
    "n02755352",
    "n03091374",
    "n03302121",
    "n02735688",
    "n09349797",
    "n14580897",
    "n07556970",
    "n04550840",
    "n03169390",
    "n03744840",
    "n02730265",
    "n04336034",
    "n04217718",
    "n03851341",
    "n04362025",
]

# Plain words for nouns whose first name in WordNet is a term of zoology or of trade, or names something else too.
BROADER = {
    "n00015388": "animal", "n01767661": "insect, spider or crab", "n01503061": "bird", "n02083346": "dog or wolf",
    "n02075296": "dog, cat, bear or the like", "n01317541": "pet or farm animal", "n02084071": "dog", "n04576211": "vehicle with wheels",
    "n02120997": "cat or big cat", "n02121620": "cat", "n02127808": "big cat", "n02370806": "hoofed animal",
    "n02394477": "hoofed animal", "n02399000": "hoofed animal", "n02401031": "cattle, sheep or antelope", "n02402010": "cattle",
    "n01674216": "lizard", "n01524359": "songbird", "n01525720": "songbird", "n02514825": "fish", "n02528163": "fish",
    "n01428580": "fish", "n02552171": "fish", "n01480516": "shark or ray", "n01482071": "shark or ray", "n01439121": "fish",
    "n01438208": "fish", "n02554730": "fish", "n02638596": "fish", "n02642107": "fish", "n01727646": "snake", "n01745125": "snake",
    "n01753959": "viper", "n01689411": "lizard", "n01676755": "lizard", "n01662622": "turtle", "n02441326": "weasel or the like",
    "n01789386": "fowl", "n02153203": "fowl", "n01802721": "fowl", "n02274024": "butterfly", "n01940736": "mollusk",
    "n01976146": "crab or lobster", "n01974773": "crab or lobster", "n01769347": "spider or scorpion", "n02484473": "monkey",
    "n02489589": "monkey", "n02470899": "ape", "n02480153": "ape", "n02483092": "gibbon", "n02323449": "rabbit or hare",
    "n02323902": "rabbit or hare", "n01845477": "duck or goose", "n01845132": "water bird", "n01844917": "water bird",
    "n02000954": "wading bird", "n02021795": "seabird", "n02022684": "shorebird", "n01909422": "jellyfish or coral",
    "n01914163": "coral or anemone", "n02316707": "starfish or sea urchin", "n01874434": "marsupial", "n01873982": "marsupial",
    "n01871543": "platypus or echidna", "n01871875": "platypus or echidna", "n02062744": "whale", "n02062430": "whale",
    "n02062017": "sea mammal", "n02373336": "horse or zebra", "n02374149": "horse or zebra", "n02453611": "sloth or armadillo",
    "n02503517": "elephant", "n02507649": "panda", "n02134971": "mongoose or meerkat", "n02268148": "dragonfly",
    "n02206270": "bee or ant", "n02232951": "insect", "n02246011": "insect", "n02171869": "beetle", "n02107420": "Swiss mountain dog",
    "n01578575": "crow-like bird", "n01825930": "bird", "n01630284": "newt", "n01632047": "salamander", "n01696633": "crocodile or alligator",
    "n01695681": "dinosaur", "n02090827": "greyhound", "n02118333": "fox", "n02131653": "bear", "n02092468": "terrier",
    "n04530566": "ship or boat", "n04128837": "sailboat", "n04531098": "bottle, pot or bowl", "n03510583": "airplane",
    "n03666917": "airship or balloon", "n02958343": "car", "n03791235": "motor vehicle", "n02959942": "railroad car",
    "n04019101": "bus or train", "n03484083": "cart", "n04543158": "cart", "n04341686": "building or other structure",
    "n04417809": "theater", "n04202417": "shop", "n03546340": "dwelling", "n03259505": "dwelling", "n09287968": "landscape",
    "n09366317": "mountain or hill", "n09433442": "shore", "n04263760": "light", "n03502509": "hat or helmet", "n03497657": "hat",
    "n03380867": "shoes", "n03381126": "stockings", "n03540267": "stockings", "n03051540": "clothing", "n03419014": "garment",
    "n03863923": "coat", "n02729837": "appliance", "n03528263": "household appliance", "n03620052": "kitchen appliance",
    "n04580493": "household appliance", "n03733925": "measuring instrument", "n04437953": "clock or watch", "n03405725": "furniture",
    "n04161981": "chair or sofa", "n02913152": "building", "n03278248": "electronic device", "n03082979": "computer",
    "n04586932": "wind instrument", "n04598582": "woodwind instrument", "n02817799": "woodwind instrument", "n02891788": "brass instrument",
    "n03228016": "woodwind instrument", "n03414162": "ball or game", "n04565375": "weapon", "n03467984": "gun",
    "n07705711": "fruit or vegetable", "n07705931": "fruit", "n13134947": "fruit", "n13135832": "seed", "n07557434": "dish",
    "n07566863": "bread", "n07622061": "bread", "n07809368": "sauce", "n07809096": "sauce", "n07810907": "sauce", "n07712382": "snack",
    "n07881800": "drink", "n07884567": "alcoholic drink", "n07930554": "drink", "n12992868": "mushroom", "n00017222": "plant",
    "n13083586": "plant", "n11552386": "plant", "n11665372": "flower", "n00021265": "food", "n07555863": "food", "n00007846": "person",
    "n03206908": "dish or bowl", "n03133538": "dishes", "n04381994": "dishes", "n03101986": "cookware", "n03621049": "kitchen utensil",
    "n03154073": "blade", "n03265032": "blade", "n03154446": "blade", "n03699975": "machine",
    "n03932670": "cloth", "n03309808": "fabric", "n04191943": "shelter", "n02851099": "blind or curtain", "n04151581": "screen",
    "n02883344": "box", "n02773037": "bag", "n02862048": "armor", "n04192858": "armor", "n02740764": "armor", "n03959701": "armor",
    "n03800933": "musical instrument", "n03916720": "computer accessory", "n03163973": "computer accessory",
    "n04608567": "pen", "n03323703": "fastener", "n02880940": "bowl", "n03513137": "helmet", "n06873571": "signal", "n06791372": "sign",
    "n04217882": "sign", "n06793231": "sign", "n04187061": "sheath", "n02933112": "cabinet", "n03050026": "blanket or bandage",
    "n04379243": "table", "n02796623": "fence or barrier", "n03795580": "door or gate", "n04571292": "weights", "n03472232": "gymnastic apparatus",
    "n03985232": "portable computer", "n03918480": "computer", "n03196324": "computer", "n04574999": "wheel", "n04317420": "stick",
    "n04296261": "stick", "n02898711": "bridge", "n03743902": "monument", "n04447443": "cosmetics", "n03714235": "makeup",
}  # fmt: skip


def nouns(file: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Identifier → (names, identifiers of the nouns directly above), of every noun of WordNet."""
    table = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        fields = line.partition("|")[0].split()
        count = int(fields[3], 16)
        names = [fields[4 + 2 * place].replace("_", " ") for place in range(count)]
        pointers = fields[5 + 2 * count :]
        above = [
            f"n{pointers[at + 1]}" for at in range(0, len(pointers) - 3, 4) if pointers[at] in ("@", "@i")
        ]
        table["n" + fields[0]] = (names, above)
    return table


def above(table: dict[str, tuple[list[str], list[str]]], identifiers: Iterable[str]) -> list[str]:
    """The identifiers and everything above them, in order of identifier."""
    waiting, reached = list(identifiers), set()
    while waiting:
        identifier = waiting.pop()
        if identifier not in reached:
            reached.add(identifier)
            waiting += table[identifier][1]
    return sorted(reached)


def main() -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    given = parser.parse_args()
    listed = json.loads(given.index.read_text(encoding="utf-8"))
    classes = {identifier: int(index) for index, (identifier, _) in listed.items()}
    table = nouns(given.wordnet / "data.noun")
    lines = ["# derived from WordNet 3.0, see LICENSE; written by tools/wordnet_table.py"]
    for identifier in above(table, classes):
        names, parents = table[identifier]
        index = classes.get(identifier)
        plain = BROADER.get(identifier, names[0])  # of classes the package has plain names already
        says = "0" if identifier in MUTE else "1"
        lines.append(
            "\t".join(
                [
                    identifier,
                    "-" if index is None else str(index),
                    says,
                    ",".join(parents),
                    plain,
                    "|".join(names),
                ]
            )
        )
    OUT.mkdir(parents=True, exist_ok=True)
    OUT.joinpath("imagenet.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    head = given.wordnet.joinpath("data.noun").read_text(encoding="utf-8").splitlines()
    licence = [re.sub(r"^ +\d+ ?", "", line).rstrip() for line in head if line.startswith(" ")]
    OUT.joinpath("LICENSE").write_text("\n".join(licence).strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
