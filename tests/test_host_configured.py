"""A project's defaults: which file counts, what goes before it, and what it may not say."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from commands import run_command
from datumaro.components.annotation import Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip import cli
from datumaro_clip.cli import doctor
from datumaro_clip.curate.tools import MODULES
from datumaro_clip.errors import OptionError
from datumaro_clip.host.configured import SHARED, defaults_in_force, use_configured_model
from datumaro_clip.host.embed import ClipEmbed
from datumaro_clip.host.specs import PLUGINS, store_plugins
from datumaro_clip.host.transform import transform_of
from datumaro_clip.model.resolve import MODEL_VARIABLE, default_model
from datumaro_clip.system.configuration import find_configuration


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, two below a directory that a file may stand in."""
    here = tmp_path / "shop" / "photos"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for option in SHARED:
        # Set and taken away, so that what a test leaves there is taken away, too.
        monkeypatch.setenv(option.variable or "NONE", "")
        monkeypatch.delenv(option.variable or "NONE")
    return here.parent


def dedup_values(*words: str) -> dict[str, object]:
    found: dict[str, object] = transform_of("clip_dedup").parse_cmdline(list(words))
    return found


def test_without_a_file_nothing_changes(project: Path):
    assert find_configuration() is None
    assert dedup_values()["threshold"] == 0.88
    use_configured_model()
    assert default_model() == "openai/clip-vit-base-patch32"


@pytest.mark.parametrize(("name", "prefix"), [("datumaro-clip.toml", ""), ("pyproject.toml", "tool.datumaro-clip.")])
def test_either_file_sets_defaults_from_a_directory_above(name: str, prefix: str, project: Path):
    top = f"[{prefix.rstrip('.')}]\n" if prefix else ""
    text = f'{top}device = "GPU"\n[{prefix}clip_dedup]\nthreshold = 0.9\nno-vectors = true\nkeep = ["order"]\n'
    (project / name).write_text(text)
    values = dedup_values()
    assert (values["device"], values["threshold"], values["no_vectors"], values["keep"]) == (
        "GPU", 0.9, True, ("order",),
    )  # fmt: skip
    assert "default: 0.9" in transform_of("clip_dedup").build_cmdline_parser().format_help()
    assert ClipEmbed.parse_cmdline([])["device"] == "GPU"


def test_a_word_of_the_command_line_goes_first(project: Path):
    (project / "datumaro-clip.toml").write_text("[clip_dedup]\nthreshold = 0.9\nno-vectors = true\n")
    values = dedup_values("--threshold", "0.5", "--no-vectors")
    assert (values["threshold"], values["no_vectors"]) == (0.5, True)


def test_python_code_does_not_read_the_file(project: Path):
    (project / "datumaro-clip.toml").write_text("[clip_clean]\nmin-side = 10000\n")
    dataset = Dataset.from_iterable([DatasetItem("a", annotations=[Label(0)])], categories=["x"])
    assert transform_of("clip_clean")(dataset).values.min_side == 32


def test_the_nearest_file_counts_and_our_own_goes_first(project: Path):
    (project / "datumaro-clip.toml").write_text('device = "far"\n')
    (project / "pyproject.toml").write_text('[tool.datumaro-clip]\ndevice = "project"\n')
    assert dedup_values()["device"] == "far"
    (project / "photos" / "pyproject.toml").write_text('[project]\nname = "datumaro-clip-user"\n')
    assert dedup_values()["device"] == "far"
    (project / "photos" / "pyproject.toml").write_text('[tool.datumaro-clip]\ndevice = "near"\n')
    assert dedup_values()["device"] == "near"


def test_somebody_elses_broken_project_file_is_passed_over(project: Path):
    (project / "pyproject.toml").write_text("[project\n")
    assert find_configuration() is None


def test_the_environment_goes_before_the_file(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "datumaro-clip.toml").write_text('model = "a"\ncache = "vectors"\n')
    assert dedup_values()["cache"] == str(project / "vectors")
    use_configured_model()
    assert default_model() == "a"
    monkeypatch.setenv(MODEL_VARIABLE, "b")
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", "elsewhere")
    assert dedup_values()["cache"] is None
    use_configured_model()
    assert default_model() == "b"


def test_the_model_above_the_tables_names_none_for_what_has_its_own(project: Path):
    """A model that counted as named would refuse stores and items of another."""
    (project / "datumaro-clip.toml").write_text('model = "a"\n[clip_align]\nmodel = "b"\n')
    assert dedup_values()["model"] is None
    assert transform_of("clip_align").parse_cmdline([])["model"] == "b"


