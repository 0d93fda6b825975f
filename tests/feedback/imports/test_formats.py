"""What others wrote is recognised by its content and read for what it says, as the newest tools write it."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from feedback.errors import UsageError
from feedback.imports import sources
from feedback.imports.recognising import recognise
from feedback.imports.records import Broken, Message, Options, Pair, People, Preference, Rating, Record

ASKED = "How do I water basil?"
TOLD = "Water the soil, not the leaves."
WORSE = "Pour it over the leaves."


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
    return path


def lines(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def people() -> People:
    return People(lambda external_id: f"p{external_id}")


def read(path: Path, options: Options | None = None, who: People | None = None) -> tuple[str, list[Record]]:
    recognised = recognise(path, options)
    who = who or people()
    records = [record for one in recognised.found for record in one.read(who)]
    return recognised.found[0].format.name, records


# --- chats ---


def discord_message(number: int, text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "type": "Default",
        "timestamp": "2026-03-01T10:00:00.000+01:00",
        "timestampEdited": None,
        "isPinned": False,
        "content": text,
        "author": {"id": "100", "name": "ann", "nickname": "Ann", "isBot": False, "roles": []},
        "attachments": [],
        "embeds": [],
        "reactions": [],
        "mentions": [],
        **more,
    }


def discord_channel(path: Path, *messages: dict[str, Any]) -> Path:
    return write(
        path,
        {
            "guild": {"id": "1", "name": "Garden"},
            "channel": {"id": "2", "type": "GuildTextChat", "name": "help"},
            "messages": messages,
            "messageCount": len(messages),
        },
    )


def test_a_discord_channel_has_replies_reactions_mentions_roles_and_bots(tmp_path: Path) -> None:
    moderator = {"id": "101", "name": "ben", "isBot": False, "roles": [{"id": "9", "name": "Moderators"}]}
    path = discord_channel(
        tmp_path / "x.txt",
        discord_message(10, ASKED),
        discord_message(
            11,
            f"<@100> {TOLD}",
            type="Reply",
            author=moderator,
            isPinned=True,
            mentions=[{"id": "100", "name": "ann"}],
            reactions=[{"emoji": {"id": "", "name": "✅", "code": "white_check_mark"}, "count": 3}],
            reference={"messageId": "10", "channelId": "2", "guildId": "1"},
        ),
        discord_message(12, "beep", author={"id": "7", "name": "robot", "isBot": True}),
    )
    name, (asked, told, beep) = read(path)
    assert name == "discord-chat-exporter"
    assert isinstance(asked, Message) and isinstance(told, Message) and isinstance(beep, Message)
    assert (asked.author, asked.talk, asked.text) == ("p100", "2", ASKED)
    assert asked.at == 1772355600.0
    assert (told.reply_to, told.mentions, told.text) == ("10", ("p100",), f"[mention] {TOLD}")
    assert (told.reactions, told.is_moderator, told.is_pinned) == ((("✅", 3),), True, True)
    assert beep.is_bot and not told.is_bot
    (found,) = recognise(path).found
    assert (found.platform, found.community, found.community_name) == ("discord", "1", "Garden")


def test_forwards_system_messages_and_deleted_accounts_are_left_out_and_counted(tmp_path: Path) -> None:
    path = discord_channel(
        tmp_path / "c.json",
        discord_message(1, "joined", type="GuildMemberJoin"),
        discord_message(2, "", forwardedMessage={"content": "of somebody else"}),
        discord_message(3, "gone", author={"id": "456226577798135808", "name": "Deleted User"}),
        discord_message(4, ASKED),
    )
    who = people()
    _, records = read(path, who=who)
    assert [record.id for record in records if isinstance(record, Message)] == ["4"]
    assert who.left_out == {"system messages": 1, "forwarded messages": 1, "deleted accounts": 1}


def test_a_broken_message_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = discord_channel(
        tmp_path / "c.json",
        discord_message(1, ASKED),
        {"id": "2"},
        discord_message(3, TOLD, timestamp="soon"),
        discord_message(4, "still here"),
    )
    _, records = read(path)
    assert [record for record in records if isinstance(record, Broken)] == [
        Broken("record 2", "it is no message with an id and an author"),
        Broken("record 3", "the time 'soon' is none"),
    ]
    assert [record.id for record in records if isinstance(record, Message)] == ["1", "4"]


def test_a_file_that_was_cut_off_gives_what_it_has_and_says_where_it_ends(tmp_path: Path) -> None:
    path = discord_channel(tmp_path / "c.json", discord_message(1, ASKED), discord_message(2, TOLD))
    path.write_text(path.read_text()[:-150])
    _, (first, end) = read(path)
    assert isinstance(first, Message) and first.id == "1"
    assert isinstance(end, Broken) and end.place == "after record 1"


def test_discord_csv_has_people_times_and_reactions(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        "\ufeffAuthorID,Author,Date,Content,Attachments,Reactions\n"
        f'"100","ann#0","2026-03-01T10:00:00+01:00","{ASKED}","","👍 (2),✅ (1)"\n',
    )
    name, (message,) = read(path)
    assert name == "discord-chat-exporter-csv"
    assert isinstance(message, Message)
    assert (message.author, message.text) == ("p100", ASKED)
    assert message.reactions == (("👍", 2), ("✅", 1))


def test_notices_in_a_discord_csv_are_nobodys_words(tmp_path: Path) -> None:
    said = (ASKED, "Pinned a message.", "Joined the server.", "Changed the channel name: herbs")
    lines_of = (f'"100","ann","2026-03-01T10:00:00.0000000+01:00","{text}","",""\n' for text in said)
    path = write(
        tmp_path / "c.csv", "AuthorID,Author,Date,Content,Attachments,Reactions\n" + "".join(lines_of)
    )
    who = people()
    _, records = read(path, who=who)
    assert [one.text for one in records if isinstance(one, Message)] == [ASKED]
    assert who.left_out == {"system messages": 3}


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("Messages/c", "json"), ("package/messages/c", "csv"), ("Wiadomości/", "json")],
    ids=["of today", "older", "the oldest, in Polish"],
)
def test_discords_own_package_is_known_by_its_folders(tmp_path: Path, folder: str, kind: str) -> None:
    said = {"ID": 1479000000000000005, "Timestamp": "2026-01-01 10:00:00", "Contents": "my words"}
    content = (
        json.dumps([{**said, "Attachments": ""}, {**said, "Timestamp": "yesterday"}])
        if kind == "json"
        else "ID,Timestamp,Contents,Attachments\n"
        '1479000000000000005,2026-01-01 10:00:00.000000+00:00,"my words",\n6,yesterday,x,\n'
    )
    channel = tmp_path / f"{folder}123456789012345678"
    write(channel / f"messages.{kind}", content)
    write(channel / "channel.json", {"id": "123456789012345678", "type": "GUILD_TEXT"})
    write(channel.parent / "index.json", {"123456789012345678": "general in Garden", "1": None})
    write(tmp_path / "account" / "user.json", {"id": "100"})
    name, (message, broken) = read(tmp_path)
    assert name == "discord-package"
    assert isinstance(message, Message) and isinstance(broken, Broken)
    assert (message.id, message.talk, message.text, message.at) == (
        "1479000000000000005",
        "123456789012345678",
        "my words",
        1767261600.0,
    )
    assert broken.reason == "the time 'yesterday' is none"


@pytest.mark.parametrize("kind", ["DM", 3])
def test_direct_messages_of_discords_package_stay_where_they_are(tmp_path: Path, kind: str | int) -> None:
    channel = tmp_path / "messages" / "c123456789012345678"
    said = {"ID": "5", "Timestamp": "2026-01-01 10:00:00", "Contents": "for you alone", "Attachments": ""}
    write(channel / "messages.json", [said, said])
    write(channel / "channel.json", json.dumps({"id": "123456789012345678", "type": kind}, indent=4))
    who = people()
    assert read(tmp_path, who=who)[1] == []
    assert who.left_out == {"messages of private talks": 2}


def telegram_message(number: int, text: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "message",
        "date": "2026-03-01T11:00:00",
        "date_unixtime": "1772359200",
        "from": "Ann",
        "from_id": "user100",
        "text": text,
        "text_entities": text if isinstance(text, list) else [{"type": "plain", "text": text}],
        **more,
    }


def telegram_chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "Garden", "type": "private_supergroup", "id": 1234, **more, "messages": messages}


def test_a_telegram_chat_has_entities_replies_topics_and_reactions(tmp_path: Path) -> None:
    entities = [
        {"type": "plain", "text": "Ask "},
        {"type": "mention_name", "text": "Ben", "user_id": 101},
        {"type": "plain", "text": " or run "},
        {"type": "code", "text": "fix"},
        "!",
    ]
    chat = telegram_chat(
        {"id": 1, "type": "service", "action": "topic_created", "actor": "Ann", "title": "Basil"},
        telegram_message(2, ASKED, reply_to_message_id=1),
        telegram_message(
            3, entities, reply_to_message_id=2, reactions=[{"type": "emoji", "count": 2, "emoji": "👍"}]
        ),
    )
    name, (asked, told) = read(write(tmp_path / "result.json", chat))
    assert name == "telegram"
    assert isinstance(asked, Message) and isinstance(told, Message)
    assert (asked.author, asked.talk, asked.reply_to) == ("p100", "-1001234/1", "")
    assert (told.talk, told.reply_to, told.reactions) == ("-1001234/1", "2", (("👍", 2),))
    assert (told.text, told.mentions) == ("Ask [mention] or run `fix`!", ("p101",))


def test_telegram_messages_of_an_unknown_kind_and_of_nobody_are_left_out(tmp_path: Path) -> None:
    chat = telegram_chat(
        {"id": 1, "type": "unsupported"},
        telegram_message(2, "gone", **{"from": None}),
        telegram_message(3, "theirs", forwarded_from="Somebody"),
        telegram_message(4, ASKED),
    )
    who = people()
    _, records = read(write(tmp_path / "result.json", chat), who=who)
    assert [record.id for record in records if isinstance(record, Message)] == ["4"]
    assert who.left_out == {
        "messages of type 'unsupported'": 1,
        "deleted accounts": 1,
        "forwarded messages": 1,
    }


@pytest.mark.parametrize("whole", [True, False], ids=["one chat", "all chats"])
def test_what_telegram_desktop_writes_that_is_no_json_is_read(tmp_path: Path, whole: bool) -> None:
    chat = telegram_chat(
        telegram_message(1, ASKED, inline_bot_buttons=[[{"type": "callback", "data": "1=CONTROL2"}]]),
        telegram_message(
            2, [{"type": "custom_emoji", "text": "🙂", "document_id": "video_files/a (2).webm"}]
        ),
        telegram_message(3, "a path: C:\\x01"),
        type="private_supergroup",
    )
    export = chat if whole else {"chats": {"list": [chat]}}
    text = json.dumps(export, ensure_ascii=False, indent=1).replace("CONTROL", "\\x01")
    text = text.replace('"video_files/a (2).webm"', "video_files/a (2).webm")
    _, records = read(write(tmp_path / "result.json", text))
    assert [record.text for record in records if isinstance(record, Message)] == [
        ASKED,
        "🙂",
        "a path: C:\\x01",
    ]


def test_a_reply_to_a_message_of_another_telegram_chat_answers_none_of_this_one(tmp_path: Path) -> None:
    chat = telegram_chat(
        telegram_message(2, ASKED),
        telegram_message(3, TOLD, reply_to_message_id=2, reply_to_peer_id="channel9"),
    )
    _, (_, told) = read(write(tmp_path / "result.json", chat))
    assert isinstance(told, Message) and told.reply_to == ""


def test_of_all_telegram_chats_the_groups_are_read_and_private_talks_stay_where_they_are(
    tmp_path: Path,
) -> None:
    export = {
        "about": "Here is the data you requested.",
        "chats": {
            "about": "",
            "list": [
                telegram_chat(telegram_message(1, ASKED)),
                telegram_chat(telegram_message(1, "between us"), type="personal_chat", name="Ben"),
            ],
        },
        "left_chats": {"list": [telegram_chat(telegram_message(7, "old"), id=9, type="private_group")]},
    }
    who = people()
    name, records = read(write(tmp_path / "result.json", export), who=who)
    assert name == "telegram-all"
    said = [(record.talk, record.text) for record in records if isinstance(record, Message)]
    assert said == [("-1001234", ASKED), ("-9", "old")]
    assert who.left_out == {"messages of private talks": 1}


def test_an_accounts_export_with_thousands_of_contacts_before_its_chats_is_known(tmp_path: Path) -> None:
    contacts = [{"user_id": number, "first_name": "Ann", "date_unixtime": "1"} for number in range(3000)]
    export = {
        "about": 'Here is the data you requested. All "of" it.',
        "contacts": {"about": "", "list": contacts},
        "chats": {"about": "", "list": [telegram_chat(telegram_message(1, ASKED))]},
    }
    name, (message,) = read(write(tmp_path / "result.json", export))
    assert name == "telegram-all"
    assert isinstance(message, Message) and message.text == ASKED


def html_message(number: int, body: str, name: str = "", day: str = "01.03.2026") -> str:
    """A message as tdesktop's export_output_html writes it; without a name it goes on the one before."""
    wrapped = """
      <div class="pull_left userpic_wrap">
       <div class="userpic userpic4" style="width: 42px; height: 42px">
        <div class="initials" style="line-height: 42px">\nA\n</div></div></div>"""
    return f"""
     <div class="message default clearfix{"" if name else " joined"}" id="message{number}">
      {wrapped if name else ""}
      <div class="body">
       <div class="pull_right date details" title="{day} 11:00:00 UTC+01:00">\n11:00\n       </div>
       {f'<div class="from_name">{chr(10)}{name} {chr(10)}</div>' if name else ""}
       {body}
      </div>
     </div>"""


