"""Headless Chromium on the page at `/`; skips the test where there is no Chromium."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

WAIT_SECONDS, POLL_SECONDS = 60, 0.05


class Page:
    """The page of one server. Elements are found by id; what the browser did is in its logs."""

    def __init__(self, url: str, width: int = 1240, height: int = 820):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium")
        for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-extensions"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._files = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        service = webdriver.ChromeService(_program("chromedriver"), env=os.environ | {"TMPDIR": self._files.name})
        self.driver = webdriver.Chrome(options=options, service=service)
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.url = url
        self.driver.get(f"{url}/")

    def element(self, css: str):
        return self.driver.find_element("css selector", css)

    def elements(self, css: str) -> list:
        return self.driver.find_elements("css selector", css)

    def text(self, css: str) -> str:
        return self.element(css).text

    def number(self, css: str) -> float:
        """The figure that an element shows, without separators and unit."""
        return float(self.text(css).replace(",", "").split()[0])

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[["Page"], Any], what: str) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT_SECONDS, POLL_SECONDS).until(lambda _: condition(self), what)

    def send(self, text: str) -> None:
        """Types a message and sends it with Enter."""
        from selenium.webdriver.common.keys import Keys

        self.element("#prompt").send_keys(text, Keys.ENTER)

    def wait_answered(self) -> str:
        """The last answer's text, once it is complete."""
        self.wait(lambda page: page.element("#send").is_displayed(), "the answer's end")
        return self.text(".message.assistant:last-child .body")

    def console(self) -> list[str]:
        """What the console has shown since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def outside_requests(self) -> list[str]:
        """Addresses on other hosts that the page asked for."""
        sent = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        addresses = [
            event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"
        ]
        assert addresses, "the browser recorded no request at all"
        return [a for a in addresses if urlsplit(a).netloc != urlsplit(self.url).netloc]

    def close(self) -> None:
        self.driver.quit()
        self._files.cleanup()

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install chromium chromium-driver)")
    return path
