"""pip's configuration is honoured; what is downloaded is whole and has its hash, or is not there at all."""

import pytest

from standin.index import Downloads, Sources, Stopped, configured_sources, parse_pip_config, read_sources
from standin.lock import Pin, read_lock
from support.wheels import downloads_from, make_wheel, sha256
from tooling.errors import UserError


def pin_of(path, version="1.0"):
    return Pin(path.name.split("-")[0], version, sha256(path))


def test_environment_goes_before_files():
    listing = "\n".join(
        [
            ":env:.find-links='/wheels more'",
            "global.find-links='/other'",
            "global.index-url='https://global.invalid/simple'",
            "download.index-url='https://download.invalid/simple'",
            "freeze.index-url='https://freeze.invalid/simple'",
            "no equals sign",
        ]
    )
    options = parse_pip_config(listing)
    assert options == {"find-links": "/wheels more", "index-url": "https://download.invalid/simple"}


def test_several_sources_on_lines_of_their_own():
    options = parse_pip_config(r"global.extra-index-url='\nhttps://a.invalid/simple\nhttps://b.invalid/simple'")
    sources = configured_sources({**options, "index-url": "https://main.invalid/simple"})
    assert sources.index_urls == ("https://main.invalid/simple", "https://a.invalid/simple", "https://b.invalid/simple")


def test_without_an_index_pips_own_is_used():
    assert len(configured_sources({}).index_urls) == 1
    assert len(configured_sources({"extra-index-url": "https://a.invalid/simple"}).index_urls) == 2


def test_no_index():
    assert configured_sources({"no-index": "1", "find-links": "/w"}) == Sources((), ("/w",))


def test_pip_is_asked(monkeypatch, tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://from-file.invalid/simple\ntrusted-host = from-file.invalid\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_TRUSTED_HOST", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "/from/environment")
    sources = read_sources()
    assert "https://from-file.invalid/simple" in sources.index_urls
    assert sources.find_links == ("/from/environment",)
    assert sources.trusted_hosts == ("from-file.invalid",)


def test_passwords_are_not_shown():
    assert Sources(("https://me:secret@host.invalid/simple",), ()).describe() == "https://host.invalid/simple"


def test_lock_lines():
    digest = "a" * 64
    assert read_lock(f"# comment\n\nA_b==1.0 --hash=sha256:{digest}\n") == [Pin("A_b", "1.0", digest)]
    with pytest.raises(UserError, match=r"lock line 1 is not NAME==VERSION .*: a==1"):
        read_lock("a==1")


def test_pinned_file_is_fetched_once(tmp_path):
    wheel = make_wheel(tmp_path / "links", "demo", "1.0")
    make_wheel(tmp_path / "links", "demo", "2.0")
    downloads = downloads_from(tmp_path / "got", tmp_path / "links")
    path = downloads.fetch_pin(pin_of(wheel))
    assert path.read_bytes() == wheel.read_bytes()
    wheel.unlink()
    assert downloads_from(tmp_path / "got", tmp_path / "links").fetch_pin(Pin("demo", "1.0", sha256(path))) == path


def test_wrong_hash_leaves_nothing(tmp_path):
    make_wheel(tmp_path / "links", "demo", "1.0")
    downloads = downloads_from(tmp_path / "got", tmp_path / "links")
    with pytest.raises(UserError, match=r"demo-1\.0-.*does not have the sha256") as caught:
        downloads.fetch_pin(Pin("demo", "1.0", "0" * 64))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "got").iterdir()) == []


def test_interrupted_download_leaves_nothing_under_its_final_name(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path / "links", "demo", "1.0")
    downloads = downloads_from(tmp_path / "got", tmp_path / "links")

    def interrupted(link, target, hashes, report):
        (target / link.filename).write_bytes(wheel.read_bytes()[:10])
        raise KeyboardInterrupt

    whole = downloads.finder.download
    monkeypatch.setattr(downloads.finder, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        downloads.fetch_pin(pin_of(wheel))
    assert list((tmp_path / "got").iterdir()) == []
    monkeypatch.setattr(downloads.finder, "download", whole)
    assert downloads.fetch_pin(pin_of(wheel)).read_bytes() == wheel.read_bytes()


def test_missing_version_says_where_it_looked(tmp_path):
    make_wheel(tmp_path / "links", "demo", "2.0")
    downloads = downloads_from(tmp_path / "got", tmp_path / "links")
    with pytest.raises(UserError, match=r"no 1\.0 of demo.*scripts/standin.*links"):
        downloads.fetch_pin(Pin("demo", "1.0", "0" * 64))


def test_unreachable_index_is_one_line(tmp_path):
    downloads = downloads_from(tmp_path / "got", index_urls=("http://127.0.0.1:9/simple",))
    with pytest.raises(UserError, match=r"demo.*check the network.*127\.0\.0\.1:9") as caught:
        downloads.fetch_pin(Pin("demo", "1.0", "0" * 64))
    assert "\n" not in str(caught.value)


def test_transport_errors_are_tried_again(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path / "links", "demo", "1.0")
    downloads = downloads_from(tmp_path / "got", tmp_path / "links")
    calls = []
    whole = downloads.finder.download

    def flaky(link, target, hashes, report):
        calls.append(link)
        if len(calls) == 1:
            raise RuntimeError("connection reset")
        return whole(link, target, hashes, report)

    monkeypatch.setattr(downloads.finder, "download", flaky)
    assert downloads.fetch_pin(pin_of(wheel)).exists() and len(calls) == 2


def test_stopped_download_is_given_up(tmp_path, index):
    wheel = make_wheel(index.folder / "simple" / "demo", "demo", "1.0", files={"demo.py": "x" * 100_000})
    link = f'<a href="{wheel.name}#sha256={sha256(wheel)}">{wheel.name}</a>'
    (index.folder / "simple/demo/index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
    seen = []

    def watch(name, done, total):
        seen.append((name, done, total))
        raise Stopped

    downloads = Downloads(tmp_path / "got", Sources((index.address,), ()), watch)
    with pytest.raises(UserError, match="was stopped; run the command again"):
        downloads.fetch_pin(pin_of(wheel))
    assert len(seen) == 1 and seen[0][2] == wheel.stat().st_size
    assert list((tmp_path / "got").iterdir()) == []
    assert Downloads(tmp_path / "got", Sources((index.address,), ())).fetch_pin(pin_of(wheel)).exists()


def test_disk_error_is_named(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path / "links", "demo", "1.0")
    downloads: Downloads = downloads_from(tmp_path / "got", tmp_path / "links")

    def full(link, target, hashes, report):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.finder, "download", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        downloads.fetch_pin(pin_of(wheel))