def html_page(*messages: str) -> str:
    return f"""<!DOCTYPE html>
<html>
 <head>
  <meta charset="utf-8"/>
  <title>Exported Data</title>
  <script src="js/script.js" type="text/javascript">\n  </script>
 </head>
 <body onload="CheckLocation();">
  <div class="page_wrap">
   <div class="page_header"><div class="content"><div class="text bold">\nGarden club \n</div></div></div>
   <div class="page_body chat_page">
    <div class="history">
     <a class="pagination block_link" href="messages.html">\nPrevious messages\n     </a>
     <div class="message service" id="message-1">
      <div class="body details">\n1 March 2026\n      </div>
     </div>{"".join(messages)}
    </div>
   </div>
  </div>
 </body>
</html>
"""


def html_text(text: str) -> str:
    return f'<div class="text">\n{text}\n       </div>'


def test_telegrams_html_pages_are_read_with_the_names_that_they_have(tmp_path: Path) -> None:
    reply = """<div class="reply_to details">
In reply to <a href="messages.html#go_to_message5">this message</a></div>"""
    reactions = """<span class="reactions"><span class="reaction active"><span class="emoji">
👍
</span><span class="userpics"><div class="userpic userpic1"><div class="initials">A</div></div>
<div class="userpic userpic2"><div class="initials">B</div></div></span></span>
<span class="reaction"><span class="emoji">
❤
</span><span class="count">
7
</span></span></span>"""
    page = html_page(
        html_message(5, html_text("How do I<br>water &lt;basil&gt;?"), "Ann"),
        html_message(6, reply + html_text(TOLD) + reactions),
    )
    name, (asked, told) = read(write(tmp_path / "messages2.html", page))
    assert name == "telegram-html"
    assert isinstance(asked, Message) and isinstance(told, Message)
    assert (asked.id, asked.author, asked.text) == ("5", "pname:Ann", "How do I\nwater <basil>?")
    assert asked.at == 1772359200.0
    assert (told.author, told.reply_to, told.text) == ("pname:Ann", "5", TOLD)
    assert told.reactions == (("👍", 2), ("❤", 7))


