"""What evaluations and judges found: tables, comparisons, and one page with plots."""

from komt.report.compare import Comparison, compare
from komt.report.read import Folder, Report, read_report

__all__ = ["Comparison", "Folder", "Report", "compare", "read_report"]
