"""``pellucid explain``: why not another class, in another language, with another recognizer; and what it refuses."""

import json

import pytest
from tests.commandline import call, network_file, picture


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("network"))


def refused(capsys, *arguments):
    """The one line a refused command prints."""
    assert call(*arguments) == 2
    printed, complaint = capsys.readouterr()
    assert not printed
    assert complaint.startswith("pellucid: Expected ")
    assert complaint.count("\n") == 1
    return complaint


QUICK = ("--no-faithfulness", "--methods", "gradcam")


def document(folder):
    (file,) = [one for one in folder.glob("*.json") if one.name != "run.json"]
    return json.loads(file.read_text(encoding="utf-8"))


def test_why_not_and_chinese_reach_the_page(tmp_path, capsys):
    given = ("explain", "scenes:val/3", *QUICK, "--why-not", "house", "--language", "zh", "--out", tmp_path)
    assert call(*given) == 0
    found = document(tmp_path)
    assert found["language"] == "zh"
    assert "为什么不是房屋" in found["details"]
    assert "而不是房屋" in found["text"]
    assert "而不是房屋" in capsys.readouterr().out
    assert "contrast" in {one["kind"] for one in found["clauses"]}
    (page,) = tmp_path.glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in text
    assert "为什么不是房屋" in text


def test_parts_of_the_embedded_picture_are_named_and_may_be_left_out(tmp_path):
    assert call("explain", *QUICK, "--out", tmp_path / "with") == 0
    assert (
        call("explain", *QUICK, "--recognizer", "none", "--table", "none", "--out", tmp_path / "without") == 0
    )
    named, bare = document(tmp_path / "with"), document(tmp_path / "without")
    assert {"parts", "part"} & {one["kind"] for one in named["clauses"]}
    assert not {"parts", "absence"} & {one["kind"] for one in bare["clauses"]}
    assert 0 < named["cost"]["parts"] <= 40
    assert named["cost"]["recognizer"] == 2
    assert bare["cost"]["recognizer"] == 0
    assert set(named["regions"]) > {"object", "surroundings"}


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--why-not", "huose"), "did you mean `house`"),
        (("--why-not", "12"), "from 0 to 9"),
        (("--language", "fr"), "Expected a language, got `fr`; try one of `en`, `zh`"),
        (("--recognizer", "nothing"), "Expected a recognizer's name or file, got `nothing`"),
    ],
)
def test_bad_flags_are_refused_in_one_line(net, tmp_path, capsys, flags, text):
    assert text in refused(
        capsys, "explain", picture(tmp_path / "a.png"), "--net", net, *flags, "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


def test_the_class_explained_cannot_be_the_other(net, tmp_path, capsys):
    given = ("explain", picture(tmp_path / "a.png"), "--net", net, "--target", "car", "--why-not", "car")
    assert call(*given, *QUICK, "--out", tmp_path / "out") != 0
    said = capsys.readouterr()
    assert "another class than the explained one" in said.out + said.err
