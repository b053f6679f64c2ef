"""Why a usable example is not in the data: what the selection says of each row, as a small number."""

# Stage and reason by code; 0 is chosen.
REASONS = (
    ("", ""),
    ("filter", "in_evaluation"),
    ("filter", "duplicate"),
    ("filter", "near_duplicate"),
    ("filter", "conflict"),
    ("mixture", "kind"),
    ("mixture", "rate"),
    ("mixture", "cap"),
    ("mixture", "count"),
    ("mixture", "source_cap"),
    ("mixture", "mixture_cap"),
    ("mixture", "mixing"),
)
CODES = {reason: code for code, (_, reason) in enumerate(REASONS)}
