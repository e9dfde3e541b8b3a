import json

import pytest

from geotoken.gallery.sidecars import MAX_BYTES, SidecarError, takeout_position, xmp_position

ELEMENTS = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:e="http://ns.adobe.com/exif/1.0/">
   <e:GPSLatitude>{lat}</e:GPSLatitude>
   <e:GPSLongitude>{lng}</e:GPSLongitude>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

ATTRIBUTES = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/"
    exif:GPSLatitude="{lat}" exif:GPSLongitude="{lng}" exif:GPSMapDatum="WGS-84"/>
 </rdf:RDF>
</x:xmpmeta>"""

LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>
<x>&c;</x>"""


@pytest.fixture
def photo(tmp_path):
    return tmp_path / "photo.jpg"


def put(photo, name, text):
    (photo.parent / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("form", [ELEMENTS, ATTRIBUTES])
@pytest.mark.parametrize("name", ["photo.jpg.xmp", "photo.xmp", "photo.XMP"])
@pytest.mark.parametrize(
    ("lat", "lng", "expected"),
    [
        ("48,51.504N", "2,17.67E", (48.8584, 2.2945)),
        ("33,51.408000S", "151,12.918000W", (-33.8568, -151.2153)),
        ("13,9,47S", "72,32,44.4W", (-13.163056, -72.545667)),
        (" 48,51.504n ", "0,0.0E", (48.8584, 0.0)),
    ],
)
def test_xmp_positions_are_read_in_either_form(photo, form, name, lat, lng, expected):
    put(photo, name, form.format(lat=lat, lng=lng))
    assert xmp_position(photo) == pytest.approx(expected, abs=1e-6)


def test_utf_16_is_read_and_the_sidecar_of_the_whole_name_comes_first(photo):
    put(photo, "photo.xmp", ATTRIBUTES.format(lat="1,0N", lng="2,0E"))
    text = ATTRIBUTES.replace("UTF-8", "UTF-16").format(lat="3,0N", lng="4,0E")
    put(photo, "photo.jpg.xmp", text.encode("utf-16"))
    assert xmp_position(photo) == (3, 4)


def test_no_sidecar_and_one_without_a_position_mean_unknown(photo):
    assert xmp_position(photo) is None
    assert takeout_position(photo) is None
    put(photo, "photo.jpg.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    put(photo, "photo.jpg.json", '{"title": "photo.jpg"}')
    assert xmp_position(photo) is None
    assert takeout_position(photo) is None
    put(photo, "photo.jpg.xmp", ATTRIBUTES.format(lat="0,0N", lng="0,0E"))
    assert xmp_position(photo) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not XML"),
        ("not XML at all", "it is not XML"),
        ("<a><b></a>", "it is not XML"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "it is not XML"),
        (LAUGHS, "document type declaration"),
        (LAUGHS.replace('<?xml version="1.0"?>', "").encode("utf-16"), "document type declaration"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type declaration"),
        (ATTRIBUTES.format(lat="91,0N", lng="2,0E"), "its position 91,0N, 2,0E is none"),
        (ATTRIBUTES.format(lat="48,61N", lng="2,0E"), "its position 48,61N"),
        (ATTRIBUTES.format(lat="48.5", lng="2.5"), "its position 48.5"),
        (ATTRIBUTES.format(lat="48,0E", lng="2,0N"), "its position 48,0E"),
        ('<a xmlns:e="http://ns.adobe.com/exif/1.0/" e:GPSLatitude="1,0N"/>', "its position 1,0N, None"),
        (b"<a>" + b" " * MAX_BYTES, "more than the limit"),
    ],
)
def test_an_unreadable_xmp_sidecar_is_an_error_that_names_it(photo, text, reason):
    put(photo, "photo.jpg.xmp", text)
    with pytest.raises(SidecarError, match=r"its sidecar photo\.jpg\.xmp cannot be read") as caught:
        xmp_position(photo)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_or_a_broken_link_is_no_sidecar(photo):
    (photo.parent / "photo.jpg.xmp").mkdir()
    with pytest.raises(SidecarError, match="not a regular file"):
        xmp_position(photo)
    (photo.parent / "photo.jpg.json").symlink_to("nowhere")
    with pytest.raises(SidecarError, match="No such file"):
        takeout_position(photo)


def takeout(lat, lng, exif=(0.0, 0.0)):
    return json.dumps(
        {
            "title": "photo.jpg",
            "geoData": {"latitude": lat, "longitude": lng, "altitude": 0.0},
            "geoDataExif": {"latitude": exif[0], "longitude": exif[1]},
        }
    )


LONG = "a-name-of-exactly-forty-one-letters--.jpg"  # with "." and "supp", 46 letters
LONGER = "a-name-that-is-so-long-that-even-it-is-cut-off-somewhere.jpg"


@pytest.mark.parametrize(
    ("photo_name", "name"),
    [
        ("photo.jpg", "photo.jpg.json"),
        ("photo.jpg", "photo.jpg.supplemental-metadata.json"),
        ("photo(1).jpg", "photo.jpg(1).json"),
        ("photo(1).jpg", "photo.jpg.supplemental-metadata(1).json"),
        ("photo(1).jpg", "photo(1).jpg.json"),
        ("photo-edited.jpg", "photo.jpg.supplemental-metadata.json"),
        (LONG, f"{LONG}.supp.json"),
        (LONGER, f"{LONGER[:46]}.json"),
        ("IMG_20240131_123456789_HDR.jpg", "IMG_20240131_123456789_HDR.jpg.supplemental-me.json"),
    ],
)
def test_takeout_sidecars_are_found_by_all_their_names(photo, photo_name, name):
    assert len(LONG) == 41
    put(photo, name, takeout(-33.8568, 151.2153))
    assert takeout_position(photo.with_name(photo_name)) == (-33.8568, 151.2153)
    assert takeout_position(photo.with_name("other.jpg")) is None


def test_the_second_photo_of_a_name_does_not_take_the_position_of_the_first(photo):
    put(photo, "photo.jpg.supplemental-metadata.json", takeout(1.0, 2.0))
    put(photo, "photo.jpg.supplemental-metadata(1).json", takeout(3.0, 4.0))
    assert takeout_position(photo) == (1, 2)
    assert takeout_position(photo.with_name("photo(1).jpg")) == (3, 4)


def test_zero_means_unknown_and_what_the_camera_wrote_is_second(photo):
    put(photo, "photo.jpg.json", takeout(0.0, 0.0))
    assert takeout_position(photo) is None
    put(photo, "photo.jpg.json", takeout(0.0, 0.0, exif=(5.0, -6.0)))
    assert takeout_position(photo) == (5, -6)
    put(photo, "photo.jpg.json", takeout(7, 0.0, exif=(5.0, -6.0)))
    assert takeout_position(photo) == (7, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (b"\xff\xfe\xfd", "it is not JSON"),
        (takeout(91, 0), "its position 91, 0 is none"),
        (takeout("1", "2"), "its position 1, 2 is none"),
        (takeout(True, False), "its position True, False is none"),
        (takeout(float("nan"), 2), "its position nan, 2 is none"),
        ('{"geoData": {"latitude": 5}}', "its position 5, None is none"),
    ],
)
def test_an_unreadable_takeout_sidecar_is_an_error(photo, text, reason):
    put(photo, "photo.jpg.json", text)
    with pytest.raises(SidecarError, match=r"its sidecar photo\.jpg\.json cannot be read") as caught:
        takeout_position(photo)
    assert reason in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "3", '{"geoData": 5}', '{"geoData": {}}'])
def test_other_json_beside_a_photo_says_nothing(photo, text):
    put(photo, "photo.jpg.json", text)
    assert takeout_position(photo) is None
