"""Looks at a report in Chromium: `python3 report_browser.py [--open] FILE`. Ends with 0 when the page does what it must.

With `--open`, any report will do: everything in it is shown, and every button pressed.
"""

import json
import pathlib
import sys
import tempfile

from browser import Browser, until

FIGURE = "#latency-by-request-type"
CURVES = "#ecdf-by-status"
FLAMES = "#critical-paths-app0"
WATERFALLS = "#typical-traces-app0"


def look(browser, url):
    shown = lambda selector: browser.run(f"[...document.querySelectorAll('{selector}')].filter((one) => one.getClientRects().length > 0).length")
    text = lambda selector: browser.run(f"document.querySelector('{selector}').textContent")
    to = lambda selector: browser.run(f"void document.querySelector('{selector}').scrollIntoView({{ block: 'center' }})")
    command = lambda name, **parameters: browser.ask("POST", f"{browser.session}/goog/cdp/execute", cmd=name, params=parameters)
    browser.go(url)
    until(lambda: browser.run("document.documentElement.classList.contains('js')"), "the script of the page")

    # The switch: the bars and the numbers behind them are those of the percentile.
    to(FIGURE)
    until(lambda: shown(f"{FIGURE} .variant") == 1, "one percentile")
    total = f"{FIGURE} .variant.chosen li[data-group] .total"
    first = text(total)
    browser.click(f"{FIGURE} [data-choose='1']")
    until(lambda: text(total) != first, "another percentile")
    assert browser.run(f"document.querySelector(\"{FIGURE} [data-choose='1']\").getAttribute('aria-pressed')") == "true"
    assert shown(f"{FIGURE} .variant") == 1

    # The filter: typed, as people do.
    rows = shown(f"{FIGURE} li[data-group]")
    assert rows >= 6, rows
    browser.click(f"{FIGURE} input")
    for letter in "app3 buy":
        browser.press(letter)
    until(lambda: shown(f"{FIGURE} li[data-group]") == 1, "the one row that fits")
    assert text(f"{FIGURE} .count").startswith(f"1 of {rows} "), text(f"{FIGURE} .count")
    browser.run(f"void ((input) => {{ input.value = ''; input.dispatchEvent(new Event('input')); }})(document.querySelector('{FIGURE} input'))")
    until(lambda: shown(f"{FIGURE} li[data-group]") == rows, "all rows again")

    # Zoom, by button and by key: the bars become wider, and the axis has other marks.
    marks = lambda: text(f"{FIGURE} .variant.chosen .axis g.ticks")
    whole = marks()
    width = lambda: browser.run(f"document.querySelector('{FIGURE} .variant.chosen svg.zoom').getAttribute('width')")
    browser.click(f"{FIGURE} [data-zoom=in]")
    until(lambda: width() == "200%" and marks() != whole, "twice the width")
    browser.click(f"{FIGURE} [data-zoom=reset]")
    until(lambda: width() == "100%" and marks() == whole, "everything again")

    # By keyboard alone: the values of a row, and the next row.
    browser.run(f"void document.querySelector('{FIGURE} .variant.chosen .chart').focus()")
    tip = lambda: browser.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    browser.press("ArrowRight")
    until(lambda: " ms" in tip(), "the tooltip of the first value")
    before = tip()
    browser.press("ArrowRight")
    until(lambda: tip() not in ("", before), "the tooltip of the next value")
    browser.press("+")
    until(lambda: width() == "200%", "zoom by key")
    browser.press("0")
    until(lambda: width() == "100%", "no zoom by key")
    browser.press("Escape")
    until(lambda: tip() == "", "no tooltip")

    # The mouse over a curve: the nearest point, with its name.
    to(f"{CURVES} .plot")
    box = browser.run(f"((box) => [box.left, box.top, box.width, box.height])(document.querySelector('{CURVES} .plot > svg:last-child').getBoundingClientRect())")
    at = {"x": box[0] + box[2] / 2, "y": box[1] + 90}
    command("Input.dispatchMouseEvent", type="mouseMoved", **at)
    until(lambda: "warm" in tip() or "cold" in tip(), "the tooltip of a curve")
    # Drawing over a part of it zooms into this part.
    place = {"x": box[0] + box[2] * 0.25, "y": box[1] + 90}
    command("Input.dispatchMouseEvent", type="mousePressed", button="left", buttons=1, clickCount=1, **place)
    for share in (0.4, 0.75):
        command("Input.dispatchMouseEvent", type="mouseMoved", button="left", buttons=1, x=box[0] + box[2] * share, y=place["y"])
    command("Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, x=box[0] + box[2] * 0.75, y=place["y"])
    view = lambda: [float(end) for end in browser.run(f"document.querySelector('{CURVES}').dataset.view || '0 1'").split()]
    until(lambda: abs(view()[0] - 0.25) < 0.02 and abs(view()[1] - 0.75) < 0.02, "the part that was drawn over")

    boxes_zoom(browser, to)

    # The table behind a figure.
    browser.click(f"{FIGURE} .variant.chosen summary")
    until(lambda: shown(f"{FIGURE} .variant.chosen caption") == 1, "the table")
    # The hostile name is text.
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert not browser.run("window.stolen || false")
    assert "<script>" in browser.run(f"document.querySelector('{FIGURE}').textContent")

    # Dark: the background is dark, and the text is not.
    command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    until(lambda: browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 26)", "a dark page")
    label = browser.run(f"getComputedStyle(document.querySelector('{FIGURE} .sb-s')).fill")
    assert label == "rgb(154, 165, 180)", label
    # Narrow and in print, nothing sticks out.
    for width_of_window, medium in ((380, "screen"), (900, "print")):
        command("Emulation.setEmulatedMedia", media=medium, features=[])
        command("Emulation.setDeviceMetricsOverride", width=width_of_window, height=900, deviceScaleFactor=1, mobile=False)
        until(lambda: browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{medium} fits")

    quiet(browser, url)


def quiet(browser, url):
    """No error on the console, and no request but the one for the page."""
    assert not (logged := browser.log("browser")), logged
    asked = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = {one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"}
    foreign = [one for one in asked if one.split("#")[0] != url and not one.startswith(("data:", "about:", "chrome:"))]
    assert not foreign, foreign


def open_all(browser, url):
    """Shows every figure of a report, and presses what can be pressed."""
    browser.go(url)
    until(lambda: browser.run("document.documentElement.classList.contains('js')"), "the script of the page")
    figures = browser.run("document.querySelectorAll('figure').length")
    assert figures >= 5, figures
    for number in range(figures):
        figure = f"document.querySelectorAll('figure')[{number}]"
        browser.run(f"void {figure}.scrollIntoView()")
        # A chart has something in it, whichever variant is shown.
        empty = f"[...{figure}.querySelectorAll('.variant')].filter((one) => !one.querySelector('.chart svg'))"
        assert browser.run(f"{empty}.length") == 0, browser.run(f"{figure}.id")
        browser.run(f"void {figure}.querySelectorAll('.tools button').forEach((button) => button.click())")
        browser.run(f"void [...{figure}.querySelectorAll('g.box rect')].slice(0, 3).forEach((one) => one.dispatchEvent(new MouseEvent('click', {{ bubbles: true }})))")
        browser.run(f"void {figure}.querySelectorAll('summary').forEach((one) => one.click())")
    quiet(browser, url)


def boxes_zoom(browser, to):
    """A box of a flame graph or waterfall that is clicked fills the width; Escape and a button go back."""
    box = lambda figure, name: f"[...document.querySelectorAll('{figure} .variant.chosen g.box')].find((one) => one.querySelector('title').textContent.startsWith('{name}'))"
    width = lambda figure, name: browser.run(f"Number({box(figure, name)}.querySelector('rect').getAttribute('width'))")
    away = lambda figure, name: browser.run(f"getComputedStyle({box(figure, name)}.querySelector('rect')).display === 'none'")
    click = lambda figure, name: browser.run(f"void {box(figure, name)}.querySelector('rect').dispatchEvent(new MouseEvent('click', {{ bubbles: true }}))")
    chart = lambda figure: f"document.querySelector('{figure} .variant.chosen .chart')"

    to(FLAMES)
    root = width(FLAMES, "a shop")
    small = width(FLAMES, "payment")
    assert 0 < small < 0.8 * root, (small, root)
    words = browser.run(f"document.querySelector('{FLAMES} .picture').textContent")
    click(FLAMES, "payment")
    until(lambda: abs(width(FLAMES, "payment") - root) < 1, "the box fills the width")
    assert width(FLAMES, "a shop") == root, "what it is in fills the width, too"
    assert away(FLAMES, "checkout"), "what is beside it is not shown"
    assert width(FLAMES, "S3") > 0.3 * root
    browser.click(f"{FLAMES} [data-back]")
    until(lambda: width(FLAMES, "payment") == small and not away(FLAMES, "checkout"), "the button goes back")
    assert browser.run(f"document.querySelector('{FLAMES} .picture').textContent") == words, "the texts are as before"
    assert browser.run(f"document.querySelector('{FLAMES} [data-back]').disabled")
    # By keyboard alone: from the box that was clicked to the one beneath, into it, and back.
    browser.run(f"void {chart(FLAMES)}.focus()")
    browser.press("ArrowDown")
    tip = lambda: browser.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    below = "payment (Lambda::Function)"
    until(lambda: tip().startswith(below), "the box beneath")
    assert width(FLAMES, below) < 0.8 * root
    browser.press("Enter")
    until(lambda: abs(width(FLAMES, below) - root) < 1, "Enter lets it fill the width")
    browser.press("Escape")
    until(lambda: width(FLAMES, below) < 0.8 * root, "Escape goes back")

    # A waterfall: names stay, and the marks of the axis are those of the part.
    to(WATERFALLS)
    marks = lambda: browser.run(f"[...document.querySelectorAll('{WATERFALLS} .variant.chosen .picture > text[text-anchor=middle]')].map((one) => one.textContent)")
    whole, before = marks(), width(WATERFALLS, "S3")
    assert whole[0].startswith("0") and len(whole) == 5, whole
    click(WATERFALLS, "S3")
    until(lambda: width(WATERFALLS, "S3") > 2 * before, "the span fills the width")
    zoomed = [float(mark.split()[0]) for mark in marks()]
    assert zoomed[0] > 100 and zoomed == sorted(zoomed), zoomed
    label = browser.run(f"getComputedStyle({box(WATERFALLS, 'checkout')}.querySelector('text')).display")
    assert label != "none", "names stay"
    browser.run(f"void {chart(WATERFALLS)}.focus()")
    browser.press("Escape")
    until(lambda: marks() == whole and width(WATERFALLS, "S3") == before, "everything again")


def main():
    url = pathlib.Path(sys.argv[-1]).resolve().as_uri()
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            open_all(browser, url) if sys.argv[1] == "--open" else look(browser, url)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
