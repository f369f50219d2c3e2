"""Explicit registration, and the drop-in directory ``plugins/``."""

from __future__ import annotations

import inspect
import keyword
import pickle
from pathlib import Path

import pytest
from commands import run_python
from datumaro.components.dataset import Dataset
from datumaro.components.environment import Environment

import datumaro_clip
from datumaro_clip.host.registration import lazy_plugins
from datumaro_clip.host.specs import PLUGINS, store_plugins

PLUGIN_DIRECTORY = Path(__file__).parents[1] / "plugins"


def test_register_returns_the_environment_with_the_plugins():
    env = Environment()
    assert datumaro_clip.register(env) is env
    assert "clip_embed" in env.transforms


def test_registering_twice_changes_nothing():
    env = datumaro_clip.register(Environment())
    before = {name: len(group) for name, group in env.importers.extension_groups.items()}
    datumaro_clip.register(env)
    assert before == {name: len(group) for name, group in env.importers.extension_groups.items()}


@pytest.mark.parametrize(
    ("spec", "plugin"), zip((*PLUGINS, *store_plugins()), lazy_plugins(), strict=True), ids=lambda v: str(v)[:60]
)
def test_each_listed_plugin_can_be_loaded_under_its_name(spec, plugin):
    assert spec.name == plugin.get_plugin_cls().NAME


def test_drop_in_directory_offers_every_plugin_and_they_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    env = Environment(use_lazy_import=False)
    env._builtins_initialized = True
    env.load_plugins(str(PLUGIN_DIRECTORY))
    found = {*env.transforms, *env.exporters, *env.importers, *env.extractors, *env.validators}
    assert found == {spec.name for spec in (*PLUGINS, *store_plugins())}
    for _, plugin in env.transforms.items():
        assert pickle.loads(pickle.dumps(plugin)) is plugin


def test_drop_in_directory_names_a_missing_library_instead_of_vanishing():
    code = f"""
import logging, sys
sys.modules["openvino"] = None
logging.basicConfig(level=logging.WARNING)
from datumaro.components.dataset import Dataset
from datumaro.components.environment import Environment
Environment().load_plugins({str(PLUGIN_DIRECTORY)!r})
"""
    assert "needs openvino: pip install openvino" in run_python(code)


@pytest.mark.parametrize("spec", [spec for spec in PLUGINS if spec.kind == "Transform"], ids=lambda spec: spec.name)
def test_each_option_can_be_a_keyword_argument_of_transform(spec):
    plugin = Environment().transforms[spec.name]
    names = {action.dest for action in plugin.build_cmdline_parser()._actions}
    taken = {"self", *inspect.signature(Dataset.transform).parameters}
    assert not {name for name in names if name in taken or keyword.iskeyword(name) or not name.isidentifier()}