def test_telegrams_html_pages_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        name = f"messages{number if number > 1 else ''}.html"
        write(tmp_path / name, html_page(html_message(number, html_text("Water it."), "Ann")))
    _, said = read(tmp_path)
    assert [one.id for one in said if isinstance(one, Message)] == ["1", "2", "10"]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("<blockquote>wet<br>leaves</blockquote>Why?", "> wet\n> leaves\nWhy?"),
        ('<a href="https://a.example/b">the page</a>', "the page (https://a.example/b)"),
        ('<a href="https://a.example/b">https://a.example/b</a>', "https://a.example/b"),
        ('<a href="" onclick="return ShowMentionName()">Cyd</a> knows', "[mention] knows"),
        ('<a href="" onclick="return ShowHashtag(&quot;herbs&quot;)">#herbs</a>', "#herbs"),
        ("<code>water --now</code>", "`water --now`"),
        (
            '<span class="spoiler hidden" onclick="ShowSpoiler(this)"><span aria-hidden="true">it died'
            "</span></span>",
            "it died",
        ),
    ],
)
def test_what_telegrams_html_marks_in_a_text_is_kept_as_of_its_json(
    tmp_path: Path, written: str, text: str
) -> None:
    page = html_page(html_message(5, html_text(written), "Ann"))
    _, (said,) = read(write(tmp_path / "messages.html", page))
    assert isinstance(said, Message) and said.text == text


