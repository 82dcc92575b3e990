"""Cannot be imported."""

raise ImportError("no such luck")