def test_paths_are_taken_from_the_file(project: Path):
    (project / "mine").mkdir()
    (project / "keep.txt").touch()
    (project / "datumaro-clip.toml").write_text(
        'report = "reports"\n[clip_align]\nmodel = "mine"\nreport = "here"\n[clip_clean]\nexcept = "keep.txt"\n'
    )
    assert dedup_values()["report"] == str(project / "reports" / "clip_dedup")
    align = transform_of("clip_align").parse_cmdline([])
    assert (align["model"], align["report"]) == (str(project / "mine"), str(project / "here"))
    assert transform_of("clip_clean").parse_cmdline([])["except_file"] == str(project / "keep.txt")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("devise = 'CPU'", r"datumaro-clip\.toml: there is no key 'devise'; did you mean device\?"),
        ("device = 3", r"datumaro-clip\.toml: --device must be a text, got 3"),
        ("recompute = true", r"there is no key 'recompute'"),
        ("[clip_dedupe]", r"there is no tool or store 'clip_dedupe'; did you mean clip_dedup\?"),
        ("[clip_dedup]\ntreshold = 1", r"toml, clip_dedup: there is no key 'treshold'; did you mean threshold\?"),
        ("[clip_dedup]\nthreshold = 7", r"clip_dedup: --threshold must be from -1 to 1, got 7"),
        ("[clip_dedup]\nno-vectors = 1", r"clip_dedup: --no-vectors must be True or False, got 1"),
        ("device = ", r"datumaro-clip\.toml cannot be read: "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_file_and_key(text: str, complaint: str, project: Path):
    (project / "datumaro-clip.toml").write_text(text)
    with pytest.raises(OptionError, match=complaint):
        dedup_values()


def test_a_file_that_cannot_be_ends_both_commands_in_one_line(project: Path, capsys: pytest.CaptureFixture[str]):
    (project / "datumaro-clip.toml").write_text("devise = 'CPU'")
    assert cli.main(["add", "store", "photos"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"datum-clip: {project / 'datumaro-clip.toml'}: there is no key 'devise'; did you mean device?"
    ]
    done = run_command("datum", "transform", "-t", "clip_dedup", "-o", "out", "photos", cwd=project)
    assert done.returncode == 1
    assert "there is no key 'devise'" in done.stdout
    assert "Traceback" not in done.stdout


def test_doctor_shows_what_is_in_force_and_from_where(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "EXTRAS", {})
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(project / "cache"))
    file = project / "datumaro-clip.toml"
    file.write_text('model = "tiny"\ncache = "off"\nthreads = 2\n[clip_dedup]\nthreshold = 0.9\n')
    assert cli.main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["defaults"] == [
        f"model = tiny, from {file}",
        "device = CPU, built in",
        "precision = auto, built in",
        f"threads = 2, from {file}",
        f"cache = {project / 'cache'}, from DATUMARO_CLIP_CACHE",
        "report = none, built in",
        f"clip_dedup threshold = 0.9, from {file}",
    ]
    file.write_text("[clip_embed]\nthreshold = 0.9\n")
    assert cli.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["defaults"]
    assert told[-1] == f"{file}, clip_embed: there is no key 'threshold'; did you mean threads?"


def test_every_tool_and_store_may_have_a_table(project: Path):
    named = {spec.name for spec in (*PLUGINS, *store_plugins()) if spec.kind in ("Transform", "Validator")}
    named |= {spec.name for spec in store_plugins()}
    assert set(MODULES) < named == set(doctor.option_tables())
    (project / "datumaro-clip.toml").write_text("".join(f"[{name}]\n" for name in sorted(named)))
    assert {default.source for default in defaults_in_force(doctor.option_tables())} == {"built in"}


@pytest.mark.usefixtures("encoder")
def test_many_failures_are_counted_once_and_three_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from datumaro.components.media import Image

    items = [DatasetItem(str(n), media=Image.from_file(str(tmp_path / f"{n}.jpg"))) for n in range(8)]
    with caplog.at_level(logging.INFO):
        list(ClipEmbed(Dataset.from_iterable(items)))
    assert caplog.text.count("Not embedded") == 3
    assert "failed 8 (missing 8; clip_clean names each)" in caplog.text


def test_decisions_made_by_a_command_take_the_tools_table(project: Path):
    (project / "datumaro-clip.toml").write_text('cache = "off"\n[clip_sample]\ncount = 7\n')
    parsed = cli.make_parser(["decisions"]).parse_args(["decisions", "make", "clip_sample", "data", "-o", "out"])
    assert (parsed.count, parsed.cache) == (7, "off")
    assert cli.make_parser(["plan"]).parse_args(["plan", "run", "plan.json"]).cache == "off"
