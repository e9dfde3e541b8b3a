"""Build the gallery of the bundled model from a data folder.

    python tools/build_gallery.py DATA_FOLDER --encoder ENCODER_FOLDER --out GALLERY_FOLDER
    python tools/build_gallery.py --notice --out GALLERY_FOLDER

DATA_FOLDER holds `photos/gallery/metadata.csv` and the photos it names. The gallery ships vectors,
coordinates and credits, never pixels. Left out are the photos of `examples/`, whatever resembles one of them
at least `--min-duplicate-similarity`, and photos whose stated licence is not theirs. `--notice` prints a
finished gallery's licences and sources as a Markdown table.
"""

import argparse
import collections
import csv
import hashlib
import re
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from geotoken.errors import GeoTokenError, InputError
from geotoken.gallery import Gallery, GalleryTable
from geotoken.gallery.build import Entry, embed_entries
from geotoken.images.embed import Encoder
from geotoken.images.read import find_images, read

EXAMPLES = Path(__file__).parents[1] / "examples"

MIN_DUPLICATE_SIMILARITY = 0.9
"""From this similarity on, a photo counts as another copy of an example.

Measured with the bundled encoder, whose whitened vectors lie far apart: the examples saved again as JPEG at
quality 50, mirrored, or cut by 3 % at each side stay above 0.90; different photos of one place, looked at in
pairs, are below 0.9 unless they are frames of one burst.
"""

WRONG_LICENSE = {
    "17f2b20fb0118c98": "replaced by a photo of unknown licence after the licence was written down",
    "676f3dbcf03c7a5a": "replaced by a photo of unknown licence after the licence was written down",
}
"""Photos that are never used, by the stem of their file name, and why."""

LICENSES = (
    (r"^(Wikipedia page image|Wikimedia Commons)", "Wikimedia Commons, licence at the source"),
    (r"^CC BY \(Openverse", "CC BY, version at the source"),
    (r"^CC BY-SA \(Openverse", "CC BY-SA, version at the source"),
    (r"^(CC )?CC0\b", "CC0"),
    (r"^Public [Dd]omain\b", "Public domain"),
    (r"^CC BY-SA 4\.0\b", "CC BY-SA 4.0"),
    (r"^Unsplash or Pexels License\b", "Unsplash or Pexels License"),
)
"""Patterns of the licence notes in the metadata, and the name each is given."""


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA_FOLDER")
    parser.add_argument("--encoder", type=Path, help="encoder folder")
    parser.add_argument("--out", type=Path, required=True, help="gallery folder to make, or to describe")
    parser.add_argument("--examples", type=Path, default=EXAMPLES, help="folder of photos to leave out")
    parser.add_argument("--min-duplicate-similarity", type=float, default=MIN_DUPLICATE_SIMILARITY)
    parser.add_argument("--notice", action="store_true", help="print the licences of the gallery at --out")
    args = parser.parse_args()
    try:
        if args.notice:
            print(notice(Gallery.load(args.out).table))
        elif args.data is None or args.encoder is None:
            parser.error("DATA_FOLDER and --encoder are needed to build")
        else:
            build(args.data, args.encoder, args.out, args.examples, args.min_duplicate_similarity)
    except GeoTokenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


def build(data: Path, encoder_folder: Path, out: Path, examples: Path, min_similarity: float) -> None:
    """Embed the photos, drop the examples and their copies, and save the gallery.

    Raises:
        InputError: A photo cannot be read, or none is left.
    """
    encoder = Encoder.load(encoder_folder)
    photos = [read(path, min_side=encoder.min_side) for path in find_images([examples])]
    hashes = {photo.sha256 for photo in photos}
    entries = read_entries(data / "photos" / "gallery")
    wrong = [entry for entry in entries if entry.path.stem in WRONG_LICENSE]
    kept = [entry for entry in entries if entry not in wrong and _sha256(entry.path) not in hashes]
    gallery, report = embed_entries(
        kept, encoder, progress=lambda done, total: print(f"\r{done} / {total}", end="", file=sys.stderr)
    )
    print(file=sys.stderr)
    if gallery is None or report.errors:
        raise InputError(f"{len(report.errors)} photos cannot be used: {report.errors[:3]}")
    vectors = encoder.embed([photo.pixels for photo in photos], for_gallery=True)
    similarity = gallery.vectors @ vectors.T  # (N, E)
    copies = similarity.max(axis=1) >= min_similarity
    rows = np.flatnonzero(~copies)
    Gallery.from_vectors(gallery.vectors[rows], gallery.table.take(rows), encoder.name).save(
        out, overwrite=True
    )
    print(
        f"{len(rows)} of {len(entries)} photos; left out: {len(entries) - len(wrong) - len(kept)} examples, "
        f"{copies.sum()} copies of them, {len(wrong)} of unsure licence, {len(report.duplicates)} repeated"
    )


