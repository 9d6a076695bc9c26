"""`report.html`: the study as one page."""
