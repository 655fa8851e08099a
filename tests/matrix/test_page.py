"""The page of a channel, clicked through in a browser, held against the solver."""

import asyncio

import pytest

from support.browser import Page
from support.machines import Machine
from tooling.installing.environments import solve


def choose(page, **answers: str) -> None:
    for name, value in answers.items():
        page.run("document.querySelector(arguments[0]).click()", f'input[name="{name}"][value="{value}"]')


def offered(page, name: str) -> list[str]:
    return [item.get_attribute("value") for item in page.elements(f'input[name="{name}"]')]


def solved(channel, machine: Machine, spec: str) -> str:
    """The build that a solver takes, as the page shows it."""
    platforms = [machine.platform, "noarch"]
    records = asyncio.run(solve([channel.as_uri()], [spec], machine.virtual_packages(), platforms))
    return next(f"vllm {r.version} {r.build}" for r in records if r.name.normalized == "vllm")


def spec_of(line: str) -> str:
    """The match spec at the end of a conda line, as this solver writes it."""
    name, _, build = line.split()[-1].strip('"').partition("=*=")
    return f"{name} * {build}" if build else name


NVIDIA = {"device": "cuda"}
CHOICES = {
    "a CPU": ({"platform": "linux-64", "device": "cpu", "level": ""}, Machine()),
    "AVX2, slim": ({"platform": "linux-64", "device": "cpu", "level": "3"}, Machine(archspec="haswell")),
    "AVX-512, slim": ({"platform": "linux-64", "device": "cpu", "level": "4"}, Machine()),
    "Arm": ({"platform": "linux-aarch64", "device": "cpu"}, Machine("linux-aarch64")),
    "POWER": ({"platform": "linux-ppc64le", "device": "cpu"}, Machine("linux-ppc64le")),
    "IBM Z": ({"platform": "linux-s390x", "device": "cpu"}, Machine("linux-s390x")),
    "Apple": ({"platform": "osx-arm64", "device": "cpu"}, Machine("osx-arm64", others={"osx": "14.5"})),
    "AMD": ({"platform": "linux-64", "device": "rocm"}, Machine()),
    "XPU": ({"platform": "linux-64", "device": "xpu"}, Machine()),
    "TPU": ({"platform": "linux-64", "device": "tpu"}, Machine()),
    "no kernels": ({"platform": "linux-64", "device": "empty"}, Machine()),
} | {
    f"{platform}, driver {driver}": (
        {"platform": platform, "device": "cuda", "driver": floor},
        Machine(platform, others={"cuda": driver}),
    )
    for platform in ("linux-64", "linux-aarch64")
    for driver, floor in (("13.9", "13.2"), ("13.2", "13.2"), ("13.1", "13.0"), ("12.9", "12.9"), ("12.4", "0"))
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_page_names_the_build_that_the_solver_takes(browser, channel, address, name):
    answers, machine = CHOICES[name]
    choose(browser, **answers)
    assert browser.text("#package") == solved(channel, machine, spec_of(browser.text("#conda")))
    for client in ("conda", "mamba", "pixi"):
        assert browser.text(f"#{client}").startswith(f"{client} ") and address in browser.text(f"#{client}")
    assert browser.text("#conda").replace("conda ", "mamba ", 1) == browser.text("#mamba")
    assert browser.text("#pixi").splitlines()[-1] == f"pixi add {browser.text('#conda').split()[-1]}"


def test_only_what_fits_is_offered(browser):
    choose(browser, platform="osx-arm64")
    assert offered(browser, "device") == ["cpu", "xpu", "tpu", "empty"]
    assert offered(browser, "driver") == []
    choose(browser, platform="linux-64", device="cuda")
    assert offered(browser, "driver") == ["13.2", "13.0", "12.9", "0"]
    choose(browser, device="cpu")
    assert offered(browser, "level") == ["", "3", "4"]


def test_an_old_driver_is_told_that_it_gets_the_cpu_build(browser):
    choose(browser, platform="linux-64", device="cuda", driver="0")
    assert "older than every CUDA build" in browser.text("#about")
    assert browser.text("#package").split()[-1].startswith("cpu_h")


def test_pixi_is_told_of_the_driver(browser):
    choose(browser, platform="linux-64", device="cuda", driver="13.0")
    assert "pixi workspace system-requirements add cuda 13.0" in browser.text("#pixi").splitlines()


def test_nothing_is_fetched_and_nothing_complained_about(browser):
    assert browser.outside_requests() == []
    assert browser.console() == []


def test_choices_are_made_with_the_keyboard_and_are_named(browser):
    from selenium.webdriver.common.keys import Keys

    choose(browser, platform="linux-64", device="cpu")
    browser.element('input[name="device"]:checked').send_keys(Keys.ARROW_RIGHT)
    assert browser.element('input[name="device"]:checked').get_attribute("value") == "cuda"
    assert browser.run("return document.activeElement.name") == "device", "the focus stays"
    assert all(legend.text for legend in browser.elements("legend"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_reads_well(address, scheme):
    with Page(address, width=360, height=740) as page:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert page.run("return document.documentElement.scrollWidth") <= 360
        assert page.run(CONTRAST, "h1, h2, .lead, legend, label span, pre, td, th, button, #about") >= 4.5


def test_without_scripts_there_is_a_table(channel, address):
    with Page(address) as page:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        page.driver.refresh()
        assert len(page.elements("tbody tr")) > 10
        assert not page.element("#answer").is_displayed()


CONTRAST = """
const channels = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
return Math.min(...[...document.querySelectorAll(arguments[0])].map((e) => {
  const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}));
"""