def read_entries(folder: Path) -> list[Entry]:
    """Read `metadata.csv` into entries with the gallery's own columns.

    Args:
        folder: Folder with `metadata.csv` and the photos.

    Returns:
        One entry a photo, in order.
    """
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return [
            Entry(
                path=folder / row["image"],
                name=Path(row["image"]).stem,
                position=(float(row["lat"]), float(row["lng"])),
                columns=credits_of(row),
            )
            for row in csv.DictReader(file)
        ]


def credits_of(row: dict[str, str]) -> dict[str, str | None]:
    """Bring one row's credit to one form.

    Args:
        row: A row of `metadata.csv`.

    Returns:
        Values of the gallery's optional columns; None where unknown.
    """
    text = " ".join(row["attribution"].split())
    url = row["source_url"] if "//" in row["source_url"] else ""
    cells = [cell.strip() for cell in text.strip("| ").split("|")]
    if len(cells) >= 5:  # a row of a Markdown table: ..., `title`, author, licence
        title, author = cells[-3].strip("`"), cells[-2]
        url = f"https://commons.wikimedia.org/wiki/File:{quote(title.replace(' ', '_'))}"
    else:
        author, title = re.fullmatch(r"(?P<author>.*?)(?:(?:^| )/ (?:File:)?(?P<title>.*))?", text).groups("")
    author = re.sub(r"^(by |This Photo was taken by )|[ :]+$|\. Feel free.*", "", author)
    title = title.replace(" / File:", ", ")
    if author.isdigit():  # the number of a street-level photo, not a name
        if len(author) >= 12:
            url = f"https://www.mapillary.com/app/?pKey={author}"
        author, title = "", f"Mapillary / KartaView photo {author}"
    credit = f"Flickr user {author}" if re.fullmatch(r"\d+@N\d+", author) else author
    if not url:
        url = f"https://github.com/{row['source_repo']}/blob/HEAD/{quote(row['source_path'])}"
    # Titles of private photos name people and say nothing of the place.
    title_of = "" if row["set"] == "im2gps3k_cc" else row["label"].removeprefix("File:")
    label = re.sub(r"\.(jpe?g|png|webp)$", "", title_of, flags=re.IGNORECASE)
    return {
        "owner": None if author == "Wikimedia Commons contributor" else author or None,
        "label": ", ".join(part for part in (label.strip(), row["country"]) if part) or None,
        "attribution": ", ".join(part for part in (credit, title) if part) or None,
        "license": license_name(row["license"]),
        "source_url": url,
        "coord_precision": row["coord_precision"],
    }


def license_name(note: str) -> str:
    """The name of a licence, from the note about it in the metadata."""
    for pattern, name in LICENSES:
        if re.search(pattern, note):
            return name
    return note


def notice(table: GalleryTable) -> str:
    """Summarise licences and sources for NOTICE.

    Args:
        table: Rows of a gallery.

    Returns:
        A Markdown table: source, licence, number of photos, number of named authors.
    """
    authors: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for url, license_, owner in zip(table.source_url, table.license, table.owner, strict=True):
        key = (source_name(url), license_)
        counts[key] += 1
        if owner:
            authors[key].add(owner)
    lines = ["| source | licence | photos | named authors |", "| --- | --- | ---: | ---: |"]
    for key in sorted(counts):
        lines.append(f"| {key[0]} | {key[1]} | {counts[key]} | {len(authors[key])} |")
    lines.append(f"| all | | {len(table)} | {len({owner for owner in table.owner if owner})} |")
    return "\n".join(lines)


def source_name(url: str) -> str:
    """The site of a photo, or the repository that holds it."""
    parts = urlsplit(url)
    sites = {
        "commons.wikimedia.org": "Wikimedia Commons",
        "en.wikipedia.org": "Wikipedia",
        "www.flickr.com": "Flickr",
        "flic.kr": "Flickr",
        "unsplash.com": "Unsplash",
        "www.pexels.com": "Pexels",
        "www.mapillary.com": "Mapillary",
        "www.publicdomainpictures.net": "PublicDomainPictures",
    }
    if parts.netloc == "github.com":
        return "github.com/" + "/".join(unquote(parts.path).strip("/").split("/")[:2])
    return sites.get(parts.netloc, parts.netloc)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
