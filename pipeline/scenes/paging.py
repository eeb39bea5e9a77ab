"""Lists that come in pages: each is whole, or it is an error.

Searches of APIs, the items of a collection and pages of a search that were saved all lead from
page to page by links `next`, each server in its own way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import urlencode

from tessera_mosaic.pipeline.errors import Corrupt, SceneError
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.links import resolve
from tessera_mosaic.pipeline.scenes.scene import Scene

MAX_PAGES = 2000
"""Most pages of one list: 200,000 items are more than any tile-year has."""

MOST_EMPTY = 10
"""Most pages in a row without an item, of a list that counts more than came."""

MAX_PAGE_BYTES = 64 * 2**20

MAX_LIST_BYTES = 2**30
"""Most bytes of all pages of one list: a tile-year has some tens of megabytes."""

MOST_DAMAGED = 1000
"""Most things in one list that are no items, or have no id, time or place: each is named."""

KEPT_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "range")
"""Headers of requests that no link to a next page may set."""


class Endless(Corrupt):
    """The pages of a list lead in a circle: to ask again would be of no use."""

    request_tries = 1


@dataclass(frozen=True)
class Page:
    """What to ask for one page of a list.

    Parameters
    ----------
    url, method
        Address, and `GET` or `POST`.
    body
        What is posted; None where it is not known, as for a page that was saved.
    headers
        What the link to the page wants to be sent.
    """

    url: str
    method: str = "GET"
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for the same question."""
        return json.dumps([self.url, self.method, self.body, dict(self.headers)], sort_keys=True)

    def following(self, answer: Mapping[str, Any], place: str) -> Page | None:
        """The next page, as the answer to this one says, which came from some address.

        Raises
        ------
        Corrupt
            If it has to be merged into a search that is not known.
        """
        for link in links_of(answer):
            href = link.get("href")
            if link.get("rel") != "next" or not isinstance(href, str) or not href:
                continue
            url, headers = resolve(place, href), _headers(link)
            if str(link.get("method") or "GET").upper() != "POST":
                return Page(url, headers=headers)
            body = link.get("body")
            body = body if isinstance(body, dict) else {}
            if link.get("merge"):
                asked = self.body if self.body is not None else _asked(answer)
                if asked is None:
                    raise Corrupt(
                        f"{plain(place)}: its next page needs the search that it answers, which "
                        "is not known: give the API as the catalogue"
                    )
                body = {**asked, **body}
            return Page(url, "POST", body, headers)
        return None


@dataclass(frozen=True)
class Answered:
    """A page of a list.

    Parameters
    ----------
    page
        What was asked.
    content
        Decoded JSON object.
    place
        Address that answered, after all redirects.
    size
        Number of its bytes.
    """

    page: Page
    content: Mapping[str, Any]
    place: str
    size: int = 0

    @property
    def features(self) -> list[Any]:
        """The items that stand on the page."""
        features = self.content.get("features")
        if not isinstance(features, list):
            raise Corrupt(f"{plain(self.place)}: the answer to a search has no features")
        if (others := sum(not _is_map(each) for each in features)) > MOST_DAMAGED:
            raise Corrupt(f"{plain(self.place)}: {others:,} of its features are no items")
        return features


def ask_page(remote: Remote, page: Page, limit: int = MAX_PAGE_BYTES) -> Answered:
    """Ask for a page, again where that can help.

    Raises
    ------
    SceneError
        Of the class of what went wrong.
    """

    def once() -> Answered:
        headers = {"Accept": "application/geo+json, application/json", **page.headers}
        if page.method == "POST":
            headers["Content-Type"] = "application/json"
            answer = remote.post(page.url, json.dumps(page.body or {}).encode(), headers, limit)
        else:
            answer = remote.get(Access(page.url, headers), limit)
        try:
            content = read_json(answer.data)
        except ValueError as error:
            raise Corrupt(f"{plain(page.url)} did not answer in JSON: {error}") from None
        if not isinstance(content, dict):
            raise Corrupt(f"{plain(page.url)} did not answer with a JSON object")
        return Answered(page, content, answer.url, len(answer.data))

    return remote.persist(once, page.url)


def whole_list(
    first: Page,
    ask: Callable[[Page], Answered],
    remote: Remote,
    name: str,
    most: int = MAX_LIST_BYTES,
) -> list[Answered]:
    """All pages of a list.

    Parameters
    ----------
    first
        The first page.
    ask
        Function that asks for a page.
    remote
        Says how often a list that is not whole is asked for again.
    name
        Of the catalogue, for messages.
    most
        Bytes that all pages may have.

    Raises
    ------
    Corrupt
        If fewer items came than the list counts, each time.
    Endless
        If a page leads back to one that had items, or the pages have more bytes.
    SceneError
        If a page cannot be asked for.
    """
    pages = _to_the_end(first, ask, name, most)

    def whole() -> list[Answered]:
        if (lacking := _lacking(pages)) > 0:
            raise Corrupt(f"{name}: a search lists {lacking:,} items fewer than it counts")
        return pages

    def again(error: SceneError) -> None:
        nonlocal pages
        pages = _to_the_end(first, ask, name, most)

    return remote.persist(whole, first.url, again)


