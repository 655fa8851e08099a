"""A page that shows what a build compiled when: drawn from the record that the compile launcher writes."""

from tooling.build_report.costs import keep as keep_costs
from tooling.build_report.measures import Totals, totals
from tooling.build_report.page import write
from tooling.build_report.records import RECORD, Compile, read

__all__ = ["RECORD", "Compile", "Totals", "keep_costs", "read", "totals", "write"]
