"""The command line as a user meets it: help, lists, what is printed, the bar."""

import io
import json
import re
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from tests.commandline import call, network_file
from tests.processes import await_condition, pellucid

import pellucid as pl
from pellucid import cli
from pellucid.cli import COMMANDS
from pellucid.commands import console
from pellucid.core import progress

HELP = [
    *([name, "--help"] for name in COMMANDS),
    ["train", "classifier", "--help"],
    ["attribute", "--method", "smoothgrad", "--help"],
    ["attribute", "--method=integrated-gradients", "--help"],
    ["neurons", "--criterion", "gradient", "--help"],
    *(["data", kind, "--help"] for kind in ("sheet", "export", "scene")),
]


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


# ---- help


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_need_no_torch(flag):
    heavy = "[name for name in ('torch', 'numpy', 'tyro', 'PIL', 'tqdm') if name in sys.modules]"
    code = f"import sys\nfrom pellucid.cli import main\nassert main([{flag!r}]) == 0\nassert not {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"pellucid {pl.__version__}")
    assert not done.stderr


def test_overview_names_every_command(capsys):
    assert call() == call("-h") == call("help") == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", printed, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_reads_well(arguments, capsys):
    assert call(*arguments) == 0
    printed, complaint = capsys.readouterr()
    assert "usage: pellucid" in printed
    assert not complaint
    for ugly in ("``", "{None}", "None", "(default: )", "[[", "STR ...", "--no-recursive"):
        assert ugly not in printed, ugly


def test_help_of_a_command_by_name(capsys):
    assert call("help", "models") == 0
    assert "usage: pellucid models" in capsys.readouterr().out


def test_help_shows_the_parameters_of_the_chosen_method(capsys):
    call("attribute", "--method", "smoothgrad", "--help")
    printed = capsys.readouterr().out
    assert "smoothgrad options" in printed
    assert "--samples" in printed


@pytest.mark.parametrize(
    ("typed", "meant"), [("explian", "`explain`"), ("serve", "`neurons`"), ("--net", "`neurons`")]
)
def test_unknown_command_suggests(typed, meant, capsys):
    assert call(typed) == 2
    out, complaint = capsys.readouterr()
    assert not out
    assert complaint.count("\n") == 1
    assert f"`{typed}`" in complaint
    assert meant in complaint


def test_unknown_flag_suggests(capsys):
    assert call("explain", "--targt", "3") == 2
    assert "--target CLASS" in capsys.readouterr().err


# ---- models, methods, data


def test_models(net, capsys):
    assert call("models") == 0
    assert "scenes-resnet" in capsys.readouterr().out
    assert call("models", "--layers", net, "--all") == 0
    table = capsys.readouterr().out
    assert call("models", "--layers", net, "--all", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    expected = pl.load(net)
    assert [row["name"] for row in rows] == [layer.name for layer in expected.layers]
    assert [row["name"] for row in rows if row["stage_end"]] == list(expected.default_layers)
    marked = [line.split()[1] for line in table.splitlines()[2:-1] if line.startswith("*")]
    assert marked == list(expected.default_layers)
    assert call("models", "--zoo", "torchvision") == 0
    assert "torchvision:resnet50" in capsys.readouterr().out.splitlines()


def test_methods(capsys):
    assert call("methods", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    for kind in ("attribution", "neurons", "visualization"):
        assert tuple(entry["name"] for entry in listed if entry["kind"] == kind) == pl.names(kind)
    assert all(entry["summary"] for entry in listed)
    assert call("methods", "--kind", "attribution") == 0
    printed = capsys.readouterr().out
    assert "[samples=25, noise=0.15, seed=0, reduce='max']" in printed
    assert "``" not in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_the_help_of_a_method_leaves_its_attributes_to_the_flags(capsys):
    assert call("visualize", "--method", "fourier", "--help") == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Fourier parametrization with uncorrelated colors" in printed
    assert "Attributes:" not in printed
    assert call("methods", "--help") == 0
    assert "visualization" in capsys.readouterr().out


def test_data(tmp_path, capsys):
    assert call("data") == 0
    assert call("data", "scene", "--out", tmp_path / "deep" / "s.jpg", "--index", 4, "--size", 64) == 0
    with Image.open(tmp_path / "deep" / "s.jpg") as scene:
        assert scene.size == (64, 64)
    assert json.loads((tmp_path / "deep" / "s.json").read_text())
    sheet = tmp_path / "sheet.png"
    assert call("data", "sheet", "--out", sheet, "--count", 6, "--columns", 3, "--size", 32) == 0
    with Image.open(sheet) as drawn:
        assert drawn.size[0] > 3 * 32
    assert call("data", "export", "--out", tmp_path / "broden", "--count", 2, "--size", 32) == 0
    assert (tmp_path / "broden" / "index.csv").is_file()
    assert str(tmp_path / "broden") in capsys.readouterr().out


# ---- what is printed


def test_messages_name_flags():
    said = console.in_flags(
        "Expected at most 9 pixels (max_pixels), got 10; try `pl.load('torchvision:vgg16', weights='w.pt')`, "
        "max_pixels=10, recursive=True or `weights=`"
    )
    assert said == (
        "Expected at most 9 pixels (--max-pixels), got 10; try `--net torchvision:vgg16 --weights w.pt`, "
        "--max-pixels 10, --recursive or `--weights`"
    )


def test_a_terminal_without_unicode(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    console.say("3 × ü")
    assert stream.buffer.getvalue() == b"3 \\xd7 \\xfc\n"


class Terminal(io.StringIO):
    """A terminal that notes when it is first written to."""

    since = None

    def isatty(self):
        return True

    def write(self, text):
        self.since = self.since or (time.monotonic() if text.strip() else None)
        return super().write(text)


def test_the_bar_waits_two_seconds_and_leaves_nothing(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    start = time.monotonic()
    with progress.ticking(progress.bar(3, "explaining")) as bar:
        bar.update()
        await_condition(lambda: "1/3" in shown.getvalue())
        assert shown.since - start > 1.99
    assert shown.getvalue().rsplit("\r", 2)[-2].strip() == ""


def test_no_bar_into_a_file(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(progress.Event, "wait", lambda self, pause: pytest.fail("a clock runs"))
    with progress.ticking(progress.bar(3, "explaining")) as bar:
        bar.update()
    assert shown.getvalue() == ""


def test_a_stop_waits_while_compiled_code_calls_back():
    """A KeyboardInterrupt there would come out as a SystemError, and as a traceback."""
    went_on, caught = [], []
    inside = {"__name__": "numba.core.serialize", "signal": signal, "went_on": went_on}
    exec("def callback():\n    signal.raise_signal(signal.SIGINT)\n    went_on.append(True)\n", inside)

    def work():
        inside["callback"]()
        await_condition(lambda: False)

    with pytest.raises(KeyboardInterrupt), cli._stopping_as_by_keyboard(caught):
        work()
    assert went_on == [True]
    assert caught == [signal.SIGINT]


def test_a_reader_that_goes_away_is_no_error():
    with pellucid("--help") as running:
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 0
