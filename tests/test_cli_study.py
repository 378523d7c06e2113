"""``pellucid study``: lists, runs, passes arguments and exit codes on, and leaves a stopped study time to save."""

import os
import signal
import sys

import pytest
from tests.commandline import call
from tests.processes import PATIENCE, await_condition, started

from pellucid.commands import study


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Studies in the current folder, and none beside the package."""
    folder = tmp_path / "studies"
    (folder / "results").mkdir(parents=True)
    (folder / "shallow_cam.py").write_text("")
    monkeypatch.setattr(study.pellucid, "__file__", str(tmp_path / "a" / "b" / "c" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    return folder


def test_lists_the_repositorys_studies(capsys):
    assert call("study") == 0
    printed = capsys.readouterr().out
    assert "  shallow-cam " in printed
    assert "shallow-cam-maps" not in printed  # not a script of its own


def test_runs_with_arguments_and_exit_code(scripts, capfd):
    (scripts / "two_words.py").write_text(
        '"""What it is."""\nimport sys\nif __name__ == "__main__":\n    print(sys.argv[1:])\n    sys.exit(3)\n'
    )
    assert call("study", "two-words", "--scenes", "5") == 3
    assert call("study") == 0
    assert capfd.readouterr().out.startswith("['--scenes', '5']\nusage: pellucid study NAME")


def test_unknown_and_absent(scripts, capsys):
    (scripts / "sentences.py").write_text('if __name__ == "__main__":\n    pass\n')
    assert call("study", "sentence") == 2
    assert "did you mean `sentences`" in capsys.readouterr().err
    (scripts / "shallow_cam.py").unlink()
    assert call("study") == 2
    assert "an installation without it" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_lets_the_study_save(scripts):
    (scripts / "long.py").write_text(
        "import time, pathlib\n"
        'if __name__ == "__main__":\n'
        "    try:\n"
        "        pathlib.Path('started').touch()\n"
        "        time.sleep(3600)\n"
        "    except KeyboardInterrupt:\n"
        "        time.sleep(1)\n"
        "        pathlib.Path('saved').touch()\n"
    )
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pellucid.commands import study; study.pellucid.__file__ = sys.argv[1]\n"
        "from pellucid.cli import main; sys.exit(main(['study', 'long']))"
    )
    place = str(scripts.parent / "a" / "b" / "c" / "__init__.py")
    command = (sys.executable, "-c", code, place)
    with started(*command, start_new_session=True, cwd=scripts.parent) as process:
        await_condition((scripts.parent / "started").exists, process)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "stopped. So was the study `long`." in said
    assert (scripts.parent / "saved").exists()
