"""Numbers and where they come from: metrics, intervals, the gap between stages, and the record of a run."""

from chiploop.measure.accuracy import UNDECIDED, Decisions, accuracy, accuracy_metrics, decide
from chiploop.measure.aggregate import aggregate, split_experiments
from chiploop.measure.energy import chip_prices, energy_metrics
from chiploop.measure.figure import Figure
from chiploop.measure.gap import GapStep, GapTable, gap_table
from chiploop.measure.latency import anytime_accuracy, latency_metrics, time_to_first_decision
from chiploop.measure.load import core_rates
from chiploop.measure.metric import METRICS, Metric, MetricKind
from chiploop.measure.operations import frame_operations, operation_metrics, window_operations
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
    "anytime_accuracy",
    "chip_prices",
    "core_rates",
    "count_activity",
    "decide",
    "energy_metrics",
    "frame_operations",
    "gap_table",
    "latency_metrics",
    "new_record",
    "operation_metrics",
    "read_record",
    "read_records",
    "split_experiments",
    "time_to_first_decision",
    "window_operations",
    "write_record",
]
