"""A checkout with one tiny recipe, and an empty base channel: builds and installs in a second, without a network."""

import json
from pathlib import Path

from support.checkout import ROOT
from tooling.layout import Layout

RECIPE = """\
schema_version: 1
context:
  version: "1.0"
recipe:
  name: toy-split
  version: ${{{{ version }}}}
source:
  - path: ../..
    filter:
      include: [data/**]
outputs:
  - staging:
      name: toy-build
    build:
      script:
        - {script}
        - mkdir -p $PREFIX/share $PREFIX/bin
        - cp data/text $PREFIX/share/toy
    requirements:
      build: {build}
  - package:
      name: {name}
    inherit: toy-build
    build:
      string: ${{{{ vllm_lane }}}}_h${{{{ hash }}}}_0
    tests:
      - script:
          - {test}
about:
  license: Apache-2.0
  license_file: LICENSE
"""


def write_recipe(
    root: Path, name: str = "toy", script: str = "echo building", build: str = "[]", test: str = "true"
) -> None:
    """Write recipes/`name` of the checkout `root`: a staging script, build requirements, one package test."""
    folder = root / "recipes" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LICENSE").write_text((ROOT / "LICENSE").read_text())
    (folder / "recipe.yaml").write_text(RECIPE.format(name=name, script=script, build=build, test=test))


def make_checkout(root: Path) -> Layout:
    """A checkout at `root` with the recipe `toy` in the lane `cpu`; everything built stays under `root`."""
    (root / "data").mkdir(parents=True)
    (root / "data" / "text").write_text("first\n")
    (root / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (root / "recipe-variants").mkdir()
    (root / "recipe-variants" / "cpu.yaml").write_text("vllm_lane: [cpu]\n")
    (root / "conda_build_config.yaml").write_text("python_min: ['3.10']\n")
    write_recipe(root)
    return Layout(root=root, home=root / "build", cache=root / "cache")


def make_empty_channel(folder: Path) -> str:
    """An empty channel's URL."""
    for subdir in ("linux-64", "noarch"):
        (folder / subdir).mkdir(parents=True)
        contents = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(contents))
    return folder.as_uri()
