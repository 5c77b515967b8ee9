"""Every number that a matching or placing phase decides by, each with its reason. Nothing else lives here."""

from __future__ import annotations

# --- matching -----------------------------------------------------------------------------------------------------
MIN_ANCHOR_SIZE = 5
"""Nodes of the smallest statement that may anchor wherever it stands. `loss.backward()` has 6; `total = 0` has 4 and is
said everywhere, so it is matched only inside blocks that are matched already. (GumTree: min height 2, same purpose.)"""

MIN_SHAPE_SIZE = 12
"""Nodes of the smallest statement that may anchor one that is equal only up to the names of variables: a longer text is
needed as evidence."""

MIN_SHAPE_DICE = 0.4
"""Part of the words that two statements of one unique shape must share, lest two unrelated calls anchor."""

MAX_AMBIGUOUS_PAIRS = 100
"""Candidate pairs of one fingerprint that top-down compares; larger groups wait for recovery, which sees more."""

MIN_CONTAINER_DICE = 0.4
"""Common anchors that make two containers one. GumTree's 0.5 is for whole Java methods; training loops hold 5 to 15
statements, and two of them renamed must not lose the loop."""

MIN_NAMED_CONTAINER_DICE = 0.05
"""Common anchors that make containers of one name or one header one: that says it already, and the anchors must not
deny it."""

MIN_STATEMENT_SIMILARITY = 0.5
"""Statements that face each other between two matched neighbours. `optimizer.step()` and `opt.step()` score 0.8."""

MIN_MOVED_SIMILARITY = 0.75
"""Statements of one block that do not face each other: order does not speak for them, so their text must."""

MIN_ACROSS_SIMILARITY = 0.8
"""Statements whose blocks are not matched, but which face each other in the order of the file."""

MAX_ALIGNED_PAIRS = 10_000
"""Largest table of pairs that one gap may cost (100 by 100 statements); beyond it only equal statements are aligned."""

# --- placing ------------------------------------------------------------------------------------------------------
MIN_CONFIDENCE = 0.5
"""Below this a placement is refused: it is as likely wrong as right."""

# --- limits -------------------------------------------------------------------------------------------------------
MAX_CHARACTERS = 600_000
MAX_LINES = 15_000
"""Longer sources are generated, not written; they are refused rather than waited for."""

MAX_CARRIED_LINES = 30
"""Lines that may come along with one log statement: a helper or two. More is not a log any more, it is a feature."""

MAX_HEIGHT = 600
"""Deeper trees are refused. Python itself stops at 100 levels of indentation and some hundred of brackets."""