def _to_the_end(
    first: Page, ask: Callable[[Page], Answered], name: str, most: int
) -> list[Answered]:
    """Pages from the first one to the one without a next, or without items where none lack."""
    pages: list[Answered] = []
    asked: set[str] = set()
    contents: set[bytes] = set()
    empty, page = 0, first
    while True:
        asked.add(page.key)
        answered = ask(page)
        pages.append(answered)
        if (size := sum(each.size for each in pages)) > most:
            raise Endless(f"{name}: the pages of a search have {size:,} bytes and go on")
        features = answered.features
        following = _following(page, answered, pages)
        if features and (contents or following is not None):
            content = _digest([_name(feature) for feature in features])
            if content in contents:
                raise Endless(f"{name}: the pages of a search do not end: one comes again")
            contents.add(content)
        if following is None:
            return pages
        empty = 0 if features else empty + 1
        if not features and (empty >= MOST_EMPTY or _lacking(pages) <= 0):
            return pages
        if following.key in asked:
            if not features:
                return pages
            raise Endless(f"{name}: the pages of a search do not end: one leads back")
        if len(asked) >= MAX_PAGES:
            raise Endless(f"{name}: the pages of a search do not end: {MAX_PAGES:,} came")
        page = following


def _following(page: Page, answered: Answered, pages: Sequence[Answered]) -> Page | None:
    """The next page of a list, none where all that it counts has come.

    Raises
    ------
    Corrupt
        If there is one that cannot be asked for.
    """
    try:
        return page.following(answered.content, answered.place)
    except Corrupt:
        if _promised(pages) is None or _lacking(pages) > 0:
            raise
        return None


def _asked(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The search that a saved page answers, where its link `self` tells it."""
    own = (link.get("body") for link in links_of(answer) if link.get("rel") == "self")
    return next((body for body in own if _is_map(body)), None)


def sound_enough(scenes: Iterable[Scene | None], name: str) -> Iterator[Scene]:
    """The scenes of a list, as long as most of its items are any.

    Parameters
    ----------
    scenes
        What each item became; None where it is of no product that is used.
    name
        Of the catalogue, for the message.

    Raises
    ------
    Corrupt
        Once more than `MOST_DAMAGED` of them have no id, time or place.
    """
    damaged = 0
    for scene in scenes:
        if scene is not None:
            damaged += tuple(scene.bbox) == (-180.0, -90.0, 180.0, 90.0)
            if damaged > MOST_DAMAGED:
                raise Corrupt(f"{name}: more than {MOST_DAMAGED:,} items have no id, time or place")
            yield scene


def links_of(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Links of a document, as far as they are any."""
    links = document.get("links")
    yield from (link for link in (links if isinstance(links, list) else ()) if _is_map(link))


def queried(url: str, query: Mapping[str, Any]) -> str:
    """An address with a search as its query; lists are written with commas."""
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else value
        for name, value in query.items()
    }
    return f"{url}{'&' if '?' in url else '?'}{urlencode(texts)}"


def _lacking(pages: Sequence[Answered]) -> int:
    """Number of different items that a list counts and does not have; 0 where it does not count.

    A list that changes while it is read repeats one item and leaves out another.
    """
    promised = _promised(pages)
    if promised is None:
        return 0
    return promised - len({_digest(item) for answered in pages for item in answered.features})


def _promised(pages: Sequence[Answered]) -> int | None:
    """Number of items of the whole list, as its pages tell it; None if they do not."""
    return next((number for number in map(_matched, pages) if number is not None), None)


def _matched(answered: Answered) -> int | None:
    """Number of items of the whole list, as a page tells it; None if it does not."""
    content = answered.content
    told = [content.get("numberMatched")]
    for name in ("context", "search:metadata"):
        about = content.get(name)
        told.append(about.get("matched") if _is_map(about) else None)
    numbers = (n for n in told if isinstance(n, int) and not isinstance(n, bool) and n >= 0)
    return next(numbers, None)


def _headers(link: Mapping[str, Any]) -> dict[str, str]:
    """Headers that a link wants to be sent, as far as they are any that it may set."""
    headers = link.get("headers")
    texts: dict[str, str] = {}
    for name, value in (headers if isinstance(headers, Mapping) else {}).items():
        value = ", ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(value, str | int) and str(name).lower() not in KEPT_HEADERS:
            texts[str(name)] = str(value)
    return texts


def _name(item: Any) -> Any:
    """What an item is called, by its collection and id; the item itself where it has no id."""
    if _is_map(item) and isinstance(item.get("id"), str):
        return [item.get("collection"), item["id"]]
    return item


def _digest(content: Any) -> bytes:
    try:
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    except RecursionError:
        raise Corrupt("an item is nested without end") from None


def _is_map(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
