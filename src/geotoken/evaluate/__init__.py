"""How good answers are where the truth is known: metrics, intervals, comparisons and a report.

Owns evaluation; must not know command lines, or how an answer is found.
"""

from geotoken.evaluate.baselines import baseline_rows
from geotoken.evaluate.evidence_table import EvidenceTable, load_evidence_table
from geotoken.evaluate.records import COLUMNS, read_predictions, write_predictions
from geotoken.evaluate.run import Case, Guard, examine, run_cases
from geotoken.evaluate.summary import compare, summarise
from geotoken.evaluate.truth import cases_of_evidence, cases_of_images, read_truth

__all__ = [
    "COLUMNS",
    "Case",
    "EvidenceTable",
    "Guard",
    "baseline_rows",
    "cases_of_evidence",
    "cases_of_images",
    "compare",
    "examine",
    "load_evidence_table",
    "read_predictions",
    "read_truth",
    "run_cases",
    "summarise",
    "write_predictions",
]
