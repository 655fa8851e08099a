"""Which base channel is taken, and how a wrong choice is told."""

import asyncio
import json

import pytest

from support.toy_checkout import make_checkout, make_empty_channel
from tooling import channels
from tooling.errors import UserError
from tooling.planning import pins
from tooling.progress import Progress


@pytest.fixture
def layout(tmp_path):
    return make_checkout(tmp_path / "checkout")


def test_a_folder_is_taken_as_it_is(layout, tmp_path, monkeypatch):
    url = make_empty_channel(tmp_path / "mine")
    monkeypatch.setenv("VLLM_RECIPES_CHANNEL", str(tmp_path / "mine"))
    assert channels.base_channel(layout, Progress()) == url


@pytest.mark.parametrize("name", ["https://some.host/channel", "my-mirror"])
def test_urls_and_names_are_taken_as_they_are(layout, monkeypatch, name):
    monkeypatch.setenv("VLLM_RECIPES_CHANNEL", name)
    assert channels.base_channel(layout, Progress()) == name


def test_a_folder_that_is_no_channel_is_refused(layout, tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_RECIPES_CHANNEL", str(tmp_path))
    with pytest.raises(UserError, match=r"holds no <platform>/repodata.json; give a channel's name, URL or folder"):
        channels.base_channel(layout, Progress())


def test_conda_forge_is_preferred_where_it_answers(layout, monkeypatch):
    monkeypatch.delenv("VLLM_RECIPES_CHANNEL", raising=False)
    monkeypatch.setattr(channels, "_why_unreachable", lambda _: answer(None))
    assert channels.base_channel(layout, Progress()) == "conda-forge"


@pytest.mark.parametrize(
    ("origin", "mirrors", "base"),
    [
        ("https://conda.anaconda.org/conda-forge", ["https://here/forge/"], "https://here/forge"),
        ("https://conda.anaconda.org", ["oci://registry/x", "http://here/all"], "http://here/all/conda-forge"),
        ("https://conda.anaconda.org/conda-forge", ["oci://registry/x"], "conda-forge"),
        ("https://conda.anaconda.org/conda", ["https://here/conda"], "conda-forge"),
    ],
)
def test_a_configured_mirror_is_what_is_asked_and_built_from(layout, tmp_path, monkeypatch, origin, mirrors, base):
    asked = []
    monkeypatch.setattr(channels, "_why_unreachable", lambda channel: answer(asked.append(channel)))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/rattler").mkdir(parents=True)
    (tmp_path / "config/rattler/config.toml").write_text(f"[mirrors]\n{json.dumps(origin)} = {json.dumps(mirrors)}\n")
    monkeypatch.delenv("VLLM_RECIPES_CHANNEL", raising=False)
    assert channels.base_channel(layout, Progress()) == base and asked == [base]
    monkeypatch.setenv("VLLM_RECIPES_CHANNEL", "conda-forge")
    assert channels.base_channel(layout, Progress()) == base


def test_the_stand_in_is_made_where_conda_forge_does_not_answer(layout, tmp_path, monkeypatch, capsys):
    import standin

    monkeypatch.delenv("VLLM_RECIPES_CHANNEL", raising=False)
    monkeypatch.setattr(channels, "_why_unreachable", lambda _: answer("dns error"))
    monkeypatch.setattr(standin, "ensure_channel", lambda cache, progress, packages: tmp_path)
    assert channels.base_channel(layout, Progress()) == tmp_path.as_uri()
    assert "conda-forge does not answer (dns error): using a stand-in channel" in capsys.readouterr().err


async def answer(value):
    return value


def test_an_unreachable_channel_is_told_in_one_line():
    reason = asyncio.run(channels._why_unreachable("http://127.0.0.1:9/none"))
    assert reason and "\n" not in reason


def test_pins_follow_what_a_local_channel_holds(layout, tmp_path):
    url = make_empty_channel(tmp_path / "mine")
    records = {f"gcc-{version}.conda": {"name": "gcc_linux-64", "version": version} for version in ("9.4.0", "12.2.0")}
    (tmp_path / "mine/linux-64/repodata.json").write_text(json.dumps({"packages.conda": records}))
    assert pins.local_pins(layout.root, "cpu", url) == {"c_compiler_version": ["12.2.0"]}
    assert pins.local_pins(layout.root, "cpu", "conda-forge") == {}


def test_of_several_toolkits_those_that_the_channel_holds_are_built_for(layout, tmp_path):
    url = make_empty_channel(tmp_path / "mine")
    records = {"nvcc.conda": {"name": "cuda-nvcc_linux-64", "version": "13.2.86"}}
    (tmp_path / "mine/linux-64/repodata.json").write_text(json.dumps({"packages.conda": records}))
    lane = layout.root / "recipe-variants/cuda13.yaml"
    lane.write_text("target_platform: [linux-64]\ncuda_compiler_version: ['13.0', '13.2']\n")
    assert pins.local_pins(layout.root, "cuda13", url) == {"cuda_compiler_version": ["13.2"]}
    lane.write_text("target_platform: [linux-64]\ncuda_compiler_version: ['12.9']\n")
    assert pins.local_pins(layout.root, "cuda13", url) == {}
