"""Reading files of devices: what spreadsheets write is understood, and nothing a file may hold raises or costs other rows."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from registry.exchange.cells import inert, plain
from registry.exchange.columns import COLUMNS, DeviceRow
from registry.exchange.csv_records import MOST_LINES
from registry.exchange.lines import split_lines
from registry.exchange.reading import FORMATS, LONGEST_ROW, Format, Heading, Read, Unreadable, read_rows, told_apart
from registry.model import DEV_EUI, EXTERNAL_ID


def pieces(data: bytes, size: int = 7) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def read(data: str | bytes, form: Format = "csv") -> list[Read]:
    return list(read_rows(pieces(data.encode() if isinstance(data, str) else data), form))


def rows(data: str | bytes, form: Format = "csv") -> list[DeviceRow]:
    found = read(data, form)
    kept = [each for each in found if isinstance(each, DeviceRow)]
    assert len(kept) == len([each for each in found if not isinstance(each, Heading)]), found
    return kept


def complaints(data: str | bytes, form: Format = "csv") -> dict[int, str]:
    return {each.line: each.reason for each in read(data, form) if isinstance(each, Unreadable)}


def test_what_a_spreadsheet_writes_is_read() -> None:
    # byte order mark, CRLF, semicolons, headings as people write them, rows of empty cells, a name with a quote
    text = '\ufeffName;External ID;Dev-EUI;GATEWAY;Farbe\r\n"Van ""1""";e1;24-E1;x;rot\r\n;;;;\r\nVan 2;;;no;\r\n'
    first, second = rows(text)
    assert (first.line, first.name, first.gateway) == (2, 'Van "1"', True)
    assert first.attributes == {EXTERNAL_ID: "e1", DEV_EUI: "24-E1", "Farbe": "rot"}
    assert (second.line, second.name, second.gateway, second.attributes) == (4, "Van 2", False, {})
    assert second.id is UNSET
    assert second.parent is UNSET


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_separator_is_found_whatever_ends_the_lines(separator: str, end: str) -> None:
    table = [["name", "serial", "attributes.a,b;c"], ["a", "1", "x,y;z"], ["b", "2", ""]]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(table)
    made = rows(text.getvalue())
    assert [(row.name, row.attributes) for row in made] == [
        ("a", {"serial": "1", "a,b;c": "x,y;z"}),
        ("b", {"serial": "2"}),
    ]
    assert [row.line for row in made] == [2, 3]


def test_a_line_that_states_the_separator_is_believed() -> None:
    assert [row.name for row in rows("sep=|\nname|serial\na,b|1\n")] == ["a,b"]


def test_a_heading_may_be_written_over_two_lines_and_end_in_empty_cells() -> None:
    heading, row = read('"External\nID",name,,\n1,van,,\n')
    assert heading == Heading(columns=("external_id", "name"), attributes=(), separator=",")
    assert isinstance(row, DeviceRow)
    assert row.line == 3


def test_columns_of_a_listing_are_understood_and_those_of_the_installation_left_out() -> None:
    (row,) = rows("id,tenant_id,name,parent_id,version,integration.external_id\na,other,van,gw,7,e\n")
    assert (row.id, row.parent, row.attributes) == ("a", "gw", {EXTERNAL_ID: "e"})


