"""Model folders from and to the hub, in its own layout and cache, through its official client.

Owns ids, cache, transfer and the front matter of cards; must not know what the files of a model hold.

The client, `huggingface_hub`, is the extra `hub` and imported only when a hub id is met. Its own environment
variables hold: HF_ENDPOINT, HF_HOME and HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DISABLE_PROGRESS_BARS.
"""

import errno
import glob
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from geotoken.errors import ArtifactError, DependencyError, InputError, reason_of
from geotoken.manifest import MANIFEST_NAME, damaged_files, read_manifest
from geotoken.version import __version__

CARD_NAME: Final = "README.md"
"""What the hub calls a model's card; it begins with YAML for the hub's search."""

LIBRARY: Final = "geotoken"
_TAGS: Final = ("geotoken", "geolocation", "image-geolocation", "s2")
_PART: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_ID: Final = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?")
_MAX_NAME_LENGTH: Final = 96
_LOG_IN: Final = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True, slots=True)
class HubId:
    """What names a model on the hub."""

    repo_id: str
    """Owner and name, as in "owner/name"."""
    revision: str | None = None
    """Branch, tag or commit hash; the main branch when None."""

    def __str__(self) -> str:
        return self.repo_id if self.revision is None else f"{self.repo_id}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Upload:
    """A model as it lies on the hub after an upload."""

    repo_id: str
    """Owner and name."""
    revision: str
    """Hash of the commit."""
    url: str
    """Page of the commit."""


def parse_id(text: str) -> HubId | None:
    """Read "owner/name" or "owner/name@revision".

    Args:
        text: Any text.

    Returns:
        The id, or None if the text cannot be one.

    References:
        The rules are those of `huggingface_hub.utils.validate_repo_id`.
    """
    match = _ID.fullmatch(text)
    if match is None:
        return None
    repo_id = match["repo"]
    forbidden = any(part in text for part in ("--", "..")) or repo_id.endswith(".git")
    return (
        None
        if forbidden or len(repo_id.split("/")[1]) > _MAX_NAME_LENGTH
        else HubId(repo_id, match["revision"])
    )


def need_id(text: str) -> HubId:
    """Read a hub id from a caller who can mean nothing else.

    Args:
        text: "owner/name" or "owner/name@revision".

    Returns:
        The id.

    Raises:
        InputError: It is malformed.
    """
    hub_id = parse_id(text)
    if hub_id is None:
        raise InputError(
            f"{text!r} is no model on the hub; give owner/name or owner/name@revision, of letters, digits "
            "and . _ -"
        )
    return hub_id


