"""Keys name what a package is made from; a package is in the store whole or not at all."""

import os

from standin.store import Store, Unit, key_of, read_recipe


def unit(tmp_path, recipe="recipe", script="script", content=b"input", context=None, folder="a"):
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    (place / "build.sh").write_text(script)
    (place / "x.deb").write_bytes(content)
    return Unit("x", recipe, (place / "build.sh",), (place / "x.deb",), context or {"version": "1"})


def test_key_depends_on_everything_that_a_build_sees(tmp_path):
    base = key_of(unit(tmp_path), [("python", "k1")], "engine 1")
    changed = [
        key_of(unit(tmp_path, recipe="other"), [("python", "k1")], "engine 1"),
        key_of(unit(tmp_path, script="other"), [("python", "k1")], "engine 1"),
        key_of(unit(tmp_path, content=b"other"), [("python", "k1")], "engine 1"),
        key_of(unit(tmp_path, context={"version": "2"}), [("python", "k1")], "engine 1"),
        key_of(unit(tmp_path), [("python", "k2")], "engine 1"),
        key_of(unit(tmp_path), [("python", "k1")], "engine 2"),
    ]
    assert len({base, *changed}) == 7


def test_key_does_not_depend_on_places_or_order(tmp_path):
    one = key_of(unit(tmp_path, folder="a"), [("a", "1"), ("b", "2")], "e")
    assert key_of(unit(tmp_path, folder="b"), [("b", "2"), ("a", "1")], "e") == one


def test_stage_lays_out_a_recipe(tmp_path):
    recipe = unit(tmp_path).stage(tmp_path / "staged")
    assert recipe.read_text() == "recipe"
    assert (tmp_path / "staged/build.sh").read_text() == "script"
    assert (tmp_path / "staged/inputs/x.deb").read_bytes() == b"input"


def test_store_finds_by_key(tmp_path):
    store = Store(tmp_path / "store")
    (tmp_path / "built/noarch").mkdir(parents=True)
    (tmp_path / "built/noarch/x-1-0.conda").write_bytes(b"package")
    assert store.find("x", "key") is None
    folder = store.add("x", "key", tmp_path / "built")
    assert store.find("x", "key") == folder and (folder / "noarch/x-1-0.conda").exists()
    assert store.find("x", "other") is None and not (tmp_path / "built").exists()


def test_prune_keeps_what_a_channel_links(tmp_path):
    store = Store(tmp_path / "store")
    for key in ("used", "unused"):
        (tmp_path / "built/noarch").mkdir(parents=True)
        (tmp_path / "built/noarch/x-1-0.conda").write_bytes(b"package")
        store.add("x", key, tmp_path / "built")
    os.link(tmp_path / "store/x-used/noarch/x-1-0.conda", tmp_path / "in-a-channel.conda")
    store.prune()
    assert store.find("x", "used") and not store.find("x", "unused")


def test_shared_files_belong_to_a_recipe(tmp_path):
    (tmp_path / "recipe.yaml").write_text("extra:\n  debs: [gcc-12]\n  shared: [install_wrapper.sh]\n")
    (tmp_path / "build.sh").write_text("")
    text, extra, files = read_recipe(tmp_path)
    assert extra["debs"] == ["gcc-12"] and text.startswith("extra:")
    assert [path.name for path in files] == ["build.sh", "install_wrapper.sh"]
