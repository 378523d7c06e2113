"""``pellucid concepts``: a book, a sheet and a line for each concept."""

import pytest
from PIL import Image
from tests.commandline import call

from pellucid.naming.book import load_book


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64), (60 * number, 200, 255 - 60 * number)).save(made / f"{number}.png")
    return made


def test_a_folder_becomes_a_book_and_a_sheet(folder, tmp_path, capsys):
    out = tmp_path / "out"
    options = (
        "--net",
        "scenes-resnet",
        "--count",
        "2",
        "--seeds",
        "1",
        "--measured",
        "1",
    )
    code = call("concepts", str(folder), *options, "--out", str(out))
    printed = capsys.readouterr()
    assert code == 0, printed.err
    book = load_book(out)
    assert printed.out.count("concept ") == len(book)
    assert (out / "sheet.png").is_file()


def test_a_folder_without_pictures_is_refused_in_one_line(tmp_path, capsys):
    assert call("concepts", str(tmp_path), "--net", "scenes-resnet", "--out", str(tmp_path / "out")) != 0
    assert "Traceback" not in capsys.readouterr().err
