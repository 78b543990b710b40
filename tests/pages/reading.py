"""What the tests of both report pages read them by."""

import html
import re
from html.parser import HTMLParser

VOID = {"br", "meta", "link", "input", "wbr"}
HOSTILE = "<script>alert(1)</script><b \"'>&amp;"


def words(page):
    """The text of a page as it is read: tags inside a word are nothing, others a space; runs of space are one."""
    text = re.sub("<script.*?</script>", "", page.partition("<body>")[2], flags=re.S)
    text = re.sub("</?(del|ins|samp|code|wbr)>", "", text)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", text)).split())


def hostile(value):
    """The same with every text made hostile, and the keys as they were."""
    if isinstance(value, str):
        return HOSTILE + value
    if isinstance(value, list):
        return [hostile(item) for item in value]
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    return value


class Balance(HTMLParser):
    """Collects the tags that are closed in the wrong order, or never; and all attributes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.wrong, self.attributes = [], [], []
        self.feed(page)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += attributes

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)