def test_in_telegrams_html_what_a_bot_wrote_is_a_bots_and_forwards_and_polls_are_nobodys(
    tmp_path: Path,
) -> None:
    forwarded = f"""<div class="pull_left forwarded userpic_wrap"></div><div class="forwarded body">
<div class="from_name">\nDora <span class="date details" title="01.01.2026 10:00:00 UTC+01:00"> 01.01.2026
</span></div>{html_text("not mine")}</div>"""
    poll = (
        '<div class="media_wrap"><div class="media_poll"><div class="question bold">Which?</div></div></div>'
    )
    page = html_page(
        html_message(5, html_text("a list of herbs"), "Ann via @herbs_bot"),
        html_message(6, html_text("and its end")),
        html_message(7, forwarded, "Ann"),
        html_message(8, poll, "Ann"),
        html_message(9, html_text("gone"), "Deleted Account"),
        html_message(10, html_text("when?"), "Ann", day="the first of March"),
    )
    who = people()
    _, (listed, end, asked, broken) = read(write(tmp_path / "messages.html", page), who=who)
    assert isinstance(listed, Message) and isinstance(end, Message) and isinstance(asked, Message)
    assert [(one.author, one.is_bot) for one in (listed, end, asked)] == [
        ("pname:Ann", True),
        ("pname:Ann", True),
        ("pname:Ann", False),
    ]
    assert asked.text == ""
    assert broken == Broken("message 10", "the date 'the first of March 11:00:00 UTC+01:00' is none")
    assert who.left_out == {"system messages": 1, "forwarded messages": 1, "deleted accounts": 1}


def slack_files() -> dict[str, Any]:
    return {
        "users.json": [
            {"id": "U1", "name": "ann", "profile": {"display_name": "Annie"}},
            {"id": "U2", "name": "ben", "is_admin": True},
            {"id": "U3", "name": "cyd", "deleted": True},
        ],
        "channels.json": [{"id": "C1", "name": "help"}],
        "help/2026-03-01.json": [
            {"type": "message", "user": "U1", "text": "a &lt; b?", "ts": "1.5", "thread_ts": "1.5"},
            {
                "type": "message",
                "user": "U2",
                "text": "<@U1> see <https://example.org|the page> in <#C1|help>",
                "ts": "2.5",
                "thread_ts": "1.5",
                "reactions": [{"name": "white_check_mark", "users": ["U1"], "count": 1}],
            },
            {"type": "message", "subtype": "channel_join", "user": "U1", "text": "joined", "ts": "3"},
            {"type": "message", "user": "U3", "text": "gone", "ts": "4"},
        ],
    }


