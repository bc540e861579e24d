"""Numbers and where they come from: metrics, intervals, the gap between stages, and the record of a run."""

from chiploop.measure.accuracy import UNDECIDED, Decisions, accuracy, accuracy_metrics, decide
from chiploop.measure.aggregate import aggregate, split_experiments
from chiploop.measure.figure import Figure
from chiploop.measure.gap import GapStep, GapTable, gap_table
from chiploop.measure.metric import METRICS, Metric, MetricKind
from chiploop.measure.record import RunRecord, StageRecord, new_record, read_record, read_records, write_record
from chiploop.measure.synops import count_activity

__all__ = [
    "METRICS",
    "UNDECIDED",
    "Decisions",
    "Figure",
    "GapStep",
    "GapTable",
    "Metric",
    "MetricKind",
    "RunRecord",
    "StageRecord",
    "accuracy",
    "accuracy_metrics",
    "aggregate",
    "count_activity",
    "decide",
    "gap_table",
    "new_record",
    "read_record",
    "read_records",
    "split_experiments",
    "write_record",
]
