from dataclasses import replace
from html.parser import HTMLParser

import pytest

from geotoken.pictures import text
from geotoken.regions import Region

ALLOWED = set(
    "p a span dl div dt dd table caption thead tbody tr th td svg rect ol li h3 button strong".split()
)


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def test_everything_is_said(prediction):
    words = " ".join(Elements(text.article(prediction)).words)
    assert "Near Himeji, Hyogo, Japan" in words
    assert "34.8" in words
    assert "Even odds within" in words
    assert "9 in 10 within" in words
    assert "Gorgo" in words
    assert all(f" {level} " in f" {words} " for level in range(0, 21, 2))


def test_a_region_that_the_photo_speaks_against_is_never_sure(prediction):
    doubted = replace(prediction, region=Region.country("JP"), region_probability=0.001)
    html = text.article(doubted)
    assert '<p class="verdict">Hardly Japan: the photo alone says 0.1 %.</p>' in html
    assert "Sure of" not in html


def test_strangers_cannot_add_elements_or_handlers(hostile, failed):
    for html in (text.article(hostile), text.failure(failed, str(failed.error)), text.title(hostile.image)):
        elements = Elements(html)
        assert set(elements.tags) <= ALLOWED
        assert not [name for name, _ in elements.attributes if name.startswith("on")]
        assert not [value for name, value in elements.attributes if value and "javascript:" in value]
        assert any("onerror=alert(1)" in words for words in elements.words)


def test_only_web_links_and_without_referrer(prediction):
    elements = Elements(text.article(prediction))
    links = [value for name, value in elements.attributes if name == "href"]
    assert len(links) > 1
    assert all(link.startswith("https://") for link in links)
    assert elements.attributes.count(("rel", "noreferrer")) == len(links)


@pytest.mark.parametrize(
    ("path", "name"), [("a/b c.jpg", "b c.jpg"), ("x<y>.jpg", "x&lt;y&gt;.jpg"), ("\udcff.jpg", "?.jpg")]
)
def test_the_title_is_the_name_of_the_file(path, name):
    assert text.title(path) == name


def test_the_share_of_a_bar():
    assert 'width="12.5"' in text.bar(0.125)