@pytest.mark.parametrize("packed", [True, False])
def test_slacks_export_has_threads_users_and_plain_texts(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("export.zip" if packed else "export")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in slack_files().items():
                archive.writestr(name, json.dumps(content))
    else:
        for name, content in slack_files().items():
            write(path / name, content)
    who = people()
    name, (asked, told) = read(path, who=who)
    assert name == "slack"
    assert isinstance(asked, Message) and isinstance(told, Message)
    assert (asked.author, asked.text, asked.reply_to, asked.talk) == ("pU1", "a < b?", "", "help")
    assert told.text == "[mention] see the page (https://example.org) in #help"
    assert (told.reply_to, told.mentions, told.is_moderator) == ("1.5", ("pU1",), True)
    assert told.reactions == (("white_check_mark", 1),)
    assert who.names["Annie"] == "pU1"
    assert who.left_out == {"system messages": 1, "deleted accounts": 1}


def test_direct_messages_of_a_slack_workspace_stay_where_they_are(tmp_path: Path) -> None:
    said = [{"type": "message", "user": "U1", "text": "between us", "ts": "1.5"}]
    files = slack_files() | {
        "dms.json": [{"id": "D1", "members": ["U1", "U2"]}],
        "mpims.json": [{"id": "G1", "name": "mpdm-ann--ben--cyd-1", "members": ["U1", "U2", "U3"]}],
        "D1/2026-03-01.json": said,
        "mpdm-ann--ben--cyd-1/2026-03-01.json": said,
    }
    for name, content in files.items():
        write(tmp_path / name, content)
    who = people()
    _, records = read(tmp_path, who=who)
    assert {record.talk for record in records if isinstance(record, Message)} == {"help"}
    assert who.left_out["messages of private talks"] == 2


# --- ratings ---


def open_webui_chat() -> dict[str, Any]:
    return {
        "title": "Basil",
        "history": {
            "currentId": "a2",
            "messages": {
                "u1": {"id": "u1", "parentId": None, "role": "user", "content": ASKED},
                "a1": {
                    "id": "a1",
                    "parentId": "u1",
                    "role": "assistant",
                    "content": WORSE,
                    "annotation": {"rating": -1, "reason": "not_factual", "comment": "rots"},
                },
                "a2": {"id": "a2", "parentId": "u1", "role": "assistant", "content": TOLD},
            },
        },
    }


def test_open_webuis_feedback_is_about_the_branch_that_was_rated(tmp_path: Path) -> None:
    row = {
        "id": "f1",
        "user_id": "u7",
        "version": 0,
        "type": "rating",
        "data": {
            "rating": -1,
            "model_id": "m",
            "reason": "not_factual",
            "comment": "rots",
            "sibling_model_ids": None,
        },
        "meta": {"chat_id": "c", "message_id": "a1", "message_index": 1},
        "snapshot": {"chat": {"id": "c", "title": "Basil", "chat": open_webui_chat()}},
    }
    name, records = read(write(tmp_path / "feedback.json", [row, {**row, "data": {"rating": 0}}]))
    assert name == "open-webui-feedback"
    assert records == [
        Rating(ASKED, WORSE, False, reason="not_factual: rots", rater="u7"),
        Broken("record 2", "the rating 0 is neither 1 nor -1"),
    ]


def test_open_webuis_chats_give_their_rated_answers(tmp_path: Path) -> None:
    row = {"id": "c", "user_id": "u7", "title": "Basil", "chat": open_webui_chat(), "archived": False}
    name, records = read(write(tmp_path / "chats.json", [row]))
    assert name == "open-webui-chats"
    assert records == [Rating(ASKED, WORSE, False, reason="not_factual: rots", rater="u7")]


ARGILLA = {
    "id": "1",
    "fields": {"instruction": ASKED, "response": WORSE},
    "metadata": {},
    "suggestions": {},
    "responses": {
        "rating": [{"value": 1, "user_id": "u7"}],
        "correction": [{"value": TOLD, "user_id": "u7"}],
    },
    "vectors": {},
    "status": "completed",
}


def test_argillas_records_are_ratings_with_better_answers(tmp_path: Path) -> None:
    flat = {
        "instruction": ASKED,
        "response": WORSE,
        "rating.responses": [1],
        "rating.responses.users": ["u7"],
        "correction.responses": [TOLD],
        "correction.responses.users": ["u7"],
    }
    for rows in ([ARGILLA], [flat]):
        name, records = read(write(tmp_path / "records.json", rows))
        assert name == "argilla"
        assert records == [Rating(ASKED, WORSE, False, better=TOLD, rater="u7")]


def test_argillas_drafts_and_discarded_answers_are_no_opinion_however_they_are_written(
    tmp_path: Path,
) -> None:
    flat = {
        "id": "1",
        "status": "completed",
        "_server_id": "s",
        "instruction": ASKED,
        "response": WORSE,
        "rating.responses": [5, 1, 5],
        "rating.responses.users": ["u1", "u2", "u3"],
        "rating.responses.status": ["discarded", "submitted", "draft"],
        "rating.suggestion": None,
    }
    said = [("discarded", "u1", 5), ("submitted", "u2", 1), ("draft", "u3", 5)]
    responses = [{"value": value, "user_id": user, "status": state} for state, user, value in said]
    nested = {**ARGILLA, "responses": {"rating": responses}}
    for row in (flat, nested):
        assert read(write(tmp_path / "records.json", [row]))[1] == [Rating(ASKED, WORSE, False, rater="u2")]


def test_two_answers_of_which_one_was_chosen_are_a_preference(tmp_path: Path) -> None:
    row = {
        "id": "1",
        "fields": {"prompt": ASKED, "response1": WORSE, "response2": TOLD},
        "responses": {"preference": [{"value": "response2", "user_id": "u7"}]},
    }
    _, records = read(write(tmp_path / "records.json", [row]))
    assert records == [Preference(ASKED, TOLD, WORSE)]


def test_label_studios_tasks_are_read_from_their_annotations(tmp_path: Path) -> None:
    def result(name: str, kind: str, value: Any) -> dict[str, Any]:
        return {"from_name": name, "to_name": "answer", "type": kind, "value": {kind: value}}

    task = {
        "id": 1,
        "data": {"question": ASKED, "answer": WORSE},
        "annotations": [
            {
                "id": 8,
                "completed_by": 3,
                "was_cancelled": True,
                "result": [result("verdict", "choices", ["Good"])],
            },
            {
                "id": 9,
                "completed_by": {"id": 4},
                "result": [
                    result("verdict", "choices", ["Bad"]),
                    result("why", "choices", ["tone"]),
                    {**result("better", "textarea", None), "value": {"text": [TOLD]}},
                ],
            },
        ],
        "predictions": [],
    }
    name, records = read(write(tmp_path / "tasks.json", [task, {**task, "annotations": []}]))
    assert name == "label-studio"
    assert records == [
        Rating(ASKED, WORSE, False, reason="tone", better=TOLD, rater="4"),
        Broken("record 2", "nobody has annotated it"),
    ]


def flat(**columns: Any) -> dict[str, Any]:
    """A row as the SDK's converter writes JSON_MIN."""
    return {
        **columns,
        "id": 1,
        "annotator": "ann@garden.example",
        "annotation_id": 9,
        "created_at": "2026-03-01T10:00:00Z",
        "updated_at": "2026-03-01T10:00:00Z",
        "lead_time": 3.5,
    }


@pytest.mark.parametrize(
    ("verdict", "good", "reason"),
    [
        ("Bad", False, ""),
        ([{"choices": ["Bad", "Rude"]}], False, "Rude"),
        ([{"rating": 2}], False, ""),
        ([{"rating": 5}], True, ""),
        ([{"number": 5}], True, ""),
        (["Good", {"choices": ["short", "clear"]}], True, "short, clear"),
    ],
)
def test_label_studios_flat_rows_hold_texts_or_objects(
    tmp_path: Path, verdict: Any, good: bool, reason: str
) -> None:
    row = flat(question=ASKED, answer=WORSE, verdict=verdict)
    nobody = {
        **flat(question=ASKED, answer=WORSE),
        "annotator": None,
        "annotation_id": None,
        "lead_time": None,
    }
    name, records = read(write(tmp_path / "min.json", [nobody, row]))
    assert name == "label-studio-min"
    assert records == [
        Broken("record 1", "nobody has annotated it"),
        Rating(ASKED, WORSE, good, reason=reason, rater="ann@garden.example"),
    ]


@pytest.mark.parametrize("better", ["right", [{"selected": "right"}], [{"ranker": {"rank": ["b", "a"]}}]])
def test_which_of_two_answers_label_studio_was_told_is_better(tmp_path: Path, better: Any) -> None:
    row = flat(prompt=ASKED, answer1=WORSE, answer2=TOLD, comparison=better)
    assert read(write(tmp_path / "min.json", [row]))[1] == [Preference(ASKED, TOLD, WORSE)]


@pytest.mark.parametrize("rated", [True, False])
@pytest.mark.parametrize("kind", ["label-studio", "label-studio-min"])
def test_a_talk_that_an_annotator_led_in_label_studio_waits_for_a_review_or_is_rated(
    tmp_path: Path, kind: str, rated: bool
) -> None:
    said = [{**one, "createdAt": 1761626719486, "tool_calls": None} for one in CHAT[1:]]
    results = [
        {"from_name": "talk", "to_name": "talk", "type": "chatmessage", "value": {"chatmessage": one}}
        for one in said
    ]
    verdict = {"from_name": "good", "to_name": "talk", "type": "rating", "value": {"rating": 5}}
    if kind == "label-studio":
        annotation = {"id": 9, "completed_by": 4, "result": [*results, *([verdict] if rated else [])]}
        row = {"id": 1, "data": {"scenario": "A garden.", "talk": []}, "annotations": [annotation]}
    else:
        row = {**flat(talk=said, **({"good": [{"rating": 5}]} if rated else {})), "annotator": 4}
    assert read(write(tmp_path / "export.json", [row])) == (
        kind,
        [Rating(ASKED, TOLD, True if rated else None, rater="4")],
    )


def test_logs_of_langfuse_and_openai_are_ratings_where_somebody_scored_them(tmp_path: Path) -> None:
    trace = {
        "id": "t1",
        "timestamp": "2026-03-01T10:00:00Z",
        "userId": "u7",
        "input": {"messages": [{"role": "system", "content": "Garden."}, {"role": "user", "content": ASKED}]},
        "output": {"role": "assistant", "content": TOLD},
        "scores": [{"name": "user-feedback", "value": 1, "comment": "nice"}],
    }
    name, records = read(lines(tmp_path / "traces.jsonl", trace))
    assert name == "langfuse"
    assert records == [Rating(ASKED, TOLD, True, reason="nice", rater="u7", system="Garden.")]
    logged = {
        "request": {"model": "m", "messages": [{"role": "user", "content": ASKED}]},
        "response": {"choices": [{"message": {"role": "assistant", "content": TOLD}}]},
    }
    name, records = read(lines(tmp_path / "log.jsonl", logged))
    assert name == "openai-log"
    assert records == [Rating(ASKED, TOLD, None)]


def test_langfuses_scores_lie_in_files_beside_the_observations(tmp_path: Path) -> None:
    def observation(number: str, kind: str = "GENERATION") -> dict[str, Any]:
        asked = json.dumps([{"role": "user", "content": ASKED}])
        return {
            "id": number,
            "trace_id": "t1",
            "type": kind,
            "user_id": "u7",
            "input": asked,
            "output": TOLD,
        }

    def score(number: str | None, **more: Any) -> dict[str, Any]:
        return {"id": "s", "trace_id": "t1", "observation_id": number, "value": 0, **more}

    lines(
        tmp_path / "observations_v2" / "1.jsonl",
        observation("o1"),
        observation("o2"),
        observation("o3", "SPAN"),
    )
    lines(
        tmp_path / "scores" / "1.jsonl",
        score("o1", value=1, data_type="NUMERIC", string_value="", comment="nice"),
        score(None, data_type="CATEGORICAL", string_value="bad", comment=None),
    )
    name, records = read(tmp_path)
    assert name == "langfuse"
    assert records == [
        Rating(ASKED, TOLD, True, reason="nice", rater="u7"),
        Rating(ASKED, TOLD, False, rater="u7"),
        Broken("line 3", "it is a span, and no answer of a model"),
    ]


# --- training files ---


def turns(*said: tuple[str, str], role: str = "role", text: str = "content") -> list[dict[str, str]]:
    return [{role: who, text: what} for who, what in said]


CHAT = turns(("system", "Garden."), ("user", ASKED), ("assistant", TOLD))
SHAREGPT = turns(("system", "Garden."), ("human", ASKED), ("gpt", TOLD), role="from", text="value")


@pytest.mark.parametrize(
    ("name", "row", "record"),
    [
        ("alpaca", {"Instruction ": ASKED, "INPUT": "", "Output": TOLD}, Pair(ASKED, TOLD)),
        (
            "alpaca",
            {"instruction": "Why?", "output": "It rots.", "system": "Garden.", "history": [[ASKED, TOLD]]},
            Pair("Why?", "It rots.", system="Garden.", history=((ASKED, TOLD),)),
        ),
        ("prompt-completion", {"prompt": ASKED, "completion": TOLD}, Pair(ASKED, TOLD)),
        (
            "prompt-completion",
            {"prompt": CHAT[:2], "completion": CHAT[2:]},
            Pair(ASKED, TOLD, system="Garden."),
        ),
        ("question-answer", {"question": ASKED, "answer": TOLD}, Pair(ASKED, TOLD)),
        (
            "question-answer",
            {"context": "Herbs.", "question": ASKED, "answers": {"text": [TOLD]}},
            Pair(ASKED, TOLD, "Herbs."),
        ),
        ("sharegpt", {"conversations": SHAREGPT}, Pair(ASKED, TOLD, system="Garden.")),
        ("messages", {"messages": CHAT}, Pair(ASKED, TOLD, system="Garden.")),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ASKED}]}, CHAT[2]]},
            Pair(ASKED, TOLD),
        ),
        ("preferences", {"prompt": ASKED, "chosen": TOLD, "rejected": WORSE}, Preference(ASKED, TOLD, WORSE)),
        (
            "preferences",
            {"chosen": CHAT, "rejected": [*CHAT[:2], {"role": "assistant", "content": WORSE}]},
            Preference(ASKED, TOLD, WORSE, system="Garden."),
        ),
        (
            "preferences",
            {
                "chosen": f"\n\nHuman: {ASKED}\n\nAssistant: {TOLD}",
                "rejected": f"\n\nHuman: {ASKED}\n\nAssistant: {WORSE}",
            },
            Preference(ASKED, TOLD, WORSE),
        ),
        (
            "preferences",
            {"chosen": "Basil likes the sun.", "rejected": "Basil likes the shade."},
            Preference("Basil likes the", "sun.", "shade."),
        ),
        (
            "preferences",
            {"prompt": CHAT[:2], "chosen": CHAT[2:], "rejected": [{"role": "assistant", "content": WORSE}]},
            Preference(ASKED, TOLD, WORSE, system="Garden."),
        ),
        (
            "kto",
            {"prompt": CHAT[:2], "completion": CHAT[2:], "label": True},
            Rating(ASKED, TOLD, True, system="Garden.", is_label=True),
        ),
        (
            "kto",
            {"prompt": ASKED, "completion": WORSE, "label": False},
            Rating(ASKED, WORSE, False, is_label=True),
        ),
    ],
)
def test_training_rows_are_read_for_what_they_say(
    tmp_path: Path, name: str, row: Any, record: Record
) -> None:
    assert read(lines(tmp_path / "rows.data", row)) == (name, [record])


