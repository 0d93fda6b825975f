"""Fetching against a real server on this machine, which the tests' setting allows; all else stays private."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address, ip_network

import pytest

from bot.errors import NotFetched, Obstacle
from bot.knowledge.documents.addresses import is_public
from bot.knowledge.documents.fetching import Fetcher, FetchLimits
from tests.doubles.website import Website, online

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    async with online(Website(page="<p>Hello.</p>")) as served:
        yield served


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(FetchLimits(allowed_networks=LOOPBACK)) as made:
        yield made


async def _obstacle(fetcher: Fetcher, address: str) -> Obstacle:
    with pytest.raises(NotFetched) as failed:
        await fetcher.fetch(address)
    return failed.value.why


async def test_a_page_is_fetched_with_what_spares_it_the_next_time(site: Website, fetcher: Fetcher) -> None:
    found = await fetcher.fetch(f"{site.url}/page#part")
    assert found is not None and found.content == b"<p>Hello.</p>" and found.url == f"{site.url}/page"
    assert await fetcher.fetch(found.url, etag=found.etag) is None
    site.put("/page", "<p>Changed.</p>")
    changed = await fetcher.fetch(found.url, etag=found.etag)
    assert changed is not None and changed.content == b"<p>Changed.</p>"
    assert site.asked.count("/robots.txt") == 1


async def test_a_server_that_goes_by_dates_is_told_the_date_it_said(site: Website, fetcher: Fetcher) -> None:
    date = "Sat, 28 Nov 2026 08:00:00 GMT"
    site.put("/page", "<p>Hello.</p>", headers={"Last-Modified": date})
    found = await fetcher.fetch(f"{site.url}/page")
    assert found is not None and found.last_modified == date
    await fetcher.fetch(f"{site.url}/page", last_modified=found.last_modified)
    assert site.headers[-1]["if-modified-since"] == date


async def test_it_says_who_asks(site: Website, fetcher: Fetcher) -> None:
    await fetcher.fetch(f"{site.url}/page")
    assert site.headers[-1]["user-agent"].startswith("Thumbloop/")


async def test_what_robots_txt_closes_is_not_asked_for(site: Website, fetcher: Fetcher) -> None:
    site.put("/robots.txt", "User-agent: *\nDisallow: /*.html$\nAllow: /open.html\n")
    site.put("/open.html", "<p>Open.</p>")
    assert await _obstacle(fetcher, f"{site.url}/closed.html") == "robots"
    assert await fetcher.fetch(f"{site.url}/open.html") is not None
    assert site.asked == ["/robots.txt", "/open.html"]


async def test_robots_txt_is_asked_again_where_a_redirect_leads(site: Website, fetcher: Fetcher) -> None:
    site.put("/robots.txt", "User-agent: Thumbloop\nDisallow: /closed\n")
    site.redirect("/page", "/closed")
    assert await _obstacle(fetcher, f"{site.url}/page") == "robots"


async def test_a_site_that_cannot_say_its_rules_is_left_alone(site: Website, fetcher: Fetcher) -> None:
    site.put("/robots.txt", "", status=503)
    assert await _obstacle(fetcher, f"{site.url}/page") == "unreachable"


async def test_the_pause_that_robots_txt_asks_for_is_kept(site: Website) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    site.put("/robots.txt", "User-agent: *\nCrawl-delay: 7\n")
    limits = FetchLimits(allowed_networks=LOOPBACK)
    async with Fetcher(limits, sleep=sleep, clock=lambda: 100.0) as fetcher:
        await fetcher.fetch(f"{site.url}/page")
        assert not slept
        await fetcher.fetch(f"{site.url}/page")
    assert slept == [7.0]


async def test_redirects_are_followed_a_few_times(site: Website, fetcher: Fetcher) -> None:
    site.redirect("/old", "/older", 301)
    site.redirect("/older", f"{site.url}/page", 308)
    found = await fetcher.fetch(f"{site.url}/old")
    assert found is not None and found.url == f"{site.url}/page"
    site.redirect("/round", "/round")
    assert await _obstacle(fetcher, f"{site.url}/round") == "redirects"


async def test_a_page_larger_than_allowed_is_given_up_also_when_its_size_shows_late(site: Website) -> None:
    site.put("/said", b"a" * (1024 * 1024 + 1))
    site.put("/packed", gzip.compress(b"a" * (2 * 1024 * 1024)), headers={"Content-Encoding": "gzip"})
    async with Fetcher(FetchLimits(mib=1, allowed_networks=LOOPBACK)) as fetcher:
        assert await _obstacle(fetcher, f"{site.url}/said") == "too large"
        assert await _obstacle(fetcher, f"{site.url}/packed") == "too large"


async def test_a_server_that_never_ends_is_given_up(site: Website) -> None:
    site.put("/page", "<p>And so on", never_ends=True)
    async with Fetcher(FetchLimits(seconds=0.2, allowed_networks=LOOPBACK)) as fetcher:
        assert await _obstacle(fetcher, f"{site.url}/page") == "too long"


async def test_what_is_no_text_by_its_own_account_is_not_loaded(site: Website, fetcher: Fetcher) -> None:
    site.put("/film", b"....", kind="video/mp4")
    assert await _obstacle(fetcher, f"{site.url}/film") == "content type"


@pytest.mark.parametrize(
    ("status", "why"),
    [(404, "gone"), (410, "gone"), (403, "status"), (429, "unreachable"), (500, "unreachable")],
)
async def test_what_a_server_answers_says_what_is_the_matter(
    site: Website, fetcher: Fetcher, status: int, why: Obstacle
) -> None:
    site.put("/page", "", status=status)
    assert await _obstacle(fetcher, f"{site.url}/page") == why


@pytest.mark.parametrize(
    "address",
    [
        "ftp://a.example/x",
        "file:///etc/hostname",
        "a.example",
        "http://",
        "http://u:p@a.example/",
        "http://[::1",
    ],
)
async def test_what_is_no_address_of_the_web_is_refused(fetcher: Fetcher, address: str) -> None:
    assert await _obstacle(fetcher, address) == "no address"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"]
)
async def test_this_machine_is_not_reached_unless_allowed_however_it_is_written(
    site: Website, host: str
) -> None:
    port = site.url.rpartition(":")[2]
    async with Fetcher() as fetcher:
        assert await _obstacle(fetcher, f"http://{host}:{port}/page") == "private"
    assert not site.asked


async def test_a_redirect_into_a_private_network_is_not_followed(site: Website, fetcher: Fetcher) -> None:
    site.redirect("/page", "http://169.254.169.254/latest/meta-data/")
    assert await _obstacle(fetcher, f"{site.url}/page") == "private"


async def test_a_name_that_changes_its_address_after_the_check_leads_nowhere_else(site: Website) -> None:
    port = int(site.url.rpartition(":")[2])
    answers = [["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"]]

    async def changing(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    async with Fetcher(FetchLimits(allowed_networks=LOOPBACK), resolver=changing) as fetcher:
        # one look-up for robots.txt, one for the page: connecting looks nothing up again
        found = await fetcher.fetch(f"http://club.example:{port}/page")
        assert found is not None and site.headers[-1]["host"] == f"club.example:{port}"
        assert await _obstacle(fetcher, f"http://club.example:{port}/page") == "private"


async def test_one_private_address_among_public_ones_is_enough_to_refuse_a_host() -> None:
    async def mixed(host: str, port: int) -> Sequence[str]:
        return ["93.184.215.14", "192.168.0.1"]

    async with Fetcher(resolver=mixed) as fetcher:
        assert await _obstacle(fetcher, "http://club.example/") == "private"


async def test_a_host_that_nobody_knows_is_named_as_that(fetcher: Fetcher) -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no such host")

    async with Fetcher(resolver=nobody) as fetcher:
        assert await _obstacle(fetcher, "http://club.example/") == "unknown host"


async def test_the_next_address_of_a_host_is_tried_when_the_first_does_not_answer(site: Website) -> None:
    port = int(site.url.rpartition(":")[2])

    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]  # nobody listens on the first

    async with Fetcher(FetchLimits(allowed_networks=LOOPBACK), resolver=two) as fetcher:
        assert await fetcher.fetch(f"http://club.example:{port}/page") is not None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::10.0.0.1", False),
        ("2002:0a00:0001::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("ff02::1", False),
    ],
)
def test_public_is_what_the_internet_routes(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
