"""One evaluation, step by step: find the photos, locate them, sum up, write.

Owns the order of the steps; must not know flags that do not go together, metrics or pages.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geotoken.cli.batch import choose_workers, settings
from geotoken.cli.errors import print_error
from geotoken.cli.options import decoding_options
from geotoken.errors import InputError
from geotoken.files import sha256_of

if TYPE_CHECKING:
    from geotoken.evaluate.records import Row
    from geotoken.evaluate.run import Case, Guard
    from geotoken.evaluate.summary import Measure
    from geotoken.evaluate.truth import Truth
    from geotoken.pipeline import LocateOptions, Locator

_DECIDING: Final = (
    *("head", "no_guess", "decoder", "beam_width", "samples", "temperature", "sample_top_k", "sample_top_p"),
    *("seed", "max_expansions", "select", "utility", "mllm", "mllm_weight"),
)
"""Parameters that decide the answers; runs that differ in one are not joined."""
_MOST_TOLD: Final = 10


@dataclass
class Evaluation:
    """One evaluation: what is found, step by step."""

    given: Mapping[str, Any]
    """The command's parameters."""
    measure: "Measure"
    about: dict[str, Any]
    rows: "list[Row]" = field(default_factory=list)
    guarded: "list[Row] | None" = None
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Figures of each system, the evaluated one first."""
    notes: list[str] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)
    """File of each photo, where there is one."""
    journals: list[Any] = field(default_factory=list)

    def from_predictions(self) -> None:
        """Take the predictions of another system."""
        from geotoken.evaluate.records import read_predictions
        from geotoken.evaluate.summary import summarise

        path, limit = self.given["from_"], self.given["limit"]
        found = read_predictions(path, truths_of(self.given["truth"], limit))
        self.rows = found.rows[:limit]
        if found.num_unused and limit is None:
            self.notes.append(
                f"{found.num_unused:,} predictions are about photos that the truth does not have"
            )
        self.summaries[path.stem] = summarise(self.rows, self.measure)

    def locate(self) -> None:
        """Locate photos or evidence, without and with guards as asked."""
        from geotoken.artifact import find_model
        from geotoken.evaluate.baselines import baseline_rows
        from geotoken.evaluate.run import DEFAULT_GUARD, Guard
        from geotoken.evaluate.summary import summarise
        from geotoken.pipeline import Locator

        given = self.given
        guard = Guard(
            owner=given["exclude_owner"],
            near_km=given["exclude_near"],
            duplicate_similarity=given["exclude_duplicates"],
        )
        none = Guard()
        if given["leakage_check"] and guard == none:
            guard = DEFAULT_GUARD
        cases = self._cases()
        options = _locate_options(given)
        loaded = {name: given[name] for name in ("model", "gallery", "head", "offline")}
        locator = Locator.from_pretrained(**loaded)
        folder = find_model(given["model"], offline=given["offline"])
        self.about |= {"model": locator.name, "model_sha256": hash_of(folder / "manifest.json")}
        kept = settings({n: given[n] for n in _DECIDING}, folder, given["gallery"])
        kept |= {"the data": self.about["data_sha256"]}
        passes: dict[str, Guard | None] = {"": None if guard == none else guard}
        if given["leakage_check"]:
            passes = {"plain": None, "guarded": guard}
        work = _Work(locator, options, loaded, given["workers"])
        for name, one in passes.items():
            rows = self._pass(cases, work, one, {**kept, "the guard": repr(one)}, name)
            self.summaries[name or self._title(locator.name)] = summarise(rows, self.measure)
            if name == "guarded":
                self.guarded = rows
            else:
                self.rows = rows
        if guard != none:
            self.about["guard"] = asdict(guard)
        if given["baselines"]:
            for name, rows in baseline_rows(cases).items():
                self.summaries[name] = summarise(rows, self.measure)

    def result(self) -> dict[str, Any]:
        """The figures as they are written."""
        (_, main), *others = self.summaries.items()
        further: dict[str, Any] = {name: summary for name, summary in others if name == "guarded"}
        named = {name: _short(summary) for name, summary in others if name != "guarded"}
        if named:
            further["baselines"] = named
        return {**main, **further, "notes": self.notes, "about": self.about}

    def write(
        self, json: Path | None, predictions: Path | None, report: Path | None, result: dict[str, Any]
    ) -> None:
        """Write the files asked for; what was kept of the run is then no more needed."""
        from geotoken.evaluate.files import guarded_path, write_json
        from geotoken.evaluate.records import write_predictions

        if predictions:
            write_predictions(predictions, self.rows)
            if self.guarded is not None:
                write_predictions(guarded_path(predictions), self.guarded)
        if json:
            write_json(json, result)
        if report:
            from geotoken.evaluate.report import write_report

            write_report(report, result, self.summaries, self.rows, self.paths)
        for journal in self.journals:
            journal.delete()

    def _title(self, model: str) -> str:
        """What is evaluated, in few words."""
        mllm = self.about.get("mllm")
        if mllm is None:
            return model
        return f"{model} + {mllm['mode']}{' (simulated)' if mllm['simulated'] else ''}"

    def _cases(self) -> "list[Case]":
        """The photos, with the recorded answers of a multimodal model where these shall judge.

        Raises:
            InputError: The recorded answers are about other photos.
        """
        given = self.given
        if given["mllm"] is None:
            return self._unjudged(guesses=not given["no_guess"])
        from geotoken.mllm import is_simulated, load_recorded

        recorded = load_recorded(given["replay"], given["mllm"], given["mllm_weight"])
        cases = self._unjudged(guesses=False)
        num_answered = sum(case.image in recorded for case in cases)
        if not num_answered:
            raise InputError(
                f"the recorded answers (--replay) {given['replay']} are about none of the photos; give those "
                "of the same photos, by the same names"
            )
        simulated = is_simulated(given["mllm"])
        self.about["mllm"] = {
            "mode": given["mllm"],
            "models": sorted({one.model for one in recorded.values()}),
            "weight": given["mllm_weight"],
            "num_recorded": num_answered,
            "simulated": simulated,
        }
        if simulated:
            self.notes.append(
                f"{given['mllm']} is simulated: whoever gave the recorded answers never saw the candidates"
            )
        if num_answered < len(cases):
            self.notes.append(
                f"{len(cases) - num_answered:,} photos are not in the recorded answers; geotoken's own count"
            )
        return [replace(case, recorded=recorded.get(case.image)) for case in cases]

    def _unjudged(self, *, guesses: bool) -> "list[Case]":
        from geotoken.evaluate.evidence_table import load_evidence_table
        from geotoken.evaluate.truth import cases_of_evidence, cases_of_images, read_truth

        given, limit = self.given, self.given["limit"]
        if given["evidence"] is not None:
            table = load_evidence_table(given["evidence"], guesses=guesses, limit=limit)
            return cases_of_evidence(table)
        cases, num_unused = cases_of_images(given["images"], read_truth(given["truth"], limit))
        self.paths = {case.image: case.path for case in cases if case.path is not None}
        if num_unused and limit is None:
            self.notes.append(f"{num_unused:,} photos of the folder have no truth and were left out")
        return cases

    def _pass(
        self, cases: "Sequence[Case]", work: "_Work", guard: "Guard | None", kept: dict[str, Any], name: str
    ) -> "list[Row]":
        """Locate all, with a journal beside the predictions file.

        Raises:
            KeyboardInterrupt: If the run was interrupted, which has been said.
        """
        from geotoken.cli.terminal import ProgressBar
        from geotoken.evaluate.files import guarded_path, open_journal
        from geotoken.evaluate.run import run_cases

        predictions = self.given["predictions"]
        path = guarded_path(predictions) if predictions and name == "guarded" else predictions
        journal = open_journal(path, kept, resume=self.given["resume"]) if path else None
        if journal is not None:
            self.journals.append(journal)
        rows: list[Row] = []
        try:
            with (
                work.answering(len(cases), guard) as answer,
                ProgressBar(f"Evaluating {name}".strip()) as bar,
            ):
                for row in run_cases(cases, answer, journal):
                    rows.append(row)
                    bar.set(len(rows), len(cases))
        except KeyboardInterrupt:
            hint = "; the same command with --resume goes on from there" if journal else ""
            print_error(f"interrupted: {len(rows):,} of {len(cases):,} photos are done{hint}")
            raise
        finally:
            if journal is not None:
                journal.close()
        failed = [row for row in rows if row["status"] == "error"]
        for row in failed[:_MOST_TOLD]:
            print_error(f"{row['image']}: {row['error']}")
        if len(failed) > _MOST_TOLD:
            print_error(f"and {len(failed) - _MOST_TOLD:,} more; all are in --json and --predictions")
        return rows


@dataclass(frozen=True, slots=True)
class _Work:
    """What locates."""

    locator: "Locator"
    options: "LocateOptions"
    loaded: Mapping[str, Any]
    workers: int | None

    @contextmanager
    def answering(self, num_cases: int, guard: "Guard | None") -> "Iterator[Any]":
        """A function from cases to their rows."""
        from geotoken.evaluate.run import examine
        from geotoken.parallel import ParallelLocator

        workers = choose_workers(self.workers, num_cases)
        if workers == 1:
            one = partial(examine, self.locator, self.options)
            yield lambda cases: (one((case, guard)) for case in cases)
            return
        with ParallelLocator(workers, self.options, **self.loaded) as parallel:

            def answer(cases: "Iterable[Case]") -> "Iterator[Row]":
                return parallel.map(examine, ((case, guard) for case in cases))

            yield answer


def hash_of(path: Path) -> str | None:
    """Hash of a file.

    Args:
        path: The file.

    Returns:
        Its sha256; None where there is no file, which reading it will tell.
    """
    return sha256_of(path) if path.is_file() else None


def truths_of(path: Path | None, limit: int | None) -> "list[Truth] | None":
    """The truths of `--truth`.

    Args:
        path: Its value.
        limit: Photos taken at most.

    Returns:
        The truths; None if it was not given.
    """
    from geotoken.evaluate.truth import read_truth

    return None if path is None else read_truth(path, limit)


def _locate_options(given: Mapping[str, Any]) -> "LocateOptions":
    from geotoken.pipeline import LocateOptions
    from geotoken.selection.utility import parse_utility

    return LocateOptions(
        decoding=decoding_options(given),
        select=given["select"],
        utility=None if given["utility"] is None else parse_utility(given["utility"]),
    )


def _short(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of a baseline, without its curves and failures."""
    return {name: value for name, value in summary.items() if name not in ("curves", "failures")}