def test_a_conversation_gives_a_pair_for_each_answer_with_what_was_said_before(tmp_path: Path) -> None:
    chat = turns(("user", ASKED), ("assistant", TOLD), ("user", "Why?"), ("assistant", "It rots."))
    _, records = read(lines(tmp_path / "rows.jsonl", {"messages": chat}))
    first, second = records
    assert isinstance(first, Pair) and isinstance(second, Pair)
    assert (second.question, second.history) == ("Why?", ((ASKED, TOLD),))
    assert first.talk == second.talk != ""


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT, "tools": [{"type": "function"}]},
        {"messages": [CHAT[1], {"role": "assistant", "content": None, "tool_calls": [{}]}]},
        {"messages": [CHAT[1], {"role": "tool", "content": "x"}, CHAT[2]]},
    ],
)
def test_calls_of_tools_are_refused_and_said_to_be_that(tmp_path: Path, row: Any) -> None:
    _, (refused, kept) = read(lines(tmp_path / "rows.jsonl", row, {"messages": CHAT}))
    assert refused == Broken("line 1", "it calls tools, which Thumbloop does not train")
    assert isinstance(kept, Pair)


def test_llama_factorys_description_says_what_its_files_are(tmp_path: Path) -> None:
    write(
        tmp_path / "dataset_info.json",
        {
            "faq": {"file_name": "faq.json", "columns": {"prompt": "q", "response": "a", "system": "s"}},
            "talk": {
                "file_name": "talk.json",
                "formatting": "sharegpt",
                "columns": {"messages": "turns"},
                "tags": {"role_tag": "who", "content_tag": "what", "user_tag": "me", "assistant_tag": "it"},
            },
            "better": {"file_name": "better.json", "ranking": True},
            "many": {"file_name": "parts", "columns": {"query": "input", "response": "output"}},
            "elsewhere": {"hf_hub_url": "somebody/something"},
        },
    )
    # a column that is not described is not read, whatever the default for it is called
    write(tmp_path / "faq.json", [{"q": ASKED, "a": TOLD, "s": "Garden.", "input": "of the author's own"}])
    for number, question in enumerate((ASKED, "Why?")):
        write(
            tmp_path / "parts" / f"{number}.json", [{"instruction": "x", "input": question, "output": TOLD}]
        )
    write(tmp_path / "talk.json", [{"turns": turns(("me", ASKED), ("it", TOLD), role="who", text="what")}])
    write(tmp_path / "better.json", [{"instruction": ASKED, "chosen": TOLD, "rejected": WORSE}])
    name, records = read(tmp_path)
    assert name == "llama-factory"
    assert records == [
        Pair(ASKED, TOLD, system="Garden."),
        Pair(ASKED, TOLD),
        Preference(ASKED, TOLD, WORSE),
        Pair(ASKED, TOLD),
        Pair("Why?", TOLD),
    ]
    assert recognise(tmp_path).unknown == ("elsewhere",)


