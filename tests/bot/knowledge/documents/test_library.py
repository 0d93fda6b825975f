"""Documents of a community: what is added is found by the next question, and what is gone no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlmodel import col, select

from bot.errors import DocumentRefused, NotFetched
from bot.knowledge.documents.fetching import Fetcher, FetchLimits
from bot.knowledge.documents.library import Library, Progress, Upload
from bot.knowledge.documents.pieces import Note, ParseLimits
from bot.knowledge.documents.sandbox import Sandbox
from bot.knowledge.knowledge import Knowledge
from feedback import journal
from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Audit, Document, Passage
from tests.bot.knowledge.documents.made import pdf
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.doubles.website import Website, online

RULES = "# Rules\n\nBe kind.\n\n# Fees\n\nThe yearly fee is fifty zloty.\n"


class Shelf:
    """A library with one community, and what that community finds in it."""

    def __init__(self, library: Library, knowledge: Knowledge, database: Database, community_id: int) -> None:
        self.library = library
        self.knowledge = knowledge
        self.database = database
        self.community_id = community_id

    async def found(self, question: str) -> list[str]:
        """The passages that the question finds."""
        return [one.text for one in await self.knowledge.retrieve(self.community_id, question, "en")]

    async def passages(self) -> dict[int, str]:
        """All passages of all communities, by their ids."""
        async with self.database.session(read_only=True) as session:
            rows = await session.exec(select(Passage).order_by(col(Passage.position)))
            return {row.id or 0: row.text for row in rows}

    async def addresses(self) -> list[str]:
        """The addresses of all documents."""
        async with self.database.session(read_only=True) as session:
            return list(await session.exec(select(Document.address).order_by(col(Document.id))))


@pytest.fixture
async def shelf(database: Database, chronicle: Chronicle) -> AsyncIterator[Shelf]:
    knowledge = Knowledge(database, None)
    limits = FetchLimits(allowed_networks=(ip_network("127.0.0.0/8"),))
    async with Sandbox(ParseLimits(links=20), at_once=2) as sandbox, Fetcher(limits) as fetcher:
        yield Shelf(
            Library(database, sandbox, fetcher, knowledge), knowledge, database, chronicle.community_id
        )


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    async with online(Website()) as served:
        yield served


async def test_a_file_that_is_sent_is_found_by_the_next_question_with_its_place(shelf: Shelf) -> None:
    sent = Upload("club.pdf", pdf("Welcome to the club.", "The yearly fee is fifty zloty."))
    outcome = await shelf.library.add(shelf.community_id, sent, by="discord:mo")
    assert (outcome.added, outcome.passages, outcome.source_kind) == (1, 2, "upload")
    source = (await shelf.knowledge.retrieve(shelf.community_id, "what is the yearly fee", "en"))[0]
    assert (source.text, source.page, source.title) == ("The yearly fee is fifty zloty.", 2, "club.pdf")


async def test_a_changed_file_keeps_the_passages_that_did_not_change(shelf: Shelf) -> None:
    await shelf.library.add(shelf.community_id, Upload("rules.md", RULES.encode()), by="mo")
    before = await shelf.passages()
    changed = RULES.replace("fifty", "sixty").encode()
    outcome = await shelf.library.add(shelf.community_id, Upload("rules.md", changed), by="mo")
    assert (outcome.added, outcome.changed) == (0, 1)
    after = await shelf.passages()
    kept = [text for number, text in before.items() if number in after]
    assert kept == ["Be kind."]
    assert await shelf.found("yearly fee") == ["The yearly fee is sixty zloty."]


@SQLITE
async def test_what_is_added_twice_is_there_once(shelf: Shelf) -> None:
    for _ in range(2):
        outcome = await shelf.library.add(shelf.community_id, Upload("rules.md", RULES.encode()), by="mo")
    assert (outcome.added, outcome.changed, outcome.unchanged) == (0, 0, 1)
    assert len(await shelf.passages()) == 2 and len(await shelf.addresses()) == 1


async def test_a_removed_document_is_gone_from_the_next_question_on(shelf: Shelf) -> None:
    outcome = await shelf.library.add(shelf.community_id, Upload("rules.md", RULES.encode()), by="mo")
    await shelf.library.remove(shelf.community_id, str(outcome.document_id), by="mo")
    assert not await shelf.found("yearly fee") and not await shelf.addresses()


@SQLITE
async def test_a_community_sees_and_removes_its_own_documents_only(shelf: Shelf) -> None:
    async with shelf.database.session() as session:
        other = (await journal.community(session, "telegram", "elsewhere")).id or 0
    outcome = await shelf.library.add(shelf.community_id, Upload("rules.md", RULES.encode()), by="mo")
    assert not await shelf.library.documents(other)
    for named in (str(outcome.document_id), "rules.md"):
        with pytest.raises(NotFound):
            await shelf.library.remove(other, named, by="mo")
        with pytest.raises(NotFound):
            await shelf.library.document(other, named)


@SQLITE
async def test_who_added_and_removed_stands_in_the_audit(shelf: Shelf) -> None:
    await shelf.library.add(shelf.community_id, Upload("rules.md", RULES.encode()), by="discord:mo")
    await shelf.library.remove(shelf.community_id, "rules.md", by="discord:bo")
    async with shelf.database.session(read_only=True) as session:
        found = [(row.actor, row.action) for row in await session.exec(select(Audit).order_by(col(Audit.id)))]
    assert found[-2:] == [("discord:mo", "knowledge.add"), ("discord:bo", "knowledge.remove")]


@SQLITE
async def test_a_refused_file_is_an_error_and_leaves_nothing(shelf: Shelf) -> None:
    with pytest.raises(DocumentRefused) as refused:
        await shelf.library.add(shelf.community_id, Upload("club.pdf", pdf("a", password="b")), by="mo")
    assert refused.value.why == "encrypted" and not await shelf.addresses()


@SQLITE
async def test_a_file_that_is_refused_in_its_new_state_keeps_what_it_said_and_shows_why(shelf: Shelf) -> None:
    await shelf.library.add(shelf.community_id, Upload("rules.md", RULES.encode()), by="mo")
    with pytest.raises(DocumentRefused):
        await shelf.library.add(shelf.community_id, Upload("rules.md", b"%PDF-1.7 half"), by="mo")
    assert await shelf.found("yearly fee")
    (view,) = await shelf.library.documents(shelf.community_id)
    assert view.state == "ready" and isinstance(view.error, DocumentRefused) and view.error.why == "broken"
    outcome = await shelf.library.add(shelf.community_id, Upload("rules.md", RULES.encode()), by="mo")
    (view,) = await shelf.library.documents(shelf.community_id)
    assert outcome.changed == 1 and view.error is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    given = tmp_path / "given"
    (given / "more").mkdir(parents=True)
    (given / "rules.md").write_text(RULES, encoding="utf-8")
    (given / "more" / "hours.txt").write_text("Open on Saturdays from ten.", encoding="utf-8")
    (given / "broken.pdf").write_bytes(b"%PDF-1.7 half")
    (given / "logo.png").write_bytes(b"\x89PNG")
    return given


async def test_a_folder_is_added_with_what_was_refused_and_skipped(shelf: Shelf, folder: Path) -> None:
    told: list[Progress] = []
    outcome = await shelf.library.add(shelf.community_id, folder, by="mo", on_progress=told.append)
    assert (outcome.added, outcome.passages, outcome.skipped) == (2, 3, {".png": 1})
    assert [(name, error.why) for name, error in outcome.refused] == [("broken.pdf", "broken")]
    reading = [(one.done, one.total) for one in told if one.step == "reading"]
    assert reading[0] == (0, 3) and reading[-1] == (3, 3)
    assert told[-1].step == "indexing" and told[-1].done == told[-1].total == 3
    (view,) = await shelf.library.documents(shelf.community_id)
    assert (view.source_kind, view.documents, view.refused, view.passages) == ("folder", 3, 1, 3)
    _, found, own = await shelf.library.document(shelf.community_id, str(view.id))
    assert {Path(one.address).name: one.state for one in found} == {
        "broken.pdf": "refused",
        "hours.txt": "ready",
        "rules.md": "ready",
    }
    assert not own


@SQLITE
async def test_a_folder_read_anew_follows_what_changed_came_and_went(shelf: Shelf, folder: Path) -> None:
    await shelf.library.add(shelf.community_id, folder, by="mo")
    (folder / "rules.md").write_text(RULES.replace("fifty", "sixty"), encoding="utf-8")
    (folder / "more" / "hours.txt").unlink()
    (folder / "new.md").write_text("The cat is called Tola.", encoding="utf-8")
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert (outcome.added, outcome.changed, outcome.removed) == (1, 1, 1)
    assert await shelf.found("yearly fee") == ["The yearly fee is sixty zloty."]
    assert not await shelf.found("open saturdays") and await shelf.found("what is the cat called")


@SQLITE
async def test_a_folder_that_is_not_there_for_a_while_keeps_its_documents(shelf: Shelf, folder: Path) -> None:
    await shelf.library.add(shelf.community_id, folder, by="mo")
    folder.rename(folder.with_name("away"))
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert isinstance(outcome.error, DocumentRefused) and outcome.error.why == "not there"
    assert await shelf.found("yearly fee")
    folder.with_name("away").rename(folder)
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert outcome.error is None and (await shelf.library.documents(shelf.community_id))[0].error is None


@SQLITE
async def test_a_file_that_is_gone_is_forgotten_and_says_so(shelf: Shelf, folder: Path) -> None:
    await shelf.library.add(shelf.community_id, folder / "rules.md", by="mo")
    (folder / "rules.md").unlink()
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert outcome.error is not None and not await shelf.found("yearly fee")
    (view,) = await shelf.library.documents(shelf.community_id)
    assert view.state == "refused" and view.passages == 0


@SQLITE
async def test_an_addition_that_was_broken_off_goes_on_where_it_was(shelf: Shelf, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.txt").write_text(f"Text of file {number}.", encoding="utf-8")
    addition: asyncio.Task[object] | None = None

    def stop_in_the_middle(progress: Progress) -> None:
        if progress.done >= 16 and addition is not None:
            addition.cancel()

    addition = asyncio.create_task(
        shelf.library.add(shelf.community_id, tmp_path, by="mo", on_progress=stop_in_the_middle)
    )
    with pytest.raises(asyncio.CancelledError):
        await addition
    written = await shelf.passages()
    assert 16 <= len(written) < 40
    assert (await shelf.library.documents(shelf.community_id))[0].state == "reading"
    outcome = await shelf.library.add(shelf.community_id, tmp_path, by="mo")
    assert (outcome.unchanged, outcome.added) == (len(written), 40 - len(written))
    assert written.items() <= (await shelf.passages()).items() and len(await shelf.passages()) == 40
    assert (await shelf.library.documents(shelf.community_id))[0].state == "ready"


@SQLITE
async def test_removing_a_folder_removes_its_documents_but_not_what_was_given_itself(
    shelf: Shelf, folder: Path
) -> None:
    await shelf.library.add(shelf.community_id, folder, by="mo")
    await shelf.library.add(shelf.community_id, folder / "more" / "hours.txt", by="mo")
    await shelf.library.remove(shelf.community_id, str(folder), by="mo")
    assert await shelf.addresses() == [str(folder / "more" / "hours.txt")]
    assert await shelf.found("open saturdays") and not await shelf.found("yearly fee")


@SQLITE
async def test_what_was_left_out_of_a_document_is_told(shelf: Shelf) -> None:
    table = b"question,answer\nWhen?,\nWhere?,Here.\n"
    outcome = await shelf.library.add(shelf.community_id, Upload("faq.csv", table), by="mo")
    assert outcome.notes == [("faq.csv", Note("rows without answer", 1, 2))]


@SQLITE
async def test_a_list_of_addresses_as_a_file_is_refused(shelf: Shelf) -> None:
    sitemap = b"<urlset><url><loc>https://a.example/</loc></url></urlset>"
    with pytest.raises(DocumentRefused) as refused:
        await shelf.library.add(shelf.community_id, Upload("sitemap.xml", sitemap), by="mo")
    assert refused.value.why == "unsupported"


async def test_a_page_links_to_its_sections_and_is_read_anew_only_when_it_changed(
    shelf: Shelf, site: Website
) -> None:
    site.put("/rules", "<main><h1>Rules</h1><p>Be kind.</p><h2 id='fees'>Fees</h2><p>Fifty zloty.</p></main>")
    outcome = await shelf.library.add(shelf.community_id, f"{site.url}/rules", by="mo")
    assert (outcome.source_kind, outcome.title) == ("url", "Rules")
    (source,) = await shelf.knowledge.retrieve(shelf.community_id, "how many zloty", "en")
    assert source.link == f"{site.url}/rules#fees"
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert outcome.unchanged == 1 and site.unchanged == ["/rules"]
    site.put("/rules", "<main><p>Sixty zloty.</p></main>")
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert outcome.changed == 1 and await shelf.found("zloty") == ["Sixty zloty."]


@SQLITE
async def test_a_page_that_is_gone_is_forgotten_and_one_that_fails_is_kept(
    shelf: Shelf, site: Website
) -> None:
    site.put("/rules", "<main><p>Fifty zloty.</p></main>")
    await shelf.library.add(shelf.community_id, f"{site.url}/rules", by="mo")
    site.put("/rules", "", status=500)
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert isinstance(outcome.error, NotFetched) and await shelf.found("zloty")
    (view,) = await shelf.library.documents(shelf.community_id)
    assert isinstance(view.error, NotFetched) and view.error.why == "unreachable"
    site.put("/rules", "", status=410)
    await shelf.library.refresh(shelf.community_id, by="schedule")
    assert not await shelf.found("zloty")


SITEMAP = "<urlset>{}</urlset>"


def _sitemap(*paths: str) -> str:
    return SITEMAP.format("".join(f"<url><loc>{{url}}{path}</loc></url>" for path in paths))


async def test_the_pages_of_a_sitemap_are_added_followed_and_forgotten(shelf: Shelf, site: Website) -> None:
    for name in ("one", "two", "three"):
        site.put(f"/{name}", f"<main><p>This is page {name}.</p></main>")
    site.put("/sitemap.xml", _sitemap("/one", "/two", "/missing"))
    outcome = await shelf.library.add(shelf.community_id, f"{site.url}/sitemap.xml", by="mo")
    assert (outcome.source_kind, outcome.added) == ("sitemap", 2)
    assert [(name, error.why) for name, error in outcome.refused] == [("missing", "gone")]
    site.put("/sitemap.xml", _sitemap("/two", "/three"))
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert (outcome.added, outcome.unchanged, outcome.removed) == (1, 1, 2)
    assert sorted(await shelf.addresses()) == [
        f"{site.url}/{name}" for name in ("sitemap.xml", "three", "two")
    ]


@SQLITE
async def test_pages_are_asked_for_anew_though_their_sitemap_is_as_it_was(
    shelf: Shelf, site: Website
) -> None:
    site.put("/one", "<main><p>Fifty zloty.</p></main>")
    site.put("/two", "<main><p>Other words.</p></main>")
    site.put("/sitemap.xml", _sitemap("/one", "/two"))
    await shelf.library.add(shelf.community_id, f"{site.url}/sitemap.xml", by="mo")
    site.put("/one", "<main><p>Sixty zloty.</p></main>")
    site.put("/two", "", status=404)
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert site.unchanged == ["/sitemap.xml"]
    assert (outcome.changed, outcome.removed) == (1, 1) and await shelf.found("zloty") == ["Sixty zloty."]


@SQLITE
async def test_sitemaps_within_sitemaps_are_followed_and_other_sites_are_not(
    shelf: Shelf, site: Website
) -> None:
    site.put("/one", "<main><p>Page one.</p></main>")
    index = "<sitemapindex><sitemap><loc>{url}/inner.xml</loc></sitemap></sitemapindex>"
    site.put("/sitemap.xml", index, kind="application/xml")
    site.put(
        "/inner.xml",
        SITEMAP.format("<url><loc>{url}/one</loc></url><url><loc>https://elsewhere.example/</loc></url>"),
    )
    outcome = await shelf.library.add(shelf.community_id, f"{site.url}/sitemap.xml", by="mo")
    assert (outcome.added, outcome.skipped) == (1, {"of other sites": 1})
    assert await shelf.addresses() == [f"{site.url}/sitemap.xml", f"{site.url}/one"]


@SQLITE
async def test_a_sitemap_that_was_broken_off_is_read_to_its_end_the_next_time(
    shelf: Shelf, site: Website
) -> None:
    for name in ("one", "two", "three"):
        site.put(f"/{name}", f"<main><p>This is page {name}.</p></main>")
    site.put("/sitemap.xml", _sitemap("/one", "/two", "/three"))
    addition: asyncio.Task[object] | None = None

    def stop_after_one(progress: Progress) -> None:
        if progress.done == 1 and progress.total == 3 and addition is not None:
            addition.cancel()

    address = f"{site.url}/sitemap.xml"
    addition = asyncio.create_task(
        shelf.library.add(shelf.community_id, address, by="mo", on_progress=stop_after_one)
    )
    with pytest.raises(asyncio.CancelledError):
        await addition
    assert len(await shelf.passages()) < 3
    (outcome,) = await shelf.library.refresh(shelf.community_id, by="schedule")
    assert outcome.added + outcome.unchanged == 3 and len(await shelf.passages()) == 3


@SQLITE
async def test_pages_stay_while_nobody_knows_whether_they_are_still_listed(
    shelf: Shelf, site: Website
) -> None:
    site.put("/one", "<main><p>Fifty zloty.</p></main>")
    site.put("/sitemap.xml", "<sitemapindex><sitemap><loc>{url}/inner.xml</loc></sitemap></sitemapindex>")
    site.put("/inner.xml", _sitemap("/one"))
    await shelf.library.add(shelf.community_id, f"{site.url}/sitemap.xml", by="mo")
    site.put("/inner.xml", "", status=500)
    for _ in range(2):
        await shelf.library.refresh(shelf.community_id, by="schedule")
        assert await shelf.found("zloty") == ["Fifty zloty."]
    site.put("/inner.xml", _sitemap("/two"))
    await shelf.library.refresh(shelf.community_id, by="schedule")
    assert not await shelf.found("zloty")


@SQLITE
async def test_a_document_of_a_folder_read_anew_by_its_name_stays_the_folders(
    shelf: Shelf, folder: Path
) -> None:
    await shelf.library.add(shelf.community_id, folder, by="mo")
    (folder / "rules.md").write_text(RULES.replace("fifty", "sixty"), encoding="utf-8")
    (outcome,) = await shelf.library.refresh(shelf.community_id, str(folder / "rules.md"), by="mo")
    assert outcome.source_kind == "folder" and outcome.changed == 1
    assert len(await shelf.library.documents(shelf.community_id)) == 1


@SQLITE
async def test_a_feed_gives_the_pages_of_its_entries(shelf: Shelf, site: Website) -> None:
    site.put("/post", "<article><h1>Post</h1><p>We meet in May.</p></article>")
    feed = "<rss><channel><title>News</title><item><link>{url}/post</link></item></channel></rss>"
    site.put("/feed", feed, kind="application/rss+xml")
    outcome = await shelf.library.add(shelf.community_id, f"{site.url}/feed", by="mo")
    assert (outcome.source_kind, outcome.title, outcome.added) == ("feed", "News", 1)
    assert await shelf.found("when do we meet") == ["We meet in May."]


@SQLITE
async def test_no_more_pages_are_taken_than_allowed(shelf: Shelf, site: Website) -> None:
    for number in range(25):
        site.put(f"/{number}", f"<main><p>Page {number}.</p></main>")
    site.put("/sitemap.xml", _sitemap(*(f"/{number}" for number in range(25))))
    outcome = await shelf.library.add(shelf.community_id, f"{site.url}/sitemap.xml", by="mo")
    assert outcome.added == 20
    assert outcome.notes == [("sitemap.xml", Note("links beyond the limit", 5, 21))]


@SQLITE
async def test_what_was_one_page_and_became_a_list_or_the_other_way_round_is_what_it_is_now(
    shelf: Shelf, site: Website
) -> None:
    site.put("/one", "<main><p>Page one.</p></main>")
    site.put("/news", "<main><p>Old page.</p></main>")
    await shelf.library.add(shelf.community_id, f"{site.url}/news", by="mo")
    site.put("/news", _sitemap("/one"))
    await shelf.library.refresh(shelf.community_id, by="schedule")
    assert sorted((await shelf.passages()).values()) == ["Page one."]
    site.put("/news", "<main><p>New page.</p></main>")
    await shelf.library.refresh(shelf.community_id, by="schedule")
    assert sorted((await shelf.passages()).values()) == ["New page."]


@SQLITE
async def test_an_address_that_is_not_to_be_fetched_leaves_nothing(shelf: Shelf, site: Website) -> None:
    with pytest.raises(NotFetched):
        await shelf.library.add(shelf.community_id, "http://10.0.0.1/", by="mo")
    with pytest.raises(NotFetched):
        await shelf.library.add(shelf.community_id, f"{site.url}/gone", by="mo")
    assert not await shelf.addresses()
