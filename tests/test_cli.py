"""``datum-clip``: one parser for every command, one line for every mistake."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest
from commands import run_command
from stored_datasets import make_items, stored

from datumaro_clip import cli
from datumaro_clip.errors import StoreNotFoundError


@pytest.fixture
def failing_command(monkeypatch: pytest.MonkeyPatch):
    """Makes the command ``inspect`` raise what the test says."""

    def fail_with(error: BaseException) -> None:
        def run(args: object) -> int:
            raise error

        monkeypatch.setattr("datumaro_clip.cli.inspect.run", run)

    return fail_with


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "spared"),
    [
        ([], {"numpy", "openvino", "datumaro"}),
        (["model", "list"], {"cv2", "openvino", "datumaro"}),
        (["inspect", "store"], {"cv2", "openvino", "datumaro"}),
        (["verify", "store"], {"openvino", "pandas.core"}),
        (["search", "store", "--item", "item 0"], {"openvino", "pandas.core"}),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_need(words: list[str], spared: set[str], tmp_path: Path):
    """Else each would take a second before it begins."""
    stored(tmp_path / "store", "clip_mmap", make_items(2))
    code = (
        "import sys; from datumaro_clip.cli import main\ntry: main(sys.argv[1:] or ['--help'])\nexcept SystemExit: pass"
    )
    done = run_command("python", "-c", f"{code}\nprint(*sys.modules)", *words, cwd=tmp_path)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "datumaro_clip.cli" in loaded
    assert loaded & spared == set()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    assert f"datum-clip {name}" in capsys.readouterr().out


def test_our_errors_are_one_line(failing_command, capsys: pytest.CaptureFixture[str]):
    failing_command(StoreNotFoundError("nothing there"))
    assert cli.main(["inspect", "x"]) == cli.FAILURE
    assert capsys.readouterr().err == "datum-clip: nothing there\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "out"), "out: Permission denied; check who may read"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "out/x"), "out/x: Not a directory; name a directory"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room, or name another place"),
        (OSError(errno.EIO, "Input/output error", "out"), "[Errno 5] Input/output error: 'out'"),
        (OSError("said by a library"), "said by a library"),
    ],
)
def test_errors_of_the_file_system_name_file_and_cure(
    error: OSError, line: str, failing_command, capsys: pytest.CaptureFixture[str]
):
    failing_command(error)
    assert cli.main(["inspect", "x"]) == cli.FAILURE
    assert capsys.readouterr().err.startswith(f"datum-clip: {line}")


def test_verbose_shows_the_traceback(failing_command):
    failing_command(StoreNotFoundError("nothing there"))
    with pytest.raises(StoreNotFoundError):
        cli.main(["--verbose", "inspect", "x"])


def test_faults_of_ours_are_a_line_and_all_is_shown_with_v(failing_command, capsys: pytest.CaptureFixture[str]):
    failing_command(KeyError("a programming error"))
    assert cli.main(["inspect", "x"]) == 1
    told = "KeyError: 'a programming error': mend or leave out what it names; -v shows where it happened"
    assert capsys.readouterr().err == f"datum-clip: {told}\n"
    with pytest.raises(KeyError):
        cli.main(["inspect", "x", "-v"])


def test_interruption_has_its_own_exit_status(failing_command, capsys: pytest.CaptureFixture[str]):
    failing_command(KeyboardInterrupt())
    assert cli.main(["inspect", "x"]) == cli.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