PREFERRED = Preference(ASKED, TOLD, WORSE)
REFUSED = Rating(ASKED, WORSE, False, is_label=True)
GOOD_CHAT = turns(("user", ASKED), ("assistant", TOLD))
BAD_CHAT = turns(("user", ASKED), ("assistant", WORSE))


@pytest.mark.parametrize(
    ("kind", "row", "record"),
    [
        ("alpaca_chat.load_camel_ai", {"message_1": ASKED, "message_2": TOLD}, Pair(ASKED, TOLD)),
        ("context_qa", {"article": "Herbs.", "question": ASKED, "answer": TOLD}, Pair(ASKED, TOLD, "Herbs.")),
        *(
            ("chatml.argilla", {asked: ASKED, f"chosen{end}": TOLD, f"rejected{end}": WORSE}, PREFERRED)
            for asked in ("prompt", "input", "question", "instruction")
            for end in ("", "_response")
        ),
        ("zephyr.argilla", {"instruction": ASKED, "completion": WORSE, "label": False}, REFUSED),
        ("chatml.argilla_chat", {"completion": BAD_CHAT, "label": False}, REFUSED),
        ("chatml.argilla_chat", {"chosen": GOOD_CHAT, "rejected": BAD_CHAT}, PREFERRED),
        ("chatml.icr", {"input": ASKED, "chosen": TOLD, "rejected": WORSE}, PREFERRED),
        ("chatml.ultra", {"prompt": ASKED, "chosen": GOOD_CHAT, "rejected": BAD_CHAT}, PREFERRED),
        ("chatml.ultra", {"prompt": ASKED, "completion": WORSE, "label": False}, REFUSED),
        (
            "llama3.intel",
            {"system": "Garden.", "question": ASKED, "chosen": TOLD, "rejected": WORSE},
            Preference(ASKED, TOLD, WORSE, system="Garden."),
        ),
    ],
)
def test_axolotls_names_say_what_rows_are(tmp_path: Path, kind: str, row: Any, record: Record) -> None:
    assert read(lines(tmp_path / "rows.jsonl", row), Options(type=kind))[1] == [record]


