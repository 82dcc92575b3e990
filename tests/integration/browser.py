"""Looks at a page of `sb ui` in Chromium.

    python3 browser.py URL                      a workspace with a run that measured, and one that failed
    python3 browser.py URL waiting HOLDER GO    a run that waits for the lock of the run HOLDER, which waits for the file GO

Speaks WebDriver to chromedriver, so that it needs nothing but Python. Ends with 0 when the page does what it must, and
says what it saw.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

KEYS = {"Escape": "\ue00c", "Enter": "\ue007", "ArrowRight": "\ue014", "ArrowDown": "\ue015"}
# Of the programs that start a browser for a test; without them it asks for hosts of its maker.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--window-size=1280,900"]


class Browser:
    def __init__(self, profile):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
        until(lambda: self.ask("GET", "/status")["ready"], "chromedriver is ready")
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.session = f"/session/{self.ask('POST', '/session', capabilities={'alwaysMatch': wanted})['sessionId']}"

    def ask(self, method, path, **body):
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def go(self, url):
        self.ask("POST", f"{self.session}/url", url=url)

    def run(self, script):
        return self.ask("POST", f"{self.session}/execute/sync", script=f"return {script}", args=[])

    def click(self, selector):
        found = self.ask("POST", f"{self.session}/element", using="css selector", value=selector)
        self.ask("POST", f"{self.session}/element/{next(iter(found.values()))}/click")

    def press(self, key):
        actions = [{"type": kind, "value": KEYS.get(key, key)} for kind in ("keyDown", "keyUp")]
        self.ask("POST", f"{self.session}/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def log(self, kind):
        return self.ask("POST", f"{self.session}/se/log", type=kind)

    def close(self):
        try:
            self.ask("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait()


def until(holds, what):
    end = time.monotonic() + 60
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise SystemExit(f"not within a minute: {what}")
        time.sleep(0.1)


def look(browser, url):
    text = lambda identifier: browser.run(f"document.getElementById('{identifier}').textContent")
    is_shown = lambda identifier: browser.run(f"document.getElementById('{identifier}').offsetParent !== null")
    browser.go(url)
    until(lambda: "all requests" in text("results"), "the results of the run")
    results, loads = text("results"), text("loads")
    assert "breakdown of 3 traces" in results, results
    assert "3planned" in loads and "3answered" in loads, loads
    # A step, and from there to the next by key.
    browser.click("#graph button.m")
    until(lambda: is_shown("step") and text("step-title"), "the step that was opened")
    browser.press("ArrowRight")
    assert browser.run("document.activeElement.matches('#graph button.m')")
    # A trace.
    browser.click("#slowest .link")
    until(lambda: browser.run("document.getElementById('waterfall-image').naturalWidth") > 0, "the waterfall")
    address, step, trace = browser.run("location.href"), text("step-title"), text("waterfall-title")
    # The address leads another viewer there, too.
    browser.go("about:blank")
    browser.go(address)
    until(lambda: is_shown("step") and is_shown("waterfall"), "what the address names")
    assert (text("step-title"), text("waterfall-title")) == (step, trace)
    for closed in ("waterfall", "step"):
        browser.press("Escape")
        until(lambda: not is_shown(closed), f"{closed} closed by Escape")
    # The other run of the workspace.
    run = text("run")
    other = browser.run("[...document.getElementById('runs').options].map((one) => one.value)")
    assert len(other) == 2 and run in other, other
    other.remove(run)
    browser.run(f"void ((select) => {{ select.value = '{other[0]}'; select.dispatchEvent(new Event('change')); }})(document.getElementById('runs'))")
    until(lambda: text("run") == other[0] and text("state") == "failed", "the run that failed")
    assert browser.run("getComputedStyle(document.getElementById('state')).backgroundColor") == "rgb(198, 47, 47)"
    # The report of the first run, with its figures.
    browser.go(address)
    until(lambda: is_shown("report"), "the link to the report")
    browser.click("#report")
    until(lambda: browser.run("document.querySelectorAll('figure svg').length") > 5, "the figures of the report")
    assert run in browser.run("document.querySelector('h1').textContent")
    assert browser.run("getComputedStyle(document.querySelector('figure')).borderRadius") == "8px", "its style is allowed"
    assert browser.run("document.documentElement.classList.contains('js')"), "its script is allowed"
    assert browser.run("document.querySelectorAll('#timeline li[data-group]').length") > 3
    # Narrow, nothing sticks out.
    browser.ask("POST", f"{browser.session}/window/rect", width=500, height=900)
    browser.go(address)
    until(lambda: is_shown("results"), "the results in a narrow window")
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert not browser.log("browser"), browser.log("browser")
    asked = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = {one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"}
    foreign = [one for one in asked if not one.startswith((url, "data:", "about:", "chrome:"))]
    assert not foreign, foreign


def look_at_waiting(browser, url, holder, go):
    text = lambda identifier: browser.run(f"document.getElementById('{identifier}').textContent")
    waits = f"waiting for lock `region`, held by run {holder}"
    browser.go(url)
    until(lambda: text("state") == "waiting", "the run that waits")
    facts = text("facts")
    assert waits in facts and " left" not in facts, facts
    assert browser.run("document.getElementById('state').classList.contains('warn')")
    # Its step says it, too.
    browser.click("#graph button.m")
    until(lambda: waits in text("step-facts"), "what the step waits for")
    open(go, "w").close()
    until(lambda: text("state") == "complete", "the end of the run that waited")
    assert "waiting" not in text("facts"), text("facts")
    assert not browser.log("browser"), browser.log("browser")


def main():
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            if len(sys.argv) > 2:
                look_at_waiting(browser, sys.argv[1], *sys.argv[3:])
            else:
                look(browser, sys.argv[1])
        finally:
            browser.close()


if __name__ == "__main__":
    main()