def test_the_heading_says_what_was_taken_for_an_attribute() -> None:
    heading = read("name,imie,attributes.id\n")[0]
    assert heading == Heading(columns=("name",), attributes=("imie", "id"), separator=",")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("van 1,123\nvan 2,345\n", "no column of a device"),
        ("name,Name\na,b\n", "two columns are 'name'"),
        ("name,external_id,integration.external_id\n", "two columns"),
        ("name,attributes\n", "attributes.<name>"),
        ("name,attributes.\n", "no name"),
        ("name,a\x00b\n", "control"),
        ('name,"b\n', "quote"),
        ("name," + "x" * LONGEST_ROW, "longer than"),
        ("name," + ",".join(f"a{number}" for number in range(1000)), "more than 1000 columns"),
        ("name,größe\n".encode("latin-1"), "UTF-8"),
        ("name,imei\na,1\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_file_without_a_usable_heading_is_refused_with_a_reason(text: str | bytes, said: str) -> None:
    (only,) = read(text)
    assert isinstance(only, Unreadable)
    assert said in only.reason


def test_each_bad_row_is_refused_with_its_line_and_the_others_are_read() -> None:
    lines = [
        b"name,serial,gateway",
        b"good 1,1,",
        b"nul \x00,2,",
        b"latin \xfc,3,",
        b"long " + b"x" * 10_000_000 + b",4,",
        b"many,5,,,6",
        b"gate,6,perhaps",
        b'"5 inch pipe,7,',
        b'"good 2",8,',
        b'"two\nlines",9,',
        b'"broken"x,10,',
        b'12" pipe,11,',
        b"short",
    ]
    found = read(b"\n".join(lines))
    assert [(each.line, each.name) for each in found if isinstance(each, DeviceRow)] == [
        (2, "good 1"),
        (9, "good 2"),
        (13, '12" pipe'),
        (14, "short"),
    ]
    said = {each.line: each.reason for each in found if isinstance(each, Unreadable)}
    expected = {
        3: "control characters",
        4: "UTF-8",
        5: "longer than",
        6: "5 cells, but 3 columns",
        7: "write true or false",
        8: "quote",
        10: "line break",
        12: "no CSV",
    }
    assert said.keys() == expected.keys()
    assert all(expected[line] in reason for line, reason in said.items()), said


def test_a_quote_that_is_never_closed_costs_its_own_row_only() -> None:
    text = "name,serial\n" + "".join(f'"van {n},{n}\n' if n % 10 == 3 else f"van {n},{n}\n" for n in range(300))
    found = read(text)
    assert len([each for each in found if isinstance(each, Unreadable)]) == 30
    assert [each.line for each in found[1:] if not isinstance(each, Heading)] == list(range(2, 302))


def test_lines_behind_a_quote_that_is_not_closed_become_devices_only_when_they_are_whole_rows() -> None:
    text = 'name,serial\n"' + "inside\n" * MOST_LINES + "van,2\n"
    assert [each.name for each in read(text) if isinstance(each, DeviceRow)] == ["van"]


def test_a_line_of_ten_megabytes_is_not_held() -> None:
    def source() -> Iterator[bytes]:
        yield b"name\n"
        for _ in range(160):
            yield b"x" * 65_536
        yield b"\nvan\n"

    for form in FORMATS:
        tracemalloc.start()
        found = list(read_rows(source(), form))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(found[1], Unreadable)
        assert peak < 3 * LONGEST_ROW


def test_ndjson_takes_numbers_as_they_are_written_and_attributes_as_an_object() -> None:
    said = '{"name":"van","iccid":89490200001234567890,"height":1.50,"gateway":true,"attributes":{"imei":7,"id":"x"}}'
    (row,) = rows(f"\ufeff{said}\r\n\n", "ndjson")
    assert row.gateway is True
    assert row.attributes == {"iccid": "89490200001234567890", "height": "1.50", "imei": "7", "id": "x"}
    assert row.id is UNSET


def test_null_in_ndjson_takes_away_what_an_empty_cell_leaves() -> None:
    (row,) = rows('{"id":"a","imei":null,"serial":"","parent":null}', "ndjson")
    assert (row.attributes, row.parent) == ({"imei": "", "serial": ""}, None)
    (row,) = rows("id,imei,parent\na,,\n")
    assert (row.attributes, row.parent) == ({}, UNSET)


def test_the_row_of_a_listing_says_everything_twice_and_is_taken() -> None:
    listed = {"external_id": "e", "dev_eui": None, "parent_id": None, "attributes": {EXTERNAL_ID: "e"}}
    (row,) = rows(json.dumps({"id": "a", "tenant_id": "t", "name": "n", **listed}), "ndjson")
    assert row.attributes == {EXTERNAL_ID: "e", DEV_EUI: ""}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[1]", "no JSON object"),
        (b'"name"', "no JSON object"),
        (b"{", "no JSON"),
        (b'{"name":NaN}', "NaN"),
        (b"[" * 100_000, "nested"),
        (b'{"name":"a","name":"b"}', "twice"),
        (b'{"imei":"1","attributes":{"imei":"2"}}', "twice"),
        (b'{"name":["a"]}', "a list"),
        (b'{"attributes":[1]}', "no JSON object"),
        (b'{"attributes":{"a":{}}}', "an object"),
        (b'{"name":"\xff"}', "UTF-8"),
        (b'{"name":"a\\u0000b"}', "control"),
        (b'{"name":"\\ud800"}', "control"),
        (b'{"a\\ud800":"x"}', "control"),
        (b'{"":"x"}', "no name"),
    ],
)
def test_a_line_that_is_no_device_is_refused_and_the_next_one_read(line: bytes, said: str) -> None:
    found = read(b'{"name":"a"}\n' + line + b'\n{"name":"b"}\n', "ndjson")
    assert [type(each) for each in found] == [DeviceRow, Unreadable, DeviceRow]
    assert isinstance(found[1], Unreadable)
    assert found[1].line == 2
    assert said in found[1].reason


@given(data=st.binary(max_size=300), size=st.integers(1, 20))
def test_lines_are_those_of_the_whole_however_it_comes(data: bytes, size: int) -> None:
    assert list(split_lines(pieces(data, size), 1000)) == list(enumerate(data.splitlines(), 1))


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from([*"\",;\t\n\r'{}[]:=\\", "\x00", "\ufeff", *COLUMNS, "attributes.a"]), max_size=60
        ).map(lambda parts: "".join(parts).encode()),
    ),
    form=st.sampled_from(FORMATS),
    size=st.integers(1, 50),
    with_heading=st.booleans(),
)
def test_no_bytes_make_the_reader_raise_or_lose_count(data: bytes, form: Format, size: int, with_heading: bool) -> None:
    whole = b"name,serial\n" + data if with_heading else data
    found = [each for each in read_rows(pieces(whole, size), form, 100) if not isinstance(each, Heading)]
    numbers = [each.line for each in found]
    assert numbers == sorted(set(numbers))
    assert not numbers or numbers[-1] <= len(whole.splitlines()) or numbers == [1]
    assert [each for each in read_rows([whole], form, 100) if not isinstance(each, Heading)] == found


@given(st.text())
def test_a_text_comes_back_from_a_cell_exactly_and_none_is_a_formula(text: str) -> None:
    cell = inert(text)
    assert plain(cell) == text
    assert cell[:1] not in set("=+-@\t\r\n＝＋－＠")


@pytest.mark.parametrize("text", ["=cmd()", "'=cmd()", "''=x", "'tis", "+49 30 1", "-1", "@a", "'", "''", "＝x", ""])
def test_formulas_and_apostrophes_come_back_exactly(text: str) -> None:
    assert plain(inert(text)) == text


@pytest.mark.parametrize(
    ("start", "form"),
    [(b"\xef\xbb\xbf  \n{", "ndjson"), (b"[{", "ndjson"), (b"name", "csv"), (b"", "csv"), (b'"name"', "csv")],
)
def test_the_format_is_told_by_the_first_character(start: bytes, form: Format) -> None:
    found, whole = told_apart(pieces(start, 1))
    assert found == form
    assert b"".join(whole) == start