# --- files ---


def test_a_mapping_says_what_no_format_fits(tmp_path: Path) -> None:
    path = write(tmp_path / "faq.csv", f"Frage|Antwort|Nr\n{ASKED}|{TOLD}|1\n")
    with pytest.raises(UsageError, match="Their keys are 'Frage', 'Antwort', 'Nr'"):
        recognise(path)
    assert read(path, Options({"question": "Frage", "answer": "Antwort"}))[1] == [Pair(ASKED, TOLD)]
    with pytest.raises(UsageError, match=r"no key 'Reply'. Its keys are 'Frage', 'Antwort', 'Nr'"):
        recognise(path, Options({"question": "Frage", "answer": "Reply"}))


QA = f"Question;ANSWER\n{ASKED};Zażółć gęślą jaźń\n"


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("cp1250"),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace(";", "\t").encode(),
        lambda text: f"sep=;\r\n{text}".encode(),
    ],
    ids=["utf-8", "bom", "utf-16", "utf-16-le", "utf-16-be", "windows-1250", "gzip", "tabs", "sep="],
)
def test_a_table_is_read_in_whatever_encoding_and_with_whatever_delimiter(
    tmp_path: Path, encode: Callable[[str], bytes]
) -> None:
    path = tmp_path / "table"
    path.write_bytes(encode(QA))
    assert read(path) == ("question-answer", [Pair(ASKED, "Zażółć gęślą jaźń")])


def test_parquet_with_nested_lists_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train-00000"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": CHAT}]), path)
    assert read(path) == ("messages", [Pair(ASKED, TOLD, system="Garden.")])


def test_broken_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", {"prompt": ASKED, "completion": TOLD})
    with path.open("a") as file:
        file.write('{"prompt": \n[1]\n{"prompt": "Why?", "completion": " "}\n')
        file.write(json.dumps({"prompt": "Why?", "completion": "It rots."}))
    _, records = read(path)
    assert [record.place for record in records if isinstance(record, Broken)] == [
        "line 2",
        "line 3",
        "line 4",
    ]
    assert records[-1] == Pair("Why?", "It rots.")


def test_what_a_folder_holds_beside_the_known_is_named(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"prompt": ASKED, "completion": TOLD})
    write(tmp_path / "notes.txt", "milk\neggs\n")
    recognised = recognise(tmp_path)
    assert [one.source.name for one in recognised.found] == ["a.jsonl"]
    assert recognised.unknown == ("notes.txt",)


@pytest.mark.parametrize("packed", ["gzip", "zip"])
def test_a_small_file_that_expands_without_end_is_refused(
    tmp_path: Path, packed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ALWAYS_ALLOWED", 2**20)
    row = json.dumps({"prompt": "x", "completion": "y" * 2**24}).encode()
    path = tmp_path / "bomb"
    if packed == "gzip":
        path.write_bytes(gzip.compress(row))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("rows.jsonl", row)
    with pytest.raises(UsageError, match="expands to more than"):
        read(path)