def find_cached(hub_id: HubId) -> Path | None:
    """Find a model in the local cache of the hub's client; nothing is asked of the network.

    Args:
        hub_id: The model; a branch or tag means the commit it had when it was last pulled.

    Returns:
        Its folder with every file that its manifest names, or None.
    """
    try:
        client = _client("the hub's cache")
    except DependencyError:
        return None
    found = client.try_to_load_from_cache(hub_id.repo_id, MANIFEST_NAME, revision=hub_id.revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        names = read_manifest(folder)["files"]
    except ArtifactError:
        return folder  # whoever loads it says what is wrong
    return folder if all((folder / name).is_file() for name in names) else None


def origin(folder: Path) -> HubId | None:
    """Tell from its path which model and commit a folder in the hub's cache is.

    Args:
        folder: A model folder.

    Returns:
        Its id with the commit hash as revision, or None if the folder is not in such a cache.
    """
    parts = folder.absolute().parts[-3:]
    if len(parts) < 3 or parts[1] != "snapshots" or not re.fullmatch("[0-9a-f]{40}", parts[2]):
        return None
    kind, *names = parts[0].split("--")
    return HubId("/".join(names), parts[2]) if kind == "models" and len(names) == 2 else None


def download(hub_id: HubId, *, kind: str, max_format_version: int, offline: bool = False) -> Path:
    """Download the files that a model's manifest names, and its card, into the hub's local cache.

    What is in the cache and undamaged stays; so an interrupted download goes on where a file ended. Every
    file is then compared with the manifest by size and sha256; one that differs is fetched once more.

    Args:
        hub_id: The model.
        kind: What its manifest must say it is, as in `geotoken.manifest.verify_manifest`.
        max_format_version: The newest layout the caller can read.
        offline: Whether the network must not be used; so too if HF_HUB_OFFLINE is set.

    Returns:
        The folder in the cache; the name of the folder is the hash of the commit.

    Raises:
        ArtifactError: If the hub cannot be reached or refuses, if the model, the revision or its manifest
            does not exist or is of another kind, if the disk is full, or if a file differs from the manifest.
        DependencyError: If the extra `hub` is not installed.
    """
    client = _client(f"{hub_id} is no folder here, and a model on the hub")
    if offline or client.constants.HF_HUB_OFFLINE:
        raise ArtifactError(
            f"there is no folder {hub_id}, it is not whole in the hub's cache "
            f"{client.constants.HF_HUB_CACHE}, and offline mode is on (--offline or HF_HUB_OFFLINE); "
            f"fetch it once with a network: geotoken models pull {hub_id}"
        )
    api = client.HfApi(library_name=LIBRARY, library_version=__version__)
    with _transfer(f"cannot pull {hub_id}", hub_id):
        api.model_info(hub_id.repo_id, revision=hub_id.revision)  # or the cache would hide a hub out of reach
        path = api.hf_hub_download(hub_id.repo_id, MANIFEST_NAME, revision=hub_id.revision)
        folder, commit = Path(path).parent, Path(path).parent.name
        try:
            manifest = read_manifest(folder)
        except ArtifactError:  # a damaged copy
            api.hf_hub_download(hub_id.repo_id, MANIFEST_NAME, revision=commit, force_download=True)
        manifest = read_manifest(folder, kind, max_format_version)
        wanted = [glob.escape(name) for name in (*manifest["files"], MANIFEST_NAME, CARD_NAME)]
        api.snapshot_download(hub_id.repo_id, revision=commit, allow_patterns=wanted)
        for name in damaged_files(folder, manifest):
            api.hf_hub_download(hub_id.repo_id, name, revision=commit, force_download=True)
    if wrong := damaged_files(folder, manifest):
        raise ArtifactError(
            f"cannot pull {hub_id}: {wrong[0]} is not what its manifest says (size or sha256), though "
            "fetched anew; tell its owner, or take another revision"
        )
    return folder


def download_files(
    hub_id: HubId, patterns: Iterable[str], *, is_whole: Callable[[Path], bool], offline: bool = False
) -> Path:
    """Download some files of any repository of models into the hub's local cache.

    Args:
        hub_id: The repository.
        patterns: Names of the files wanted, with `*`.
        is_whole: Tells of a folder in the cache whether nothing is missing; then the network is not asked.
        offline: Whether the network must not be used; so too if HF_HUB_OFFLINE is set.

    Returns:
        The folder in the cache; the name of the folder is the hash of the commit.

    Raises:
        ArtifactError: If it is not in the cache and the hub cannot be reached, refuses or has no such thing.
        DependencyError: If the extra `hub` is not installed.
    """
    client = _client(f"fetching {hub_id} from the hub")
    found = client.try_to_load_from_cache(hub_id.repo_id, "config.json", revision=hub_id.revision)
    if isinstance(found, str) and is_whole(Path(found).parent):
        return Path(found).parent
    if offline or client.constants.HF_HUB_OFFLINE:
        raise ArtifactError(
            f"{hub_id} is not whole in the hub's cache {client.constants.HF_HUB_CACHE}, and offline mode is "
            "on (--offline or HF_HUB_OFFLINE); fetch it once with a network"
        )
    api = client.HfApi(library_name=LIBRARY, library_version=__version__)
    with _transfer(f"cannot fetch {hub_id}", hub_id):
        api.model_info(hub_id.repo_id, revision=hub_id.revision)  # or the cache would hide a hub out of reach
        return Path(
            api.snapshot_download(hub_id.repo_id, revision=hub_id.revision, allow_patterns=list(patterns))
        )


def assets_folder() -> Path:
    """Where models that are assembled on this machine lie: in the hub's assets cache, below HF_HOME.

    Returns:
        The folder; it need not exist.

    Raises:
        DependencyError: If the extra `hub` is not installed.
    """
    client = _client("the hub's cache")
    return Path(client.constants.HF_ASSETS_CACHE) / LIBRARY / "models"


def upload(
    folder: Path,
    repo_id: str,
    *,
    files: Iterable[str],
    card: str,
    private: bool = False,
    message: str,
) -> Upload:
    """Publish the files of a model in one commit; the repository is made if there is none.

    The card goes there under two names: its file as it is, which the manifest names, and `README.md`, which
    is the same text after the front matter that the hub reads. So a model that comes back is equal bit for
    bit. Files that are there already and not named here stay.

    Args:
        folder: The model.
        repo_id: "owner/name".
        files: Names of its files below `folder`, without the manifest.
        card: The model card, Markdown, perhaps with front matter of its own.
        private: Whether nobody else may see it.
        message: Message of the commit, not empty.

    Returns:
        Where it lies.

    Raises:
        ArtifactError: If the hub cannot be reached or refuses, or has the model in public though `private`.
        InputError: If the id is malformed or has a revision, or the message is empty.
        DependencyError: If the extra `hub` is not installed.
    """
    hub_id = need_id(repo_id)
    if hub_id.revision is not None:
        raise InputError(f"{repo_id!r} has a revision; give owner/name alone, a push makes a new one")
    if not message.strip():
        raise InputError("the message (--message) is empty; say what is new, or leave it out")
    names = sorted(files)
    if CARD_NAME in names:
        raise ArtifactError(
            f"{folder} lists {CARD_NAME} in its manifest, the name of the hub's own card; rename that file"
        )
    client = _client(f"a push to {hub_id}")
    if client.constants.HF_HUB_OFFLINE:
        raise ArtifactError(f"cannot push {hub_id}: offline mode is on; unset HF_HUB_OFFLINE")
    add = client.CommitOperationAdd
    operations = [add(name, str(folder / name)) for name in (*names, MANIFEST_NAME)]
    operations.append(add(CARD_NAME, hub_card(card, hub_id.repo_id).encode()))
    api = client.HfApi(library_name=LIBRARY, library_version=__version__)
    with _transfer(f"cannot push {hub_id}", hub_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*commit a data file")  # a gallery's table is meant
        api.create_repo(hub_id.repo_id, private=private or None, exist_ok=True)
        if private and not api.model_info(hub_id.repo_id).private:
            raise ArtifactError(
                f"cannot push {hub_id} in private: it exists and is public; make it private on the hub, or "
                "leave --private out"
            )
        commit = api.create_commit(hub_id.repo_id, operations, commit_message=message)
    return Upload(hub_id.repo_id, str(commit.oid), str(commit.commit_url))


def hub_card(card: str, repo_id: str) -> str:
    """A model card as the hub wants it: YAML front matter, the text, and how to use the model.

    Entries of the card's own front matter win. A licence is never guessed: without one the hub is told to
    look into the card.

    Args:
        card: Markdown, perhaps with front matter.
        repo_id: "owner/name".

    Returns:
        Markdown with front matter.

    Raises:
        ArtifactError: If the card's front matter is not YAML of names and values.
        DependencyError: If the extra `hub` is not installed.
    """
    client = _client("the card of a model on the hub")
    own: Mapping[str, Any] = {}
    if card.startswith("---"):
        import yaml  # type: ignore[import-untyped]  # comes with the client

        try:
            parsed = client.ModelCard(card)
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"the model card's front matter is not valid YAML ({reason_of(error)}); mend or remove it"
            ) from error
        own, card = parsed.data.to_dict(), parsed.text
    entries: dict[str, Any] = {"library_name": LIBRARY, **own}
    entries["tags"] = list(dict.fromkeys((*_TAGS, *(own.get("tags") or ()))))
    if "license" not in entries:
        entries |= {"license": "other", "license_name": "see-model-card", "license_link": "MODEL_CARD.md"}
    yaml_text = client.ModelCardData(**entries).to_yaml()
    return (
        f"---\n{yaml_text}\n---\n\n{card.strip()}\n\n"
        "## How to use it\n\n    pip install 'geotoken[hub]'\n"
        f"    geotoken locate photo.jpg --model {repo_id}\n"
    )


def _client(purpose: str) -> ModuleType:
    """The official client.

    Args:
        purpose: What it is for, for the message.

    Raises:
        DependencyError: If it is not installed.
    """
    try:
        client = import_module("huggingface_hub")
        import_module("huggingface_hub.constants")  # the package loads its modules only when told to
    except ImportError as error:
        raise DependencyError(f"{purpose} needs one more library; pip install 'geotoken[hub]'") from error
    return client


@contextmanager
def _transfer(failure: str, hub_id: HubId) -> Iterator[None]:
    """Turn what the client raises into one line; keep its log to errors and its bars to terminals.

    Raises:
        ArtifactError: For whatever goes wrong in a transfer.
    """
    from huggingface_hub import constants, errors
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of whichever httpx it uses
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    hide = (
        not sys.stderr.isatty()
        and constants.HF_HUB_DISABLE_PROGRESS_BARS is None  # the user has not said
        and not are_progress_bars_disabled()
    )
    if hide:
        disable_progress_bars()
    try:
        yield
    except (transport, errors.EntryNotFoundError, OSError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{failure}: {_reason(error, hub_id)}") from error
    finally:
        logger.setLevel(level)
        if hide:
            enable_progress_bars()


def _reason(error: BaseException, hub_id: HubId) -> str:
    """Why a transfer failed and what to do, in one line."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return _reason(error.__cause__, hub_id)
    known: dict[type[BaseException], str] = {
        errors.GatedRepoError: f"it is gated; accept its terms on its page, then {_LOG_IN}",
        errors.RevisionNotFoundError: f"it has no revision {hub_id.revision}; give a branch, tag or commit",
        errors.RepositoryNotFoundError: f"{constants.ENDPOINT} has no such model, or it is private; check "
        f"the name, or {_LOG_IN}",
        errors.LocalEntryNotFoundError: "the hub did not answer as it should; try again",
        errors.EntryNotFoundError: f"it is no geotoken model, for it has no {MANIFEST_NAME}; choose another",
    }
    for kind, text in known.items():
        if isinstance(error, kind):
            return text
    detail = reason_of(error)
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        if status in (401, 403):
            return f"the hub refuses access ({status}); {_LOG_IN} with a token that allows it"
        return f"the hub answered {status}; try again later ({detail})"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk with {constants.HF_HUB_CACHE} is full; free space or set HF_HOME, then pull again"
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename or type(error).__name__
        return f"{error.strerror} ({where}); check the network, the disk and permissions"
    if isinstance(error, ValueError):
        return f"the hub refuses it ({detail})"
    return f"{constants.ENDPOINT} cannot be reached ({detail}); check the network, then try again"
